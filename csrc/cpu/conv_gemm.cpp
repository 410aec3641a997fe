// 1x1 convolutions with stride 1 and no padding, whose images are the matrices of a product. They are what im2col comes
// to for such shapes, under a name of their own. Called by bind_cpu.cpp and conv_im2col*.cpp.
#include "conv_im2col.h"

namespace {

const ConvShape& pointwise(const ConvShape& s) {
    if (!is_pointwise(s))
        throw std::invalid_argument("conv_gemm: takes 1x1 filters with stride 1 and no padding, but came strides (" +
                                    std::to_string(s.stride_h) + ", " + std::to_string(s.stride_w) + "), padding (" +
                                    std::to_string(s.pad_h) + ", " + std::to_string(s.pad_w) + ") (" + s.text() + ")");
    return s;
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
    conv_im2col_fwd(pointwise(s), dtype, x, w, bias, relu, y, workspace, bytes);
}
void conv_gemm_dgrad(const ConvShape& s, DType dtype, Address dy, Address w, Address dx, Address workspace,
                     int64_t bytes) {
    conv_im2col_dgrad(pointwise(s), dtype, dy, w, dx, workspace, bytes);
}
void conv_gemm_wgrad(const ConvShape& s, DType dtype, Address x, Address dy, Address dw, Address workspace,
                     int64_t bytes) {
    conv_im2col_wgrad(pointwise(s), dtype, x, dy, dw, workspace, bytes);
}
std::pair<int64_t, int64_t> conv_gemm_workspace(const ConvShape& s, DType dtype, const std::string& direction) {
    return conv_im2col_workspace(pointwise(s), dtype, direction);
}
