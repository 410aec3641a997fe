// im2col: the pixels that each filter tap reads, laid out as a matrix, so that a convolution becomes a GEMM.
//
//   x        (images, C, H, W)                    read
//   columns  row (c, r, s), position (p, q)       written; see ColumnBlock for its strides
//
// One thread per (image, channel, position) writes the R S rows of that channel at that position; neighbouring threads
// hold neighbouring positions, so writes coalesce, and so do reads when stride_w = 1.
// Speed: memory. R S elements written per thread, about one read (the taps of neighbours overlap in L1 and L2).
// Called by csrc/cuda/conv_im2col.cpp (fwd, wgrad; with a 1x1 filter also to reorder dy).
#include "common.cuh"

namespace {

template <class T>
__global__ void im2col_kernel(ConvShape s, ColumnBlock b, const T* __restrict__ x, T* __restrict__ columns) {
    const int64_t count = int64_t(b.images) * b.channels * b.positions;
    for (int64_t i = thread_index(); i < count; i += thread_count()) {
        const int64_t position = i % b.positions;
        const int64_t plane = i / b.positions;
        const int c = int(plane % b.channels);
        const int64_t n = plane / b.channels;
        const int64_t pq = b.first + position;
        const int64_t top = pq / s.Q * s.stride_h - s.pad_h, left = pq % s.Q * s.stride_w - s.pad_w;
        const T* image = x + (n * s.C + b.channel + c) * s.H * s.W;
        T* out = columns + n * b.image_stride + int64_t(c) * s.R * s.S * b.row_stride + position;
        for (int r = 0; r < s.R; ++r) {
            const int64_t h = top + int64_t(r) * s.dil_h;
            for (int t = 0; t < s.S; ++t, out += b.row_stride) {
                const int64_t w = left + int64_t(t) * s.dil_w;
                const bool inside = h >= 0 && h < s.H && w >= 0 && w < s.W;
                *out = inside ? image[h * s.W + w] : static_cast<T>(0.0f);
            }
        }
    }
}

}  // namespace

void im2col(const ConvShape& shape, DType dtype, const ColumnBlock& block, const void* x, void* columns,
            cudaStream_t stream) {
    const int64_t count = int64_t(block.images) * block.channels * block.positions;
    if (count == 0) return;
    with_dtype(dtype, [&](auto element) {
        using T = decltype(element);
        launch(im2col_kernel<T>, blocks_for(count), kThreads, 0, stream, shape, block, static_cast<const T*>(x),
               static_cast<T*>(columns));
    });
    check(cudaGetLastError(), "im2col", shape.text());
}
