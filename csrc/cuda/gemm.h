// Row-major matrix products by cuBLAS, batched twice over: over images and over groups.
#pragma once
#include <cublas_v2.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <string>

#include "dtype.h"

// A matrix of a batch: its rows are `row_stride` elements apart, and `transposed` says that it is stored so.
struct Operand {
    const void* data;
    int64_t row_stride;
    bool transposed;
    int64_t image_stride, group_stride;  // elements to the matrix of the next image, the next group; 0: the same
};

struct Gemm {
    DType dtype;      // of a and b; tf32 allows TF32 units
    DType out_dtype;  // dtype, or float32
    int64_t M, N, K;
    Operand a, b, out;        // (M, K), (K, N), (M, N); out is not transposed, and its data is written
    int64_t images, groups;   // of the batch
    bool accumulate = false;  // out += instead of out =
};

// The products of all images and groups, each with float32 sums. `op` and `shape` go into the message of an error.
void multiply(const Gemm& gemm, cudaStream_t stream, const char* op, const std::string& shape);

// out = a b + bias (N,), then ReLU where relu; bias may be null. Of one image and one group only. False, and nothing
// was done, where cuBLASLt has no kernel for this, or bias is not aligned to 16 bytes.
bool multiply_with_ends(const Gemm& gemm, const void* bias, bool relu, cudaStream_t stream, const char* op,
                        const std::string& shape);

// What cuBLAS calls the dtype, and the arithmetic on it.
cudaDataType type_of(DType dtype);
cublasComputeType_t compute_of(DType dtype);

// The address `elements` further on.
inline const void* advance(const void* data, int64_t elements, DType dtype) {
    return static_cast<const char*>(data) + elements * size_of(dtype);
}
inline void* advance(void* data, int64_t elements, DType dtype) {
    return static_cast<char*>(data) + elements * size_of(dtype);
}
