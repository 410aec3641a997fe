// GELU and its slope in one pass.
//
//   x   (count,)   read        y, slope   (count,)   written; slope may be null
//
// With Phi the distribution function of the standard normal law: y = x Phi(x), slope = Phi(x) + x Phi'(x); or, with
// kTanh, (1 + tanh(u / 2)) / 2 = 1 / (1 + exp(-u)), u = sqrt(8 / pi) (x + 0.044715 x^3), in the place of Phi(x).
// One thread per element. Speed: memory, one read and two writes per element.
// Called by gpucnn/ops/activation.py (bound in csrc/bind_cuda.cpp).
#include "common.cuh"

namespace {

constexpr float kSqrtHalfOverPi = 0.3989422804f, kSqrtEightOverPi = 1.5957691216f;

template <class T, bool kTanh>
__global__ void gelu_kernel(int64_t count, const T* __restrict__ x, T* __restrict__ y, T* __restrict__ slope) {
    for (int64_t i = thread_index(); i < count; i += thread_count()) {
        const float value = static_cast<float>(x[i]), square = fminf(value * value, 1e6f);  // finite: 0 times it is 0
        float share, density;
        if (kTanh) {
            const float u = kSqrtEightOverPi * value * (1 + 0.044715f * square), power = expf(-fabsf(u));
            share = (u < 0 ? power : 1.0f) / (1 + power);
            density = power / ((1 + power) * (1 + power)) * kSqrtEightOverPi * (1 + 3 * 0.044715f * square);
        } else {
            share = normcdff(value);
            density = kSqrtHalfOverPi * expf(-0.5f * square);
        }
        y[i] = static_cast<T>(value * share);
        if (slope) slope[i] = static_cast<T>(share + value * density);
    }
}

}  // namespace

void gelu(DType dtype, bool tanh, int64_t count, const void* x, void* y, void* slope, cudaStream_t stream) {
    if (count == 0) return;
    with_dtype(dtype, [&](auto element) {
        using T = decltype(element);
        launch(tanh ? gelu_kernel<T, true> : gelu_kernel<T, false>, blocks_for(count), kThreads, 0, stream, count,
               static_cast<const T*>(x), static_cast<T*>(y), static_cast<T*>(slope));
    });
    check(cudaGetLastError(), "gelu", "count " + std::to_string(count));
}
