// 1x1 convolutions with stride 1 and no padding: the images are the matrices of a product. Of channels_last images, all
// are one matrix, and nothing needs workspace:
//
//   fwd    y (NHW, Kg)  = x (NHW, Cg)    w^T (Cg, Kg)     per group
//   dgrad  dx (NHW, Cg) = dy (NHW, Kg)   w (Kg, Cg)
//   wgrad  dw (Kg, Cg)  = dy^T (Kg, NHW)   x (NHW, Cg)
//
// Otherwise fwd and dgrad are what im2col comes to for such shapes, without workspace, and
//
//   wgrad  dw (Kg, Cg)  = dy (Kg, PQ)    x^T (PQ, Cg)     per image and group, added up over images
//
// One image seldom has products enough to fill a GPU. So several are multiplied at once, into float32 parts in the
// workspace, to which the images after them are added; the parts are summed in order at the end. Without workspace,
// which float32 does not need, all images are added to dw.
#include <algorithm>
#include <stdexcept>

#include "functions.h"
#include "gemm.h"
#include "kernels.h"

namespace {

constexpr int64_t kProducts = 256;  // blocks of 128 x 128 that fill a GPU twice

const ConvShape& pointwise(const ConvShape& s) {
    if (s.R != 1 || s.S != 1 || s.stride_h != 1 || s.stride_w != 1 || s.pad_h != 0 || s.pad_w != 0)
        throw std::invalid_argument("conv_gemm: takes 1x1 filters with stride 1 and no padding, but came strides (" +
                                    std::to_string(s.stride_h) + ", " + std::to_string(s.stride_w) + "), padding (" +
                                    std::to_string(s.pad_h) + ", " + std::to_string(s.pad_w) + ") (" + s.text() + ")");
    return s;
}

// out = a b of channels_last images: so many rows and columns a group, depth products each.
Gemm of_pixels(const ConvShape& s, DType dtype, int64_t rows, int64_t columns, int64_t depth, const Operand& a,
               const Operand& b, const Operand& out) {
    return {dtype, dtype == DType::tf32 ? DType::float32 : dtype, rows, columns, depth, a, b, out, 1, s.groups};
}

int64_t pixels_of(const ConvShape& s) { return int64_t(s.N) * s.H * s.W; }

void fill_zeros(const ConvShape& s, DType dtype, void* dw, cudaStream_t stream) {
    if (cudaMemsetAsync(dw, 0, size_t(s.w_size() * size_of(dtype)), stream) != cudaSuccess)
        throw std::runtime_error("conv_gemm_wgrad: CUDA should write zeros, but failed (" + s.text() + ")");
}

int64_t part_bytes(const ConvShape& s) { return s.w_size() * int64_t(sizeof(float)); }

// The images that are multiplied at once, if memory allows.
int64_t most_parts(const ConvShape& s) {
    const int64_t blocks = s.groups * int64_t((s.Kg() + 127) / 128) * ((s.Cg() + 127) / 128);
    return std::min<int64_t>(s.N, (kProducts + blocks - 1) / blocks);
}

}  // namespace

void conv_gemm_fwd(const ConvShape& s, DType dtype, const void* x, const void* w, const void* bias, bool relu, void* y,
                   void*, int64_t, cudaStream_t stream) {
    if (!pointwise(s).channels_last) return conv_im2col_fwd(s, dtype, x, w, bias, relu, y, nullptr, 0, stream);
    const Gemm product = of_pixels(s, dtype, pixels_of(s), s.Kg(), s.Cg(), {x, s.C, false, 0, s.Cg()},
                                   {w, s.Cg(), true, 0, int64_t(s.Kg()) * s.Cg()}, {y, s.K, false, 0, s.Kg()});
    const bool ends = bias || relu;
    if (ends && multiply_with_ends(product, bias, relu, stream, "conv_gemm_fwd", s.text())) return;
    multiply(product, stream, "conv_gemm_fwd", s.text());
    if (ends) add_bias(dtype, pixels_of(s), s.K, 1, bias, relu, y, stream);
}

void conv_gemm_dgrad(const ConvShape& s, DType dtype, const void* dy, const void* w, void* dx, void*, int64_t,
                     cudaStream_t stream) {
    if (!pointwise(s).channels_last) return conv_im2col_dgrad(s, dtype, dy, w, dx, nullptr, 0, stream);
    multiply(of_pixels(s, dtype, pixels_of(s), s.Cg(), s.Kg(), {dy, s.K, false, 0, s.Kg()},
                       {w, s.Cg(), false, 0, int64_t(s.Kg()) * s.Cg()}, {dx, s.C, false, 0, s.Cg()}),
             stream, "conv_gemm_dgrad", s.text());
}

void conv_gemm_wgrad(const ConvShape& s, DType dtype, const void* x, const void* dy, void* dw, void* workspace,
                     int64_t workspace_bytes, cudaStream_t stream) {
    const auto [least, best] = conv_gemm_workspace(s, dtype, "wgrad");
    if (workspace_bytes < least)
        throw std::invalid_argument("conv_gemm_wgrad: needs a workspace of at least " + std::to_string(least) +
                                    " bytes, but has " + std::to_string(workspace_bytes) + " (" + s.text() + ")");
    if (s.N == 0) return fill_zeros(s, dtype, dw, stream);
    if (s.channels_last)
        return multiply(of_pixels(s, dtype, s.Kg(), s.Cg(), pixels_of(s), {dy, s.K, true, 0, s.Kg()},
                                  {x, s.C, false, 0, s.Cg()}, {dw, s.Cg(), false, 0, int64_t(s.Kg()) * s.Cg()}),
                        stream, "conv_gemm_wgrad", s.text());
    // One image, or no room for parts: dw itself takes the product.
    const int64_t fit = best ? std::min(workspace_bytes, best) / part_bytes(s) : 0, parts = std::max<int64_t>(fit, 1);
    const DType stored = dtype == DType::tf32 ? DType::float32 : dtype;
    const int64_t plane = int64_t(s.H) * s.W, filter = s.w_size() / s.groups;
    for (int64_t n = 0; n < s.N; n += parts)
        multiply({dtype,
                  fit ? DType::float32 : stored,
                  s.Kg(),
                  s.Cg(),
                  plane,
                  {advance(dy, n * s.K * plane, dtype), plane, false, s.K * plane, s.Kg() * plane},
                  {advance(x, n * s.C * plane, dtype), plane, true, s.C * plane, s.Cg() * plane},
                  {fit ? workspace : dw, s.Cg(), false, s.w_size(), filter},
                  std::min(parts, s.N - n),
                  s.groups,
                  n > 0},
                 stream, "conv_gemm_wgrad", s.text());
    if (fit) sum_parts(dtype, s.w_size(), int(parts), static_cast<const float*>(workspace), dw, stream);
}

std::pair<int64_t, int64_t> conv_gemm_workspace(const ConvShape& s, DType dtype, const std::string& direction) {
    conv_im2col_workspace(pointwise(s), dtype, direction);  // refuses what is no direction
    if (direction != "wgrad" || s.N < 2 || s.channels_last) return {0, 0};
    return {size_of(dtype) == 2 ? part_bytes(s) : 0, most_parts(s) * part_bytes(s)};
}
