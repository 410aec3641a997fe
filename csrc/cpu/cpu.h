// Every function of the extension _cpu, one line each: READ THIS FIRST. Arrays are C-contiguous in NCHW order; Python
// owns them. `workspace` needs no alignment and is written only inside workspace_bytes. Letters as in conv_shape.h.
// Sums are in Acc<T> (float, for float64 double), rounded once where the storage is narrower.
#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "conv_shape.h"
#include "dtype.h"
#include "optim_options.h"

using Address = std::uintptr_t;

// y = x * w,  dx = dy * w,  dw = x * dy. The forward functions end with bias, (K,) in the storage type or 0 for none,
// and ReLU where relu is true, before the one rounding.
void conv_direct_fwd(const ConvShape&, DType, Address x, Address w, Address bias, bool relu, Address y,
                     Address workspace, int64_t bytes);
void conv_direct_dgrad(const ConvShape&, DType, Address dy, Address w, Address dx, Address workspace, int64_t bytes);
void conv_direct_wgrad(const ConvShape&, DType, Address x, Address dy, Address dw, Address workspace, int64_t bytes);
void conv_im2col_fwd(const ConvShape&, DType, Address x, Address w, Address bias, bool relu, Address y,
                     Address workspace, int64_t bytes);
void conv_im2col_dgrad(const ConvShape&, DType, Address dy, Address w, Address dx, Address workspace, int64_t bytes);
void conv_im2col_wgrad(const ConvShape&, DType, Address x, Address dy, Address dw, Address workspace, int64_t bytes);
// (least, best) workspace in bytes; direction is fwd, dgrad or wgrad.
std::pair<int64_t, int64_t> conv_im2col_workspace(const ConvShape&, DType, const std::string& direction);

// 1x1, stride 1, no padding: the images are the matrices.
void conv_gemm_fwd(const ConvShape&, DType, Address x, Address w, Address bias, bool relu, Address y, Address workspace,
                   int64_t bytes);
void conv_gemm_dgrad(const ConvShape&, DType, Address dy, Address w, Address dx, Address workspace, int64_t bytes);
void conv_gemm_wgrad(const ConvShape&, DType, Address x, Address dy, Address dw, Address workspace, int64_t bytes);
std::pair<int64_t, int64_t> conv_gemm_workspace(const ConvShape&, DType, const std::string& direction);

// 3x3, stride 1, dilation 1; tile 2 or 4: F(2x2,3x3) or F(4x4,3x3). Not float64. fwd and dgrad take the filters that
// conv_winograd_filters has transformed for their direction, at a multiple of 64 bytes.
template <int tile>
void conv_winograd_filters(const ConvShape&, DType, const std::string& direction, Address w, Address filters);
template <int tile>
int64_t conv_winograd_filters_bytes(const ConvShape&, DType, const std::string& direction);
template <int tile>
void conv_winograd_fwd(const ConvShape&, DType, Address x, Address filters, Address bias, bool relu, Address y,
                       Address workspace, int64_t bytes);
template <int tile>
void conv_winograd_dgrad(const ConvShape&, DType, Address dy, Address filters, Address dx, Address workspace,
                         int64_t bytes);
template <int tile>
void conv_winograd_wgrad(const ConvShape&, DType, Address x, Address dy, Address dw, Address workspace, int64_t bytes);
template <int tile>
std::pair<int64_t, int64_t> conv_winograd_workspace(const ConvShape&, DType, const std::string& direction);

// C / groups = 1. Not float64.
void conv_depthwise_fwd(const ConvShape&, DType, Address x, Address w, Address bias, bool relu, Address y,
                        Address workspace, int64_t bytes);
void conv_depthwise_dgrad(const ConvShape&, DType, Address dy, Address w, Address dx, Address workspace, int64_t bytes);
void conv_depthwise_wgrad(const ConvShape&, DType, Address x, Address dy, Address dw, Address workspace, int64_t bytes);
std::pair<int64_t, int64_t> conv_depthwise_workspace(const ConvShape&, DType, const std::string& direction);

// Stride 1, dilation 1, filters up to 128 x 128. Not float64. Filters as above.
void conv_fft_filters(const ConvShape&, DType, const std::string& direction, Address w, Address filters);
int64_t conv_fft_filters_bytes(const ConvShape&, DType, const std::string& direction);
void conv_fft_fwd(const ConvShape&, DType, Address x, Address filters, Address bias, bool relu, Address y,
                  Address workspace, int64_t bytes);
void conv_fft_dgrad(const ConvShape&, DType, Address dy, Address filters, Address dx, Address workspace, int64_t bytes);
void conv_fft_wgrad(const ConvShape&, DType, Address x, Address dy, Address dw, Address workspace, int64_t bytes);
// (height, width) of the tiles that are transformed; it follows from the shape, and but for wgrad not from the batch.
std::pair<int, int> conv_fft_tile(const ConvShape&, DType, const std::string& direction);
std::pair<int64_t, int64_t> conv_fft_workspace(const ConvShape&, DType, const std::string& direction);

