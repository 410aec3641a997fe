// Every launcher of kernels/, one line each: read this first. All work on the current device, in `stream`, and
// return at once; none allocates or synchronises; a count of 0 returns. Arrays are contiguous, of type `dtype` unless
// the comment says otherwise, and `dtype` is float32 (also as tf32), float16 or bfloat16. Sums are in float32.
// Errors: std::invalid_argument for arguments, std::runtime_error (with op and shape) when CUDA refuses a launch.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "conv_shape.h"
#include "dtype.h"
#include "fft_tiles.h"
#include "implicit_hopper.h"
#include "optim_options.h"

// A part of the columns of a convolution. Row (channel + i, r, s) of image n holds, at position (p, q), the pixel that
// tap (r, s) reads for output (p, q); only positions first .. first + positions of the flat P Q are stored.
struct ColumnBlock {
    int images;                        // n, counted from the image that the launcher's x or dx points to
    int channel, channels;             // i of the C channels
    int64_t first, positions;          // of the P * Q
    int64_t image_stride, row_stride;  // elements of the column array from n to n + 1, from one row to the next
};

// A part of the tiles of a 3x3 convolution by Winograd's algorithm, and the images (N, channels, H, W) that they are
// read from or written to. Tiles are numbered over n, rows and columns.
struct TileBlock {
    int channels, H, W;
    int pad_h, pad_w;   // tile (0, 0) starts so far above and left of the image
    int rows, columns;  // tiles of an image
    int image, first;   // the part starts at this tile of this image
    int64_t count;
    int64_t stride;  // tiles of a slice of the planes, a multiple of 32; those from count on are zeros
};

// clang-format off
// im2col.cu: columns <- x; 0 where a tap reads padding
void im2col(const ConvShape& shape, DType dtype, const ColumnBlock& block, const void* x, void* columns, cudaStream_t stream);
// col2im.cu: rows row .. row + rows of dx <- float32 columns that hold every output row touching them; all written
void col2im(const ConvShape& shape, DType dtype, const ColumnBlock& block, int row, int rows, const float* columns, void* dx, cudaStream_t stream);

// direct.cu: the definition, one sum per output element; the workspace is not used; bias (K,) may be null
void conv_direct_fwd(const ConvShape& shape, DType dtype, const void* x, const void* w, const void* bias, bool relu, void* y, void* workspace, int64_t workspace_bytes, cudaStream_t stream);
void conv_direct_dgrad(const ConvShape& shape, DType dtype, const void* dy, const void* w, void* dx, void* workspace, int64_t workspace_bytes, cudaStream_t stream);
void conv_direct_wgrad(const ConvShape& shape, DType dtype, const void* x, const void* dy, void* dw, void* workspace, int64_t workspace_bytes, cudaStream_t stream);

// implicit_gemm.cu, implicit_wgrad.cu: matrix products without columns; filters as conv_implicit_filters writes them, at
// a multiple of 16 bytes, take the place of w. split: float32 accuracy on tensor cores, of dtype float32 only
int64_t conv_implicit_filters_bytes(const ConvShape& shape, DType dtype, const std::string& direction);
void conv_implicit_filters(const ConvShape& shape, DType dtype, const std::string& direction, const void* w, void* filters, cudaStream_t stream);
std::pair<int64_t, int64_t> conv_implicit_workspace(const ConvShape& shape, DType dtype, const std::string& direction);
void conv_implicit_fwd(const ConvShape& shape, DType dtype, const void* x, const void* filters, const void* bias, bool relu, void* y, void* workspace, int64_t workspace_bytes, cudaStream_t stream);
void conv_implicit_dgrad(const ConvShape& shape, DType dtype, const void* dy, const void* filters, void* dx, void* workspace, int64_t workspace_bytes, cudaStream_t stream);
void conv_implicit_wgrad(const ConvShape& shape, DType dtype, const void* x, const void* dy, void* dw, void* workspace, int64_t workspace_bytes, cudaStream_t stream);
void conv_implicit_split_fwd(const ConvShape& shape, DType dtype, const void* x, const void* filters, const void* bias, bool relu, void* y, void* workspace, int64_t workspace_bytes, cudaStream_t stream);
void conv_implicit_split_dgrad(const ConvShape& shape, DType dtype, const void* dy, const void* filters, void* dx, void* workspace, int64_t workspace_bytes, cudaStream_t stream);
void conv_implicit_split_wgrad(const ConvShape& shape, DType dtype, const void* x, const void* dy, void* dw, void* workspace, int64_t workspace_bytes, cudaStream_t stream);

