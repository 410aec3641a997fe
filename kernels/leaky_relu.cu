// Leaky ReLU and its gradient; ReLU where the slope is 0.
//
//   x, dy      (count,)          read         y, dx   (count,)   written
//   positive   (count,) bytes    written by fwd (may be null), read by bwd: whether x > 0
//
// y = x where x > 0, else slope x; a NaN stays one. A slope of 0 is no factor: infinity times 0 would be a NaN.
// One thread per element. Speed: memory, one read and one write per element, and a byte.
// Called by gpucnn/ops/activation.py (bound in csrc/bind_cuda.cpp).
#include "common.cuh"

namespace {

template <class T>
__global__ void leaky_relu_fwd_kernel(int64_t count, float slope, const T* __restrict__ x, T* __restrict__ y,
                                      uint8_t* __restrict__ positive) {
    for (int64_t i = thread_index(); i < count; i += thread_count()) {
        const float value = static_cast<float>(x[i]);
        const bool above = value > 0, zero = slope == 0 && value < 0;
        y[i] = static_cast<T>(above ? value : zero ? 0.0f : value * slope);
        if (positive) positive[i] = above;
    }
}

template <class T>
__global__ void leaky_relu_bwd_kernel(int64_t count, float slope, const T* __restrict__ dy,
                                      const uint8_t* __restrict__ positive, T* __restrict__ dx) {
    for (int64_t i = thread_index(); i < count; i += thread_count()) {
        const float value = static_cast<float>(dy[i]);
        dx[i] = static_cast<T>(positive[i] ? value : slope == 0 ? 0.0f : value * slope);
    }
}

}  // namespace

void leaky_relu_fwd(DType dtype, double slope, int64_t count, const void* x, void* y, uint8_t* positive,
                    cudaStream_t stream) {
    if (count == 0) return;
    with_dtype(dtype, [&](auto element) {
        using T = decltype(element);
        launch(leaky_relu_fwd_kernel<T>, blocks_for(count), kThreads, 0, stream, count, float(slope),
               static_cast<const T*>(x), static_cast<T*>(y), positive);
    });
    check(cudaGetLastError(), "leaky_relu_fwd", "count " + std::to_string(count));
}

void leaky_relu_bwd(DType dtype, double slope, int64_t count, const void* dy, const uint8_t* positive, void* dx,
                    cudaStream_t stream) {
    if (count == 0) return;
    with_dtype(dtype, [&](auto element) {
        using T = decltype(element);
        launch(leaky_relu_bwd_kernel<T>, blocks_for(count), kThreads, 0, stream, count, float(slope),
               static_cast<const T*>(dy), positive, static_cast<T*>(dx));
    });
    check(cudaGetLastError(), "leaky_relu_bwd", "count " + std::to_string(count));
}
