// ELU and its slope in one pass.
//
//   x   (count,)   read        y, slope   (count,)   written; slope may be null
//
// y = x where x > 0, else alpha (e**x - 1); slope = 1 where x > 0, else alpha e**x.
// One thread per element. Speed: memory, one read and two writes per element.
// Called by gpucnn/ops/activation.py (bound in csrc/bind_cuda.cpp).
#include "common.cuh"

namespace {

template <class T>
__global__ void elu_kernel(int64_t count, float alpha, const T* __restrict__ x, T* __restrict__ y,
                           T* __restrict__ slope) {
    for (int64_t i = thread_index(); i < count; i += thread_count()) {
        const float value = static_cast<float>(x[i]);
        y[i] = static_cast<T>(value > 0 ? value : alpha * expm1f(value));
        if (slope) slope[i] = static_cast<T>(value > 0 ? 1.0f : alpha * expf(value));
    }
}

}  // namespace

void elu(DType dtype, double alpha, int64_t count, const void* x, void* y, void* slope, cudaStream_t stream) {
    if (count == 0) return;
    with_dtype(dtype, [&](auto element) {
        using T = decltype(element);
        launch(elu_kernel<T>, blocks_for(count), kThreads, 0, stream, count, float(alpha), static_cast<const T*>(x),
               static_cast<T*>(y), static_cast<T*>(slope));
    });
    check(cudaGetLastError(), "elu", "count " + std::to_string(count));
}