// sums (K, C/groups, R, S) <- or, to accumulate, += the weight gradient by split operands; all float32
void implicit_split_sums(const ConvShape& shape, const float* x, const float* dy, float* sums, bool accumulate, cudaStream_t stream);

// implicit_hopper.cu: one product by tensor maps, of float16 or bfloat16, on devices of compute capability 9.0 only;
// outputs: the map of out, if it is (positions, filters), else null; statistics (tiles, 3, filters), of tiles of 128
// positions, as merge_statistics.cu wants them, may be null
bool implicit_hopper_available();
// how many filters a tile of a product has, 128 or 256; by_tma: whether there is a map of out
int implicit_hopper_tile(int64_t positions, int filters, int64_t steps, bool by_tma, int multiprocessors);
void implicit_hopper(const HopperProduct& product, DType dtype, const CUtensorMap_st& pixels, const CUtensorMap_st& filters, const CUtensorMap_st* outputs, const void* bias, bool relu, void* out, float* statistics, cudaStream_t stream);
// merge_statistics.cu: mean and var (filters,), biased, of outputs that implicit_hopper wrote at_once positions at a time
void merge_statistics(int64_t positions, int64_t at_once, int filters, const float* statistics, float* mean, float* var, cudaStream_t stream);
// implicit_hopper_wgrad.cu: sums (splits, filters, channels, taps), by im2col maps of dy and of the image
void implicit_hopper_wgrad(const HopperGradient& product, DType dtype, const CUtensorMap_st& dy, const CUtensorMap_st& pixels, float* sums, cudaStream_t stream);
// transpose.cu: out (batch, columns, padded) <- in (batch, rows, columns), zeros from row `rows` on; elements of 2 or 4 bytes
void transpose_matrices(int size, int64_t batch, int64_t rows, int64_t columns, int64_t padded, const void* in, void* out, cudaStream_t stream);
// pad_channels.cu: padded (pixels, to) <- nhwc (pixels, from), zeros from channel `from` on; elements of 2 bytes, `to` a multiple of 8
void pad_channels(int64_t pixels, int from, int to, const void* nhwc, void* padded, cudaStream_t stream);

// winograd.cu: m = 2 or 4 outputs a side, n = m + 2; all that is not of `dtype` float32. count = K C/groups
// filters (n^2, groups, rows, padded) <- w; rows and columns as of conv_implicit_filters: fwd sums over C/groups columns;
// dgrad over K/groups, of filters turned by half a turn; up to a multiple of 4 columns, zeros
void winograd_filters(int m, DType dtype, const ConvShape& shape, bool gradient, const void* w, float* filters, cudaStream_t stream);
// planes (slices, n^2, channels, stride) <- images; gradient: as wgrad wants tiles of dy
void winograd_tiles(int m, DType dtype, bool gradient, const TileBlock& block, int slices, const void* images, float* planes, cudaStream_t stream);
// outputs <- products (n^2, channels, stride); bias (channels,) may be null
void winograd_outputs(int m, DType dtype, const TileBlock& block, const float* products, const void* bias, bool relu, void* outputs, cudaStream_t stream);
// dw <- sums (slices, n^2, K, C/groups)
void winograd_gradient(int m, DType dtype, int64_t count, int slices, const float* sums, void* dw, cudaStream_t stream);

