// col2im: the adjoint of im2col. Each pixel of dx gathers what its taps left in the columns.
//
//   columns  row (c, r, s), position (p, q), float32    read; see ColumnBlock for its strides
//   dx       (images, C, H, W)                          rows row .. row + rows of the block's channels written
//
// One thread per (image, channel, h, w). Gathering, not scattering: no atomics, one order of summation, one rounding,
// so two runs give the same bits. Output (p, q) reads pixel (h, w) by tap (r, s) when p stride_h = h + pad_h - r dil_h
// and q stride_w = w + pad_w - s dil_w.
// Speed: memory. Every column element is read once; neighbouring threads read neighbouring columns if stride_w = 1.
// Called by csrc/cuda/conv_im2col.cpp (dgrad).
#include "common.cuh"

namespace {

template <class T>
__global__ void col2im_kernel(ConvShape s, ColumnBlock b, int row, int rows, const float* __restrict__ columns,
                              T* __restrict__ dx) {
    const int64_t p_begin = b.first / s.Q, p_end = (b.first + b.positions) / s.Q;  // the block holds whole output rows
    const int64_t count = int64_t(b.images) * b.channels * rows * s.W;
    for (int64_t i = thread_index(); i < count; i += thread_count()) {
        const int w = int(i % s.W);
        const int64_t line = i / s.W;
        const int h = row + int(line % rows);
        const int64_t plane = line / rows;
        const int c = int(plane % b.channels);
        const int64_t n = plane / b.channels;
        const float* in = columns + n * b.image_stride + int64_t(c) * s.R * s.S * b.row_stride;
        Acc sum = 0;
        for (int r = 0; r < s.R; ++r) {
            const int64_t p_stride = int64_t(h) + s.pad_h - int64_t(r) * s.dil_h;  // p times stride_h
            const int64_t p = p_stride / s.stride_h;
            if (p_stride < 0 || p_stride % s.stride_h || p < p_begin || p >= p_end) continue;
            for (int t = 0; t < s.S; ++t) {
                const int64_t q_stride = int64_t(w) + s.pad_w - int64_t(t) * s.dil_w;
                const int64_t q = q_stride / s.stride_w;
                if (q_stride < 0 || q_stride % s.stride_w || q >= s.Q) continue;
                sum += in[(int64_t(r) * s.S + t) * b.row_stride + (p - p_begin) * s.Q + q];
            }
        }
        dx[((n * s.C + b.channel + c) * s.H + h) * s.W + w] = static_cast<T>(sum);
    }
}

}  // namespace

void col2im(const ConvShape& shape, DType dtype, const ColumnBlock& block, int row, int rows, const float* columns,
            void* dx, cudaStream_t stream) {
    const int64_t count = int64_t(block.images) * block.channels * rows * shape.W;
    if (count == 0) return;
    with_dtype(dtype, [&](auto element) {
        using T = decltype(element);
        launch(col2im_kernel<T>, blocks_for(count), kThreads, 0, stream, shape, block, row, rows, columns,
               static_cast<T*>(dx));
    });
    check(cudaGetLastError(), "col2im", shape.text());
}