// out (batch, M, N) = op(a) op(b), row-major; stride_* elements between matrices, 0 for one shared matrix.
void gemm(DType, bool trans_a, bool trans_b, int64_t M, int64_t N, int64_t K, int64_t batch, Address a, int64_t lda,
          int64_t stride_a, Address b, int64_t ldb, int64_t stride_b, Address out);

// Pooling: the shape of a depthwise convolution. index (N, C, P, Q): h * W + w of the maximum. All arrays in the order
// that shape.channels_last says.
void max_pool2d_fwd(const ConvShape&, DType, Address x, Address y, Address index);
void max_pool2d_bwd(const ConvShape&, DType, Address dy, Address index, Address dx);
void avg_pool2d_fwd(const ConvShape&, DType, bool count_include_pad, Address x, Address y);
void avg_pool2d_bwd(const ConvShape&, DType, bool count_include_pad, Address dy, Address dx);

// Over the rows of (rows, cols); bwd takes the saved output y.
void softmax_fwd(DType, bool log, int64_t rows, int64_t cols, Address x, Address y);
void softmax_bwd(DType, bool log, int64_t rows, int64_t cols, Address y, Address dy, Address dx);
// loss (rows,) in Acc<T> of x (rows, cols) at labels (rows,) int64, and dx (x's dtype), the gradient of each row's
// loss. The target has (1 - smoothing) at the label and smoothing / cols everywhere, times weight (cols,) in Acc<T>.
// weight and dx may be 0.
void cross_entropy(DType, int64_t rows, int64_t cols, Address x, Address labels, Address weight, double smoothing,
                   Address loss, Address dx);

// Per channel of (N, C, HW). mean, var (biased), weight, bias, dweight, dbias are (C,) in Acc<T>. residual, of x's
// shape, is added before the ReLU; 0: none. In bwd, y is the output if there was a ReLU, else 0; masked gets the
// gradient behind the ReLU, and may be dx; dx may be 0. The workspace is for CUDA.
int64_t batch_norm_workspace(int64_t N, int64_t C, int64_t HW);
void batch_norm_stats(DType, int64_t N, int64_t C, int64_t HW, Address x, Address mean, Address var, Address workspace,
                      int64_t bytes);
void batch_norm_fwd(DType, int64_t N, int64_t C, int64_t HW, Address x, Address mean, Address var, Address weight,
                    Address bias, double eps, Address residual, bool relu, Address y);
void batch_norm_bwd(DType, bool training, int64_t N, int64_t C, int64_t HW, Address x, Address dy, Address y,
                    Address mean, Address var, Address weight, double eps, Address masked, Address dx, Address dweight,
                    Address dbias, Address workspace, int64_t bytes);

// out (batch, columns, padded) = in (batch, rows, columns)^T, zeros from row `rows` on; elements of 2 or 4 bytes.
void transpose_matrices(int size, int64_t batch, int64_t rows, int64_t columns, int64_t padded, Address in,
                        Address out);

// y = gelu(x) and its slope there, by the error function or by tanh; slope may be 0.
void gelu(DType, bool tanh, int64_t count, Address x, Address y, Address slope);
// y = elu(x) and its slope there; slope may be 0.
void elu(DType, double alpha, int64_t count, Address x, Address y, Address slope);
// y = x where x > 0, else slope x; ReLU with slope 0. positive (count,) bytes: where x > 0; may be 0 in fwd.
void leaky_relu_fwd(DType, double slope, int64_t count, Address x, Address y, Address positive);
void leaky_relu_bwd(DType, double slope, int64_t count, Address dy, Address positive, Address dx);

// One step of an optimiser on tensors of `counts` elements each. value and state in Acc<T>; grad in grad_dtype, T or
// Acc<T>; stored (T, the rounded value) and velocity may be 0. The numbers are those of optim_options.h.
void sgd_step(DType, DType grad_dtype, const std::vector<int64_t>& counts, const std::vector<Address>& value,
              const std::vector<Address>& grad, const std::vector<Address>& velocity,
              const std::vector<Address>& stored, double lr, double momentum, double weight_decay, bool nesterov);
void adam_step(DType, DType grad_dtype, const std::vector<int64_t>& counts, const std::vector<Address>& value,
               const std::vector<Address>& grad, const std::vector<Address>& mean, const std::vector<Address>& square,
               const std::vector<Address>& stored, double lr, double shrink, double mean_rate, double beta2,
               double square_rate, double root_scale, double eps, double weight_decay);
