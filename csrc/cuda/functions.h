// The functions of the CUDA extension that call libraries or several launchers; the others are launchers themselves
// (kernels/kernels.h). The same conventions: raw addresses, `stream` last, no allocation, no synchronisation.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>
#include <string>
#include <utility>

#include "conv_shape.h"
#include "dtype.h"

// out (batch, M, N), contiguous = op(a) op(b) by cuBLAS, row-major; sums in float32, on TF32 units only for tf32.
// a is (M, K) with rows lda elements apart, or (K, M) if trans_a; b is (K, N) or (N, K) likewise; stride_a and stride_b
// are the elements between the matrices of a batch, 0 for the same matrix each time. K = 0 gives zeros.
void gemm(DType dtype, bool trans_a, bool trans_b, int64_t M, int64_t N, int64_t K, int64_t batch, const void* a,
          int64_t lda, int64_t stride_a, const void* b, int64_t ldb, int64_t stride_b, void* out, cudaStream_t stream);

// Convolution as im2col and GEMM (conv_im2col.cpp); any workspace of at least `least` bytes will do.
void conv_im2col_fwd(const ConvShape& shape, DType dtype, const void* x, const void* w, const void* bias, bool relu,
                     void* y, void* workspace, int64_t workspace_bytes, cudaStream_t stream);
void conv_im2col_dgrad(const ConvShape& shape, DType dtype, const void* dy, const void* w, void* dx, void* workspace,
                       int64_t workspace_bytes, cudaStream_t stream);
void conv_im2col_wgrad(const ConvShape& shape, DType dtype, const void* x, const void* dy, void* dw, void* workspace,
                       int64_t workspace_bytes, cudaStream_t stream);

// (least, best): bytes of workspace below which a direction cannot run, and above which more is of no use.
std::pair<int64_t, int64_t> conv_im2col_workspace(const ConvShape& shape, DType dtype, const std::string& direction);

// 1x1 convolutions with stride 1 and no padding, whose images are the matrices (conv_gemm.cpp); without workspace.
void conv_gemm_fwd(const ConvShape& shape, DType dtype, const void* x, const void* w, const void* bias, bool relu,
                   void* y, void* workspace, int64_t workspace_bytes, cudaStream_t stream);
void conv_gemm_dgrad(const ConvShape& shape, DType dtype, const void* dy, const void* w, void* dx, void* workspace,
                     int64_t workspace_bytes, cudaStream_t stream);
void conv_gemm_wgrad(const ConvShape& shape, DType dtype, const void* x, const void* dy, void* dw, void* workspace,
                     int64_t workspace_bytes, cudaStream_t stream);
std::pair<int64_t, int64_t> conv_gemm_workspace(const ConvShape& shape, DType dtype, const std::string& direction);

// Convolution with 3x3 filters by Winograd's algorithm (conv_winograd.cpp), m = 2 or 4 outputs a side; filters as
// conv_winograd_filters writes them, at a multiple of 16 bytes, take the place of w in fwd and dgrad. split: products
// on tensor cores at float32 accuracy.
template <int m>
int64_t conv_winograd_filters_bytes(const ConvShape& shape, DType dtype, const std::string& direction);
template <int m>
void conv_winograd_filters(const ConvShape& shape, DType dtype, const std::string& direction, const void* w,
                           void* filters, cudaStream_t stream);
template <int m, bool split = false>
void conv_winograd_fwd(const ConvShape& shape, DType dtype, const void* x, const void* filters, const void* bias,
                       bool relu, void* y, void* workspace, int64_t workspace_bytes, cudaStream_t stream);
template <int m, bool split = false>
void conv_winograd_dgrad(const ConvShape& shape, DType dtype, const void* dy, const void* filters, void* dx,
                         void* workspace, int64_t workspace_bytes, cudaStream_t stream);
template <int m, bool split = false>
void conv_winograd_wgrad(const ConvShape& shape, DType dtype, const void* x, const void* dy, void* dw, void* workspace,
                         int64_t workspace_bytes, cudaStream_t stream);
template <int m, bool split = false>
std::pair<int64_t, int64_t> conv_winograd_workspace(const ConvShape& shape, DType dtype, const std::string& direction);

// Convolution by FFT of tiles (conv_fft.cpp), of stride 1 and dilation 1; filters as conv_fft_filters writes them, at a
// multiple of 16 bytes, take the place of w. conv_fft_tile: the tile's (height, width).
std::pair<int, int> conv_fft_tile(const ConvShape& shape, DType dtype, const std::string& direction);
int64_t conv_fft_filters_bytes(const ConvShape& shape, DType dtype, const std::string& direction);
void conv_fft_filters(const ConvShape& shape, DType dtype, const std::string& direction, const void* w, void* filters,
                      cudaStream_t stream);
void conv_fft_fwd(const ConvShape& shape, DType dtype, const void* x, const void* filters, const void* bias, bool relu,
                  void* y, void* workspace, int64_t workspace_bytes, cudaStream_t stream);
void conv_fft_dgrad(const ConvShape& shape, DType dtype, const void* dy, const void* filters, void* dx, void* workspace,
                    int64_t workspace_bytes, cudaStream_t stream);
void conv_fft_wgrad(const ConvShape& shape, DType dtype, const void* x, const void* dy, void* dw, void* workspace,
                    int64_t workspace_bytes, cudaStream_t stream);
std::pair<int64_t, int64_t> conv_fft_workspace(const ConvShape& shape, DType dtype, const std::string& direction);

// Implicit GEMM on Hopper's tensor cores (conv_implicit_hopper.cpp), of float16 or bfloat16, where
// implicit_hopper_available; filters as conv_implicit_filters writes them, at a multiple of 16 bytes.
void conv_implicit_hopper_fwd(const ConvShape& shape, DType dtype, const void* x, const void* filters, const void* bias,
                              bool relu, void* y, void* workspace, int64_t workspace_bytes, cudaStream_t stream);
// and mean and var (K,), biased, float32, of each channel of y as it is rounded; workspace, direction "fwd_statistics",
// at a multiple of 4 bytes
void conv_implicit_hopper_fwd_statistics(const ConvShape& shape, DType dtype, const void* x, const void* filters,
                                         void* y, float* mean, float* var, void* workspace, int64_t workspace_bytes,
                                         cudaStream_t stream);
void conv_implicit_hopper_dgrad(const ConvShape& shape, DType dtype, const void* dy, const void* filters, void* dx,
                                void* workspace, int64_t workspace_bytes, cudaStream_t stream);
void conv_implicit_hopper_wgrad(const ConvShape& shape, DType dtype, const void* x, const void* dy, void* dw,
                                void* workspace, int64_t workspace_bytes, cudaStream_t stream);
std::pair<int64_t, int64_t> conv_implicit_hopper_workspace(const ConvShape& shape, DType dtype,
                                                           const std::string& direction);
