// More channels for images in NHWC order, of elements of 2 bytes: padded (pixels, to) <- nhwc (pixels, from), to >
// from, to a multiple of 8; zeros from channel `from` on. The tensor memory accelerator loads runs of 16 bytes.
//
// One thread writes 8 channels of a pixel at once; neighbouring threads read neighbouring channels, one after another,
// of lines that stay in L1. Bound by memory: reads and writes each element once. Called by
// csrc/cuda/conv_implicit_hopper.cpp.
#include "common.cuh"

namespace {

constexpr int kWide = 8;  // elements of a 16-byte store

__global__ void __launch_bounds__(kThreads)
    pad_channels_kernel(int64_t count, int from, int chunks, const uint16_t* __restrict__ nhwc,
                        uint16_t* __restrict__ padded) {
    for (int64_t i = thread_index(); i < count; i += thread_count()) {
        const int64_t pixel = i / chunks;
        const int first = int(i % chunks) * kWide;
        const uint16_t* const pixels = nhwc + pixel * from + first;
        unsigned words[kWide / 2];
#pragma unroll
        for (int word = 0; word < kWide / 2; ++word) {
            const unsigned low = first + 2 * word < from ? pixels[2 * word] : 0;
            const unsigned high = first + 2 * word + 1 < from ? pixels[2 * word + 1] : 0;
            words[word] = low | high << 16;
        }
        *reinterpret_cast<uint4*>(padded + i * kWide) = uint4{words[0], words[1], words[2], words[3]};
    }
}

}  // namespace

void pad_channels(int64_t pixels, int from, int to, const void* nhwc, void* padded, cudaStream_t stream) {
    const int chunks = to / kWide;
    const int64_t count = pixels * chunks;
    if (count == 0) return;
    launch(pad_channels_kernel, blocks_for(count), kThreads, 0, stream, count, from, chunks,
           static_cast<const uint16_t*>(nhwc), static_cast<uint16_t*>(padded));
    check(cudaGetLastError(), "pad_channels",
          std::to_string(pixels) + " pixels, " + std::to_string(from) + " channels to " + std::to_string(to));
}
