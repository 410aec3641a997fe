// Elementwise kernels: a float32 array rounded to another dtype.
//
//   in   (count,) float32    read        out   (count,) dtype    written
//
// One thread per element. Speed: memory, one read and one write per element.
// Called by csrc/cuda/conv_im2col.cpp (wgrad, when its float32 sums end in a 16-bit dw).
#include "common.cuh"

namespace {

template <class T>
__global__ void cast_kernel(int64_t count, const float* __restrict__ in, T* __restrict__ out) {
    for (int64_t i = thread_index(); i < count; i += thread_count()) out[i] = static_cast<T>(in[i]);
}

}  // namespace

void cast_from_float32(DType dtype, int64_t count, const float* in, void* out, cudaStream_t stream) {
    if (count == 0) return;
    with_dtype(dtype, [&](auto element) {
        using T = decltype(element);
        launch(cast_kernel<T>, blocks_for(count), kThreads, 0, stream, count, in, static_cast<T*>(out));
    });
    check(cudaGetLastError(), "cast_from_float32", "count " + std::to_string(count));
}
