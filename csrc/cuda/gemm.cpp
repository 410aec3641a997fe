#include "gemm.h"

#include <stdexcept>

#include "functions.h"
#include "handles.h"

cudaDataType type_of(DType dtype) {
    switch (dtype) {
        case DType::float32:
        case DType::tf32:
            return CUDA_R_32F;
        case DType::float16:
            return CUDA_R_16F;
        case DType::bfloat16:
            return CUDA_R_16BF;
        case DType::float64:
            break;
    }
    throw std::invalid_argument("dtype: a GPU takes float32, tf32, float16 or bfloat16, but came float64");
}

cublasComputeType_t compute_of(DType dtype) {
    return dtype == DType::tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
}

namespace {

void check_cublas(cublasStatus_t status, const char* op, const std::string& shape) {
    if (status == CUBLAS_STATUS_SUCCESS) return;
    throw std::runtime_error(std::string(op) + ": cuBLAS should multiply, but says " + cublasGetStatusString(status) +
                             " (" + shape + ")");
}

}  // namespace

void multiply(const Gemm& g, cudaStream_t stream, const char* op, const std::string& shape) {
    if (g.M == 0 || g.N == 0 || g.images == 0 || g.groups == 0) return;
    cublasHandle_t handle = cublas_handle(stream);
    // Without this flag cuBLAS may add the partial sums of a 16-bit product in 16 bits.
    check_cublas(cublasSetMathMode(handle, CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION), op, shape);
    const float one = 1, keep = g.accumulate ? 1 : 0;

    // One call per image with the groups as its batch, or the other way round: whichever makes fewer calls.
    const bool batch_groups = g.groups > g.images;
    const int64_t calls = batch_groups ? g.images : g.groups, batch = batch_groups ? g.groups : g.images;
    const auto step = [&](const Operand& x) { return batch_groups ? x.image_stride : x.group_stride; };
    const auto stride = [&](const Operand& x) { return batch_groups ? x.group_stride : x.image_stride; };
    const auto operation = [](const Operand& x) { return x.transposed ? CUBLAS_OP_T : CUBLAS_OP_N; };
    for (int64_t i = 0; i < calls; ++i) {
        // cuBLAS is column-major: it sees the transposes, and out^T = op(b)^T op(a)^T.
        check_cublas(
            cublasGemmStridedBatchedEx_64(
                handle, operation(g.b), operation(g.a), g.N, g.M, g.K, &one, advance(g.b.data, i * step(g.b), g.dtype),
                type_of(g.dtype), g.b.row_stride, stride(g.b), advance(g.a.data, i * step(g.a), g.dtype),
                type_of(g.dtype), g.a.row_stride, stride(g.a), &keep,
                const_cast<void*>(advance(g.out.data, i * step(g.out), g.out_dtype)), type_of(g.out_dtype),
                g.out.row_stride, stride(g.out), batch, compute_of(g.dtype), CUBLAS_GEMM_DEFAULT),
            op, shape);
    }
}

void gemm(DType dtype, bool trans_a, bool trans_b, int64_t M, int64_t N, int64_t K, int64_t batch, const void* a,
          int64_t lda, int64_t stride_a, const void* b, int64_t ldb, int64_t stride_b, void* out, cudaStream_t stream) {
    const std::string shape = "M " + std::to_string(M) + ", N " + std::to_string(N) + ", K " + std::to_string(K) +
                              ", batch " + std::to_string(batch) + ", lda " + std::to_string(lda) + ", ldb " +
                              std::to_string(ldb);
    if (M < 0 || N < 0 || K < 0 || batch < 0)
        throw std::invalid_argument("gemm: sizes must not be negative (" + shape + ")");
    type_of(dtype);
    if (M == 0 || N == 0 || batch == 0) return;
    if (K == 0) {
        if (cudaMemsetAsync(out, 0, size_t(batch * M * N * size_of(dtype)), stream) != cudaSuccess)
            throw std::runtime_error("gemm: CUDA should write zeros, but cudaMemsetAsync failed (" + shape + ")");
        return;
    }
    if (lda < (trans_a ? M : K) || ldb < (trans_b ? K : N))
        throw std::invalid_argument("gemm: lda and ldb are at least the length of a stored row (" + shape + ")");
    const DType out_dtype = dtype == DType::tf32 ? DType::float32 : dtype;
    multiply({dtype,
              out_dtype,
              M,
              N,
              K,
              {a, lda, trans_a, stride_a, 0},
              {b, ldb, trans_b, stride_b, 0},
              {out, N, false, M * N, 0},
              batch,
              1},
             stream, "gemm", shape);
}
