// Elementwise kernels: float32 parts of a sum added and rounded to a dtype; bias and ReLU added to a convolution's
// output.
//
//   sum_parts  in (parts, count) float32 read                 out (count,) dtype written
//   add_bias   bias (C,) dtype read, or null                  y (N, C, HW) dtype read and written
//
// One thread per element, which adds its parts in order. Speed: memory, each element read and written once.
// Called by csrc/cuda/conv_im2col.cpp (wgrad, when its float32 sums end in a 16-bit dw; fwd with a bias or ReLU), and
// for the parts of wgrad by csrc/cuda/conv_gemm.cpp and implicit_wgrad.cu.
#include "common.cuh"

namespace {

template <class T>
__global__ void sum_parts_kernel(int64_t count, int parts, const float* __restrict__ in, T* __restrict__ out) {
    for (int64_t i = thread_index(); i < count; i += thread_count()) {
        Acc sum = in[i];
        for (int part = 1; part < parts; ++part) sum += in[part * count + i];
        out[i] = static_cast<T>(sum);
    }
}

template <class T>
__global__ void add_bias_kernel(int64_t count, int64_t C, int64_t HW, const T* __restrict__ bias, bool relu, T* y) {
    for (int64_t i = thread_index(); i < count; i += thread_count()) {
        const Acc value = static_cast<Acc>(y[i]) + (bias ? static_cast<Acc>(bias[i / HW % C]) : Acc(0));
        y[i] = static_cast<T>(relu && value < 0 ? Acc(0) : value);
    }
}

}  // namespace

void sum_parts(DType dtype, int64_t count, int parts, const float* in, void* out, cudaStream_t stream) {
    if (count == 0) return;
    with_dtype(dtype, [&](auto element) {
        using T = decltype(element);
        launch(sum_parts_kernel<T>, blocks_for(count), kThreads, 0, stream, count, parts, in, static_cast<T*>(out));
    });
    check(cudaGetLastError(), "sum_parts", "count " + std::to_string(count) + ", parts " + std::to_string(parts));
}

void add_bias(DType dtype, int64_t N, int64_t C, int64_t HW, const void* bias, bool relu, void* y,
              cudaStream_t stream) {
    const int64_t count = N * C * HW;
    if (count == 0) return;
    with_dtype(dtype, [&](auto element) {
        using T = decltype(element);
        launch(add_bias_kernel<T>, blocks_for(count), kThreads, 0, stream, count, C, HW, static_cast<const T*>(bias),
               relu, static_cast<T*>(y));
    });
    check(cudaGetLastError(), "add_bias",
          "N " + std::to_string(N) + ", C " + std::to_string(C) + ", HW " + std::to_string(HW));
}