// winograd_fused.cu: winograd2 in one kernel, without workspace; fwd and dgrad. Filters as conv_winograd2_fused_filters
// writes them, float32, at a multiple of 16 bytes, take the place of w
int64_t conv_winograd2_fused_filters_bytes(const ConvShape& shape, DType dtype, const std::string& direction);
void conv_winograd2_fused_filters(const ConvShape& shape, DType dtype, const std::string& direction, const void* w, void* filters, cudaStream_t stream);
std::pair<int64_t, int64_t> conv_winograd2_fused_workspace(const ConvShape& shape, DType dtype, const std::string& direction);
void conv_winograd2_fused_fwd(const ConvShape& shape, DType dtype, const void* x, const void* filters, const void* bias, bool relu, void* y, void* workspace, int64_t workspace_bytes, cudaStream_t stream);
void conv_winograd2_fused_dgrad(const ConvShape& shape, DType dtype, const void* dy, const void* filters, void* dx, void* workspace, int64_t workspace_bytes, cudaStream_t stream);

// depthwise.cu: one input channel a group; the workspace is for wgrad
std::pair<int64_t, int64_t> conv_depthwise_workspace(const ConvShape& shape, DType dtype, const std::string& direction);
void conv_depthwise_fwd(const ConvShape& shape, DType dtype, const void* x, const void* w, const void* bias, bool relu, void* y, void* workspace, int64_t workspace_bytes, cudaStream_t stream);
void conv_depthwise_dgrad(const ConvShape& shape, DType dtype, const void* dy, const void* w, void* dx, void* workspace, int64_t workspace_bytes, cudaStream_t stream);
void conv_depthwise_wgrad(const ConvShape& shape, DType dtype, const void* x, const void* dy, void* dw, void* workspace, int64_t workspace_bytes, cudaStream_t stream);

// fft_tiles.cu: tiles first .. first + count of a batch of images, counted image by image; scale before bias (planes,)
void gather_tiles(const TileGrid& grid, DType dtype, int64_t first, int64_t count, const void* images, float* tiles, cudaStream_t stream);
void scatter_tiles(const TileGrid& grid, DType dtype, int64_t first, int64_t count, const float* tiles, float scale, const void* bias, bool relu, void* images, cudaStream_t stream);
// fft_pointwise.cu: complex products of matrices of spectra; a depth of 0 gives zeros
void multiply_spectra(const SpectrumProduct& product, cudaStream_t stream);

// pool.cu: shape with K = groups = C; index (N,C,P,Q) holds h * W + w of the maximum, -1 for a window all in padding
void max_pool2d_fwd(const ConvShape& shape, DType dtype, const void* x, void* y, int32_t* index, cudaStream_t stream);
void max_pool2d_bwd(const ConvShape& shape, DType dtype, const void* dy, const int32_t* index, void* dx, cudaStream_t stream);
void avg_pool2d_fwd(const ConvShape& shape, DType dtype, bool count_include_pad, const void* x, void* y, cudaStream_t stream);
void avg_pool2d_bwd(const ConvShape& shape, DType dtype, bool count_include_pad, const void* dy, void* dx, cudaStream_t stream);

// softmax.cu: over the last axis of (rows, cols); log = log-softmax; the gradient comes from the saved output y
void softmax_fwd(DType dtype, bool log, int64_t rows, int64_t cols, const void* x, void* y, cudaStream_t stream);
void softmax_bwd(DType dtype, bool log, int64_t rows, int64_t cols, const void* y, const void* dy, void* dx, cudaStream_t stream);
// loss (rows,) and weight (cols,) float32, dx the gradient of each row's loss; the target has (1 - smoothing) at the label
// and smoothing / cols everywhere, times weight; weight and dx may be null; a label outside [0, cols) gives a NaN
void cross_entropy(DType dtype, int64_t rows, int64_t cols, const void* x, const int64_t* labels, const float* weight, double smoothing, float* loss, void* dx, cudaStream_t stream);

