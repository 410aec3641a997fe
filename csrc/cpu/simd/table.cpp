// The table of one instruction set, and the only names that leave its translation units.
#include "simd.h"
#include "vec.h"

namespace GPUCNN_ISA {

void winograd_filters(const WinogradJob&, int64_t, float*);
void winograd_block(const WinogradJob&, int64_t, const float*, float*);
int64_t winograd_scratch(const WinogradJob&);
void winograd_products(const WinogradJob&, int64_t, int64_t, float*, float*);
int64_t winograd_products_scratch(const WinogradJob&);
void winograd_gradient(const WinogradJob&, int64_t, int, const float*);
int64_t winograd_sums(const WinogradJob&);
void depthwise_unit(const DepthwiseJob&, int64_t, float*);
int64_t depthwise_scratch(const DepthwiseJob&);
void depthwise_gradient(const DepthwiseJob&, int64_t, int64_t, int64_t, float*, float*);
int64_t depthwise_gradient_scratch(const DepthwiseJob&);
void fft_filters(const FftJob&, int64_t, float*, float*);
void fft_columns(const FftJob&, int64_t, int64_t, float*, float*);
void fft_multiply(const FftJob&, int64_t, int64_t, int64_t, int, const float*, float*, float*);
void fft_outputs(const FftJob&, int64_t, int64_t, const float*, float*);
FftSizes fft_sizes(const FftJob&);
void fft_gradient_columns(const FftJob&, int64_t, int64_t, int64_t, float*, float*);
void fft_gradient_multiply(const FftJob&, int64_t, int64_t, int, const float*, float*, float*);
void fft_gradient(const FftJob&, int64_t, const float*, float*);
FftSizes fft_gradient_sizes(const FftJob&);
int wide_panel(DType);
void gemm_block(const GemmJob&, int64_t, int64_t, int64_t, int64_t, void*);
int64_t gemm_scratch(DType, int64_t, int64_t, int64_t);
void conv_filters(const ConvJob&, int64_t, const void*, void*);
void conv_forward(const ConvJob&, const ConvCut&, const Band&, const void*, const void*, int64_t, int64_t, const void*,
                  bool, void*, void*);
void conv_products(const ConvJob&, const ConvCut&, const Band&, const void*, int64_t, const void*, void*, void*);
void conv_gradient(const ConvJob&, int64_t, int64_t, int64_t, int64_t, void*, void*);
int64_t conv_scratch(const ConvJob&, const ConvCut&, bool);

#define NAME_OF(isa) #isa
#define NAME(isa) NAME_OF(isa)
extern const SimdTable table;
const SimdTable table = {NAME(GPUCNN_ISA),
                         kLanes,
                         kRows,
                         kPanel,
                         winograd_filters,
                         winograd_block,
                         winograd_scratch,
                         winograd_products,
                         winograd_products_scratch,
                         winograd_gradient,
                         winograd_sums,
                         depthwise_unit,
                         depthwise_scratch,
                         depthwise_gradient,
                         depthwise_gradient_scratch,
                         fft_filters,
                         fft_columns,
                         fft_multiply,
                         fft_outputs,
                         fft_sizes,
                         fft_gradient_columns,
                         fft_gradient_multiply,
                         fft_gradient,
                         fft_gradient_sizes,
                         wide_panel,
                         gemm_block,
                         gemm_scratch,
                         conv_filters,
                         conv_forward,
                         conv_products,
                         conv_gradient,
                         conv_scratch};

}  // namespace GPUCNN_ISA
