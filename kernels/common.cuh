// What every kernel file shares: the element types, index arithmetic, the one way to launch, and the check after it.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>

#include "kernels.h"

using Acc = float;  // every sum, whatever the storage

constexpr float kNoMaximum = -std::numeric_limits<float>::infinity();  // where a search for a maximum starts
constexpr int kThreads = 256;  // of a block, where a kernel has no reason for another number

#ifdef __CUDACC__
constexpr int64_t kMaxBlocks = std::numeric_limits<int>::max();  // the limit of grid.x
#else
constexpr int64_t kMaxBlocks = 7;  // on the host, so that small tests run the grid-stride loops more than once
#endif

template <class T>
HOST_DEVICE constexpr T ceil_div(T a, T b) {
    return (a + b - 1) / b;
}

// Calls f with a value of the C++ type that stores `dtype`: the one list of dtypes on the device.
template <class F>
void with_dtype(DType dtype, F&& f) {
    switch (dtype) {
        case DType::float32:
        case DType::tf32:
            return f(float());
        case DType::float16:
            return f(__half());
        case DType::bfloat16:
            return f(__nv_bfloat16());
        case DType::float64:
            break;
    }
    throw std::invalid_argument("dtype: a GPU takes float32, tf32, float16 or bfloat16, but came float64");
}

// A grid-stride loop runs from thread_index() in steps of thread_count(), over blocks_for(count) blocks.
__device__ inline int64_t thread_index() { return int64_t(blockIdx.x) * blockDim.x + threadIdx.x; }
__device__ inline int64_t thread_count() { return int64_t(gridDim.x) * blockDim.x; }
inline dim3 blocks_for(int64_t count, int64_t per_block = kThreads) {
    return dim3(unsigned(std::min(ceil_div(count, per_block), kMaxBlocks)));
}

// The one way to launch a kernel, so that the same source also runs on the host (tests/simt).
template <class... Params, class... Args>
void launch(void (*kernel)(Params...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream, Args... args) {
#ifdef __CUDACC__
    kernel<<<grid, block, shared_bytes, stream>>>(Params(args)...);
#else
    (void)stream;
    simt::launch(reinterpret_cast<const void*>(kernel), grid, block, shared_bytes, [&] { kernel(Params(args)...); });
#endif
}

// After every launch: a refused launch is an exception that names the operation and its shape.
inline void check(cudaError_t status, const char* op, const std::string& shape) {
    if (status == cudaSuccess) return;
    throw std::runtime_error(std::string(op) + ": CUDA should launch the kernel, but says " +
                             cudaGetErrorString(status) + " (" + shape + ")");
}
