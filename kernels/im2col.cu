// im2col: the pixels that each filter tap reads, laid out as a matrix, so that a convolution becomes a GEMM.
//
//   x        (images, C, H, W)                    read
//   columns  row (c, r, s), position (p, q)       written; see ColumnBlock for its strides
//
// One thread per (image, channel, 16 bytes of positions) writes the R S rows of that channel at those positions, 16
// bytes at a time; where rows do not begin at multiples of 16 bytes, one position. Neighbouring threads hold
// neighbouring positions, so writes coalesce, and so do reads when stride_w = 1, which come from L1 for all taps but
// the first. Behind the last position a row is filled up with zeros to a multiple of 16 bytes, where it is that long.
// Speed: memory. R S elements written for about one read; a thread finds its place once for 4 or 8 positions.
// Called by csrc/cuda/conv_im2col.cpp (fwd, wgrad; with a 1x1 filter also to reorder dy).
#include "common.cuh"

namespace {

template <class T, int kWide>
__global__ void im2col_kernel(ConvShape s, ColumnBlock b, const T* __restrict__ x, T* __restrict__ columns) {
    const int64_t of_plane = ceil_div(b.positions, int64_t(kWide)), count = of_plane * b.images * b.channels;
    for (int64_t i = thread_index(); i < count; i += thread_count()) {
        const int64_t position = i % of_plane * kWide;
        const int64_t plane = i / of_plane;
        const int c = int(plane % b.channels);
        const int64_t n = plane / b.channels;
        const T* image = x + (n * s.C + b.channel + c) * s.H * s.W;
        T* out = columns + n * b.image_stride + int64_t(c) * s.R * s.S * b.row_stride + position;

        // Of the first tap at each position, modulo 2^32: sizes are at most 2^30, so one comparison tests both borders.
        unsigned top[kWide], left[kWide];
        unsigned p = unsigned((b.first + position) / s.Q), q = unsigned((b.first + position) % s.Q);
#pragma unroll
        for (int j = 0; j < kWide; ++j) {
            const bool exists = position + j < b.positions;
            top[j] = exists ? p * s.stride_h - s.pad_h : s.H;  // else below the image, whatever the tap
            left[j] = q * s.stride_w - s.pad_w;
            if (++q == unsigned(s.Q)) q = 0, ++p;
        }
        for (int r = 0; r < s.R; ++r)
            for (int t = 0; t < s.S; ++t, out += b.row_stride) {
                alignas(kWide * sizeof(T)) T values[kWide];
#pragma unroll
                for (int j = 0; j < kWide; ++j) {
                    const unsigned h = top[j] + r * s.dil_h, w = left[j] + t * s.dil_w;
                    const bool inside = h < unsigned(s.H) && w < unsigned(s.W);
                    values[j] = inside ? image[int64_t(h) * s.W + w] : static_cast<T>(0.0f);
                }
                if constexpr (kWide == 1)
                    *out = values[0];
                else
                    *reinterpret_cast<uint4*>(out) = *reinterpret_cast<const uint4*>(values);
            }
    }
}

}  // namespace

void im2col(const ConvShape& shape, DType dtype, const ColumnBlock& block, const void* x, void* columns,
            cudaStream_t stream) {
    const int64_t planes = int64_t(block.images) * block.channels;
    if (planes * block.positions == 0) return;
    with_dtype(dtype, [&](auto element) {
        using T = decltype(element);
        constexpr int wide = 16 / sizeof(T);
        const int64_t written = ceil_div(block.positions, int64_t(wide)) * wide;
        const bool fits = reinterpret_cast<uintptr_t>(columns) % 16 == 0 && block.row_stride % wide == 0 &&
                          (block.images == 1 || (block.image_stride % wide == 0 && block.image_stride >= written)) &&
                          block.row_stride >= written;
        const auto kernel = fits ? im2col_kernel<T, wide> : im2col_kernel<T, 1>;
        launch(kernel, blocks_for(planes * (fits ? written / wide : block.positions)), kThreads, 0, stream, shape,
               block, static_cast<const T*>(x), static_cast<T*>(columns));
    });
    check(cudaGetLastError(), "im2col", shape.text());
}
