// A plain GEMM in the place of cuBLAS: column-major, float32 sums, strict about its arguments.
#include <algorithm>
#include <cstring>

#include "cublas_v2.h"
#include "cuda_bf16.h"
#include "cuda_fp16.h"

struct cublasContext {
    cublasMath_t mode = CUBLAS_DEFAULT_MATH;
};

namespace {

float load(const void* array, cudaDataType type, int64_t i) {
    if (type == CUDA_R_16F) return float(static_cast<const __half*>(array)[i]);
    if (type == CUDA_R_16BF) return float(static_cast<const __nv_bfloat16*>(array)[i]);
    return static_cast<const float*>(array)[i];
}

void store(void* array, cudaDataType type, int64_t i, float value) {
    if (type == CUDA_R_16F)
        static_cast<__half*>(array)[i] = __half(value);
    else if (type == CUDA_R_16BF)
        static_cast<__nv_bfloat16*>(array)[i] = __nv_bfloat16(value);
    else
        static_cast<float*>(array)[i] = value;
}

float rounded(float value, cudaDataType type) {
    if (type == CUDA_R_16F) return float(__half(value));
    if (type == CUDA_R_16BF) return float(__nv_bfloat16(value));
    return value;
}

// Keeps the 10 bits of fraction that a TF32 tensor core reads.
float tf32(float value) {
    uint32_t word;
    std::memcpy(&word, &value, 4);
    word = (word + 0x1000) & ~0x1FFFu;
    std::memcpy(&value, &word, 4);
    return value;
}

}  // namespace

cublasStatus_t cublasCreate(cublasHandle_t* handle) {
    *handle = new cublasContext;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetStream(cublasHandle_t handle, cudaStream_t) {
    return handle ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_INITIALIZED;
}

cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t mode) {
    if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
    handle->mode = mode;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGetProperty(libraryPropertyType, int* value) {
    *value = 0;
    return CUBLAS_STATUS_SUCCESS;
}

const char* cublasGetStatusString(cublasStatus_t status) {
    switch (status) {
        case CUBLAS_STATUS_SUCCESS:
            return "CUBLAS_STATUS_SUCCESS";
        case CUBLAS_STATUS_NOT_INITIALIZED:
            return "CUBLAS_STATUS_NOT_INITIALIZED";
        case CUBLAS_STATUS_INVALID_VALUE:
            return "CUBLAS_STATUS_INVALID_VALUE";
        case CUBLAS_STATUS_NOT_SUPPORTED:
            return "CUBLAS_STATUS_NOT_SUPPORTED";
    }
    return "unknown";
}

cublasStatus_t cublasGemmStridedBatchedEx_64(cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb,
                                             int64_t m, int64_t n, int64_t k, const void* alpha, const void* A,
                                             cudaDataType Atype, int64_t lda, long long strideA, const void* B,
                                             cudaDataType Btype, int64_t ldb, long long strideB, const void* beta,
                                             void* C, cudaDataType Ctype, int64_t ldc, long long strideC,
                                             int64_t batchCount, cublasComputeType_t computeType, cublasGemmAlgo_t) {
    if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
    const bool ta = transa == CUBLAS_OP_T, tb = transb == CUBLAS_OP_T;
    if (m < 0 || n < 0 || k < 0 || batchCount < 0 || lda < std::max<int64_t>(1, ta ? k : m) ||
        ldb < std::max<int64_t>(1, tb ? n : k) || ldc < std::max<int64_t>(1, m))
        return CUBLAS_STATUS_INVALID_VALUE;
    // The table of cuBLAS: one type for A and B; C the same or float32; TF32 for float32 alone.
    if (Atype != Btype || (Ctype != Atype && Ctype != CUDA_R_32F) ||
        (computeType == CUBLAS_COMPUTE_32F_FAST_TF32 && Atype != CUDA_R_32F))
        return CUBLAS_STATUS_NOT_SUPPORTED;
    const float scale = *static_cast<const float*>(alpha), keep = *static_cast<const float*>(beta);
    const auto operand = [&](const void* array, cudaDataType type, int64_t i) {
        const float value = load(array, type, i);
        return computeType == CUBLAS_COMPUTE_32F_FAST_TF32 ? tf32(value) : value;
    };
    // Unless forbidden, cuBLAS may add the partial sums of split-K kernels in the type of C.
    const bool reduce_in_output_type = !(handle->mode & CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION);
    for (int64_t batch = 0; batch < batchCount; ++batch)
        for (int64_t j = 0; j < n; ++j)
            for (int64_t i = 0; i < m; ++i) {
                float sum = 0;
                for (int64_t l = 0; l < k; ++l) {
                    sum += operand(A, Atype, batch * strideA + (ta ? i * lda + l : l * lda + i)) *
                           operand(B, Btype, batch * strideB + (tb ? l * ldb + j : j * ldb + l));
                    if (reduce_in_output_type && l % 16 == 15) sum = rounded(sum, Ctype);
                }
                const int64_t at = batch * strideC + j * ldc + i;
                store(C, Ctype, at, keep == 0 ? scale * sum : scale * sum + keep * load(C, Ctype, at));
            }
    return CUBLAS_STATUS_SUCCESS;
}
