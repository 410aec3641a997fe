// out = a b + bias, then ReLU, by cuBLASLt: the ends ride along with the one write of the product, which add_bias would
// read and write again. cuBLASLt adds a bias to the rows of a column-major matrix; of a row-major one these are
// columns.
//
// Which kernel runs is cuBLASLt's choice, which it remembers by itself, among those without workspace, so that nothing
// is allocated, and that add partial sums in float32. None is told how a bias is aligned; some load 16 bytes of it at
// once (Marian's src/tensors/gpu/prod.cpp found so on an A100).
#include <cublasLt.h>

#include <algorithm>
#include <stdexcept>

#include "gemm.h"
#include "handles.h"

namespace {

void check_cublas(cublasStatus_t status, const char* op, const std::string& shape) {
    if (status == CUBLAS_STATUS_SUCCESS) return;
    throw std::runtime_error(std::string(op) + ": cuBLASLt should multiply, but says " + cublasGetStatusString(status) +
                             " (" + shape + ")");
}

// The largest power of 2, up to 256, that divides the address.
uint32_t alignment(const void* data) {
    const uintptr_t address = reinterpret_cast<uintptr_t>(data) | 256;
    return uint32_t(address & -address);
}

// A matrix as cuBLASLt sees it, column-major, so with the lengths of its stored rows and columns swapped.
struct Matrix {
    cublasLtMatrixLayoutOpaque_t layout;

    Matrix(cudaDataType type, int64_t columns, int64_t rows, int64_t row_stride, const char* op,
           const std::string& shape) {
        check_cublas(cublasLtMatrixLayoutInit(&layout, type, uint64_t(columns), uint64_t(rows), row_stride), op, shape);
    }
    Matrix(cudaDataType type, const Operand& x, int64_t rows, int64_t columns, const char* op, const std::string& shape)
        : Matrix(type, x.transposed ? rows : columns, x.transposed ? columns : rows, x.row_stride, op, shape) {}
};

}  // namespace

bool multiply_with_ends(const Gemm& g, const void* bias, bool relu, cudaStream_t stream, const char* op,
                        const std::string& shape) {
    if (g.images != 1 || g.groups != 1 || g.accumulate || g.M == 0 || g.N == 0 || alignment(bias) < 16) return false;
    const auto handle = reinterpret_cast<cublasLtHandle_t>(cublas_handle(stream));  // one holds the other
    const auto check = [&](cublasStatus_t status) { check_cublas(status, op, shape); };

    cublasLtMatmulDescOpaque_t product;
    check(cublasLtMatmulDescInit(&product, compute_of(g.dtype), CUDA_R_32F));
    const auto set = [&](cublasLtMatmulDescAttributes_t attribute, const auto& value) {
        check(cublasLtMatmulDescSetAttribute(&product, attribute, &value, sizeof(value)));
    };
    const uint32_t ends = (bias ? CUBLASLT_EPILOGUE_BIAS : 0) | (relu ? CUBLASLT_EPILOGUE_RELU : 0);
    const int32_t transposed = CUBLAS_OP_T;
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, ends ? ends : uint32_t(CUBLASLT_EPILOGUE_DEFAULT));
    if (bias) set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
    if (g.b.transposed) set(CUBLASLT_MATMUL_DESC_TRANSA, transposed);  // out^T = op(b)^T op(a)^T
    if (g.a.transposed) set(CUBLASLT_MATMUL_DESC_TRANSB, transposed);

    Matrix a(type_of(g.dtype), g.a, g.M, g.K, op, shape), b(type_of(g.dtype), g.b, g.K, g.N, op, shape);
    Matrix out(type_of(g.out_dtype), g.out, g.M, g.N, op, shape);

    cublasLtMatmulPreferenceOpaque_t preference;
    check(cublasLtMatmulPreferenceInit(&preference));
    const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, uint32_t value) {
        check(cublasLtMatmulPreferenceSetAttribute(&preference, attribute, &value, sizeof(value)));
    };
    prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE);
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment(g.b.data));
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment(g.a.data));
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment(g.out.data));
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment(g.out.data));

    cublasLtMatmulHeuristicResult_t kernel;
    int found = 0;
    const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(handle, &product, &b.layout, &a.layout, &out.layout,
                                                                 &out.layout, &preference, 1, &kernel, &found);
    if (status == CUBLAS_STATUS_NOT_SUPPORTED || found == 0) return false;
    check(status);
    check(kernel.state);
    const float one = 1, zero = 0;
    void* const to = const_cast<void*>(g.out.data);
    check(cublasLtMatmul(handle, &product, &one, g.b.data, &b.layout, g.a.data, &a.layout, &zero, to, &out.layout, to,
                         &out.layout, &kernel.algo, nullptr, 0, stream));
    return true;
}