// norm.cu: x (N, C, HW); mean, var (biased), weight, bias, dweight, dbias are float32 (C,); residual, of x's shape, comes
// before the ReLU; null: none. y of bwd: the output if there was a ReLU, else null; masked gets the gradient behind the
// ReLU, and may be dx; dx may be null: not wanted; the workspace, of batch_norm_workspace bytes, is for HW = 1 (else 0)
int64_t batch_norm_workspace(int64_t N, int64_t C, int64_t HW);
void batch_norm_stats(DType dtype, int64_t N, int64_t C, int64_t HW, const void* x, float* mean, float* var, float* workspace, int64_t bytes, cudaStream_t stream);
void batch_norm_fwd(DType dtype, int64_t N, int64_t C, int64_t HW, const void* x, const float* mean, const float* var, const float* weight, const float* bias, double eps, const void* residual, bool relu, void* y, cudaStream_t stream);
void batch_norm_bwd(DType dtype, bool training, int64_t N, int64_t C, int64_t HW, const void* x, const void* dy, const void* y, const float* mean, const float* var, const float* weight, double eps, void* masked, void* dx, float* dweight, float* dbias, float* workspace, int64_t bytes, cudaStream_t stream);
// norm_rows.cu: the same for HW = 1, x (count, C)
void batch_norm_rows_stats(DType dtype, int64_t count, int64_t C, const void* x, float* mean, float* var, float* workspace, int64_t bytes, cudaStream_t stream);
void batch_norm_rows_fwd(DType dtype, int64_t count, int64_t C, const void* x, const float* mean, const float* var, const float* weight, const float* bias, double eps, const void* residual, bool relu, void* y, cudaStream_t stream);
void batch_norm_rows_bwd(DType dtype, bool training, int64_t count, int64_t C, const void* x, const void* dy, const void* y, const float* mean, const float* var, const float* weight, double eps, void* masked, void* dx, float* dweight, float* dbias, float* workspace, int64_t bytes, cudaStream_t stream);

// gelu.cu: y = gelu(x) and its slope there, by the error function or by tanh; slope may be null
void gelu(DType dtype, bool tanh, int64_t count, const void* x, void* y, void* slope, cudaStream_t stream);
// elu.cu: y = elu(x) and its slope there; slope may be null
void elu(DType dtype, double alpha, int64_t count, const void* x, void* y, void* slope, cudaStream_t stream);
// leaky_relu.cu: y = x where x > 0, else slope x; ReLU with slope 0; positive (count,): where x > 0; may be null in fwd
void leaky_relu_fwd(DType dtype, double slope, int64_t count, const void* x, void* y, uint8_t* positive, cudaStream_t stream);
void leaky_relu_bwd(DType dtype, double slope, int64_t count, const void* dy, const uint8_t* positive, void* dx, cudaStream_t stream);

// elementwise.cu: out (count,) <- the sum of in (parts, count), added in order, rounded once
void sum_parts(DType dtype, int64_t count, int parts, const float* in, void* out, cudaStream_t stream);
// elementwise.cu: y (N, C, HW) <- y + bias (C,), then ReLU if relu; bias may be null
void add_bias(DType dtype, int64_t N, int64_t C, int64_t HW, const void* bias, bool relu, void* y, cudaStream_t stream);

// optim.cu: lists of device addresses, one a tensor of `counts` elements; value and state float32; grad in grad_dtype, dtype or float32; stored (the rounded value) and velocity may be 0; the numbers are those of optim_options.h
void sgd_step(DType dtype, DType grad_dtype, const std::vector<int64_t>& counts, const std::vector<std::uintptr_t>& value, const std::vector<std::uintptr_t>& grad, const std::vector<std::uintptr_t>& velocity, const std::vector<std::uintptr_t>& stored, double lr, double momentum, double weight_decay, bool nesterov, cudaStream_t stream);
void adam_step(DType dtype, DType grad_dtype, const std::vector<int64_t>& counts, const std::vector<std::uintptr_t>& value, const std::vector<std::uintptr_t>& grad, const std::vector<std::uintptr_t>& mean, const std::vector<std::uintptr_t>& square, const std::vector<std::uintptr_t>& stored, double lr, double shrink, double mean_rate, double beta2, double square_rate, double root_scale, double eps, double weight_decay, cudaStream_t stream);

// architectures.cu: "800,900": the compute capabilities, times 100, that this build holds code for
const char* built_architectures();
// clang-format on
