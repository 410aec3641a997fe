// Row-major matrix products by cuBLAS, batched twice over: over images and over groups.
#pragma once
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

// The address `elements` further on.
inline const void* advance(const void* data, int64_t elements, DType dtype) {
    return static_cast<const char*>(data) + elements * size_of(dtype);
}
inline void* advance(void* data, int64_t elements, DType dtype) {
    return static_cast<char*>(data) + elements * size_of(dtype);
}
