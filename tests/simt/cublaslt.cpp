// Products with bias and ReLU in the place of cuBLASLt: column-major, on cublasGemmStridedBatchedEx_64 into float32.
#include "cublasLt.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "cuda_bf16.h"
#include "cuda_fp16.h"

namespace {

struct Layout {
    cudaDataType type;
    uint64_t rows, cols;
    int64_t ld;
};
struct Product {
    cublasComputeType_t compute;
    uint32_t ends;
    int32_t transposed[2];
    const void* bias;
};
struct Preference {
    uint32_t reductions, alignment[4];
};
struct Kernel {  // what a heuristic chose, and for which alignment
    uint64_t chosen;
    uint32_t alignment[4];
};

template <class T, class Opaque>
T& in(Opaque* opaque) {
    static_assert(sizeof(T) <= sizeof(Opaque));
    return *reinterpret_cast<T*>(opaque);
}

template <class T>
cublasStatus_t take(T& field, const void* value, size_t bytes) {
    if (bytes != sizeof(T)) return CUBLAS_STATUS_INVALID_VALUE;
    std::memcpy(&field, value, bytes);
    return CUBLAS_STATUS_SUCCESS;
}

bool divides(uint32_t alignment, const void* data) { return reinterpret_cast<uintptr_t>(data) % alignment == 0; }

}  // namespace

cublasStatus_t cublasLtMatrixLayoutInit(cublasLtMatrixLayout_t layout, cudaDataType type, uint64_t rows, uint64_t cols,
                                        int64_t ld) {
    in<Layout>(layout) = {type, rows, cols, ld};
    return ld < int64_t(rows) ? CUBLAS_STATUS_INVALID_VALUE : CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescInit(cublasLtMatmulDesc_t desc, cublasComputeType_t compute, cudaDataType scale) {
    in<Product>(desc) = {compute, CUBLASLT_EPILOGUE_DEFAULT, {CUBLAS_OP_N, CUBLAS_OP_N}, nullptr};
    return scale == CUDA_R_32F ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t attribute,
                                              const void* value, size_t bytes) {
    Product& product = in<Product>(desc);
    switch (attribute) {
        case CUBLASLT_MATMUL_DESC_TRANSA:
            return take(product.transposed[0], value, bytes);
        case CUBLASLT_MATMUL_DESC_TRANSB:
            return take(product.transposed[1], value, bytes);
        case CUBLASLT_MATMUL_DESC_EPILOGUE:
            return take(product.ends, value, bytes);
        case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
            return take(product.bias, value, bytes);
    }
    return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatmulPreferenceInit(cublasLtMatmulPreference_t preference) {
    in<Preference>(preference) = {7, {256, 256, 256, 256}};
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute, const void* value,
                                                    size_t bytes) {
    Preference& p = in<Preference>(preference);
    if (attribute == CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK) return take(p.reductions, value, bytes);
    return take(p.alignment[attribute - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES], value, bytes);
}

// None for a product with an odd depth, so that callers are tested without one, and none that may add in 16 bits.
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc,
                                              cublasLtMatrixLayout_t A, cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                              cublasLtMatrixLayout_t, cublasLtMatmulPreference_t preference, int wanted,
                                              cublasLtMatmulHeuristicResult_t* results, int* found) {
    const Preference& p = in<Preference>(preference);
    const Layout& a = in<Layout>(A);
    *found = 0;
    if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
    const uint64_t depth = in<Product>(desc).transposed[0] == CUBLAS_OP_T ? a.rows : a.cols;
    if (wanted < 1 || p.reductions & ~unsigned(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE) || depth % 2)
        return CUBLAS_STATUS_NOT_SUPPORTED;
    results[0] = {};
    Kernel& kernel = in<Kernel>(&results[0].algo);
    kernel.chosen = 1;
    std::copy(p.alignment, p.alignment + 4, kernel.alignment);
    *found = 1;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, const void* alpha, const void* A,
                              cublasLtMatrixLayout_t a_layout, const void* B, cublasLtMatrixLayout_t b_layout,
                              const void* beta, const void* C, cublasLtMatrixLayout_t, void* D,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t* algo, void*, size_t,
                              cudaStream_t stream) {
    const Product& product = in<Product>(desc);
    const Layout &a = in<Layout>(a_layout), &b = in<Layout>(b_layout), &d = in<Layout>(d_layout);
    const Kernel& kernel = *reinterpret_cast<const Kernel*>(algo);
    const bool ta = product.transposed[0] == CUBLAS_OP_T, tb = product.transposed[1] == CUBLAS_OP_T;
    const uint64_t m = ta ? a.cols : a.rows, k = ta ? a.rows : a.cols, n = tb ? b.rows : b.cols;
    if (d.rows != m || d.cols != n || (tb ? b.cols : b.rows) != k || kernel.chosen != 1 ||
        !divides(kernel.alignment[0], A) || !divides(kernel.alignment[1], B) || !divides(kernel.alignment[2], C) ||
        !divides(kernel.alignment[3], D) ||
        (product.ends & CUBLASLT_EPILOGUE_BIAS && (!product.bias || !divides(16, product.bias))))
        return CUBLAS_STATUS_INVALID_VALUE;
    std::vector<float> sums(m * n);
    cublasSetStream(handle, stream);
    cublasSetMathMode(handle, CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION);
    const cublasStatus_t status = cublasGemmStridedBatchedEx_64(
        handle, ta ? CUBLAS_OP_T : CUBLAS_OP_N, tb ? CUBLAS_OP_T : CUBLAS_OP_N, int64_t(m), int64_t(n), int64_t(k),
        alpha, A, a.type, a.ld, 0, B, b.type, b.ld, 0, beta, sums.data(), CUDA_R_32F, std::max<int64_t>(1, int64_t(m)),
        0, 1, product.compute, CUBLAS_GEMM_DEFAULT);
    if (status != CUBLAS_STATUS_SUCCESS) return status;
    const auto finish = [&](auto element) {
        using T = decltype(element);
        for (uint64_t column = 0; column < n; ++column)
            for (uint64_t row = 0; row < m; ++row) {
                float value = sums[column * m + row];
                if (product.ends & CUBLASLT_EPILOGUE_BIAS) value += float(static_cast<const T*>(product.bias)[row]);
                if (product.ends & CUBLASLT_EPILOGUE_RELU && value < 0) value = 0;
                static_cast<T*>(D)[column * uint64_t(d.ld) + row] = T(value);
            }
    };
    if (d.type == CUDA_R_16F)
        finish(__half());
    else if (d.type == CUDA_R_16BF)
        finish(__nv_bfloat16());
    else
        finish(float());
    return CUBLAS_STATUS_SUCCESS;
}
