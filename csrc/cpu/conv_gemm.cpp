// 1x1 convolutions with stride 1 and no padding, whose images are the matrices of a product. They are what im2col comes
// to for such shapes, under a name of their own; channels_last images are one matrix (N H W, C), which needs no
// workspace. Called by bind_cpu.cpp and conv_im2col*.cpp.
#include <cstring>

#include "conv_im2col.h"

namespace {

const ConvShape& pointwise(const ConvShape& s) {
    if (!is_pointwise(s))
        throw std::invalid_argument("conv_gemm: takes 1x1 filters with stride 1 and no padding, but came strides (" +
                                    std::to_string(s.stride_h) + ", " + std::to_string(s.stride_w) + "), padding (" +
                                    std::to_string(s.pad_h) + ", " + std::to_string(s.pad_w) + ") (" + s.text() + ")");
    return s;
}

// out = a * b of channels_last images, in each group: y (NHW, Kg) = x (NHW, Cg) w^T, dx = dy w, dw (Kg, Cg) = dy^T x.
void multiply_pixels(const ConvShape& s, DType dtype, const std::string& direction, Address a, Address b, Address bias,
                     bool relu, Address out) {
    const int64_t pixels = int64_t(s.N) * s.H * s.W, Cg = s.Cg(), Kg = s.Kg();
    GemmBatch batch{};
    GemmJob& job = batch.job;
    job.dtype = dtype, job.relu = relu;
    job.bias = reinterpret_cast<const void*>(bias);
    batch.count = s.groups, batch.bias = Kg;
    if (direction == "fwd") {
        job.M = pixels, job.N = Kg, job.K = Cg;
        job.a_row = s.C, job.a_depth = 1, job.b_depth = 1, job.b_column = Cg, job.out_row = s.K;
        batch.a = Cg, batch.b = Kg * Cg, batch.out = Kg;
    } else if (direction == "dgrad") {
        job.M = pixels, job.N = Cg, job.K = Kg;
        job.a_row = s.K, job.a_depth = 1, job.b_depth = Cg, job.b_column = 1, job.out_row = s.C;
        batch.a = Kg, batch.b = Kg * Cg, batch.out = Cg;
    } else {
        if (pixels == 0) {
            std::memset(reinterpret_cast<void*>(out), 0, s.w_size() * size_of(dtype));
            return;
        }
        std::swap(a, b);  // dy first
        job.M = Kg, job.N = Cg, job.K = pixels;
        job.a_row = 1, job.a_depth = s.K, job.b_depth = s.C, job.b_column = 1, job.out_row = Cg;
        batch.a = Kg, batch.b = Cg, batch.out = Kg * Cg;
    }
    job.out_column = 1, job.image = job.N;
    job.a = reinterpret_cast<const void*>(a), job.b = reinterpret_cast<const void*>(b);
    job.out = reinterpret_cast<void*>(out);
    multiply(batch);
}

}  // namespace

// y (K, N H W) = w (K, C) x (C, N H W), or dx = w^T dy, in each group.
GemmBatch pointwise_products(const ConvShape& s, DType dtype, bool dgrad) {
    const int64_t plane = int64_t(s.H) * s.W, Cg = s.Cg(), Kg = s.Kg();
    GemmBatch batch{};
    GemmJob& job = batch.job;
    job.dtype = dtype;
    job.M = dgrad ? Cg : Kg, job.N = s.N * plane, job.K = dgrad ? Kg : Cg;
    job.a_row = dgrad ? 1 : Cg, job.a_depth = dgrad ? Cg : 1;
    job.b_depth = plane, job.b_column = 1, job.b_image = (dgrad ? s.K : s.C) * plane;
    job.out_row = plane, job.out_column = 1, job.out_image = (dgrad ? s.C : s.K) * plane;
    job.image = plane;
    job.bias_row = true;
    batch.count = s.groups;
    batch.a = Kg * Cg, batch.b = job.K * plane, batch.out = job.M * plane, batch.bias = job.M;
    return batch;
}

void pointwise_multiply(const PointwisePlan& plan, Address a, Address b, Address bias, bool relu, Address out,
                        Address workspace) {
    GemmBatch batch = plan.batch;
    batch.job.a = reinterpret_cast<const void*>(a);
    batch.job.b = reinterpret_cast<const void*>(b);
    batch.job.bias = reinterpret_cast<const void*>(bias);
    batch.job.relu = relu;
    batch.job.out = reinterpret_cast<void*>(out);
    multiply(batch, plan.blocks, Carver<char>(workspace).take(0));
}

void conv_gemm_fwd(const ConvShape& s, DType dtype, Address x, Address w, Address bias, bool relu, Address y,
                   Address workspace, int64_t bytes) {
    if (pointwise(s).channels_last) return multiply_pixels(s, dtype, "fwd", x, w, bias, relu, y);
    conv_im2col_fwd(s, dtype, x, w, bias, relu, y, workspace, bytes);
}
void conv_gemm_dgrad(const ConvShape& s, DType dtype, Address dy, Address w, Address dx, Address workspace,
                     int64_t bytes) {
    if (pointwise(s).channels_last) return multiply_pixels(s, dtype, "dgrad", dy, w, 0, false, dx);
    conv_im2col_dgrad(s, dtype, dy, w, dx, workspace, bytes);
}
void conv_gemm_wgrad(const ConvShape& s, DType dtype, Address x, Address dy, Address dw, Address workspace,
                     int64_t bytes) {
    if (pointwise(s).channels_last) return multiply_pixels(s, dtype, "wgrad", x, dy, 0, false, dw);
    conv_im2col_wgrad(s, dtype, x, dy, dw, workspace, bytes);
}
std::pair<int64_t, int64_t> conv_gemm_workspace(const ConvShape& s, DType dtype, const std::string& direction) {
    const auto bytes = conv_im2col_workspace(pointwise(s), dtype, direction);  // refuses what is no direction
    return s.channels_last ? std::pair<int64_t, int64_t>(0, 0) : bytes;
}
