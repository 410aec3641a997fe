// The change of layout from NCHW to NHWC, for elements of 2 bytes: nhwc (N, HW, padded) <- nchw (N, C, HW).
//
// A block moves tiles (64 channels, 64 pixels) through shared memory: a warp reads 32 neighbouring pixels of a channel,
// 64 bytes, and writes 16 bytes each of up to 64 neighbouring channels of 4 pixels. A row of the tile is 33 words, so
// that both ways touch each bank once. Bound by memory: reads and writes each element once. Called by
// csrc/cuda/conv_implicit_hopper.cpp.
#include "common.cuh"

namespace {

constexpr int kSide = 64, kRow = kSide + 2, kWide = 8;  // kWide: elements of a 16-byte store

__global__ void __launch_bounds__(kThreads)
    nchw_to_nhwc_kernel(int64_t tiles, int channel_tiles, int64_t pixel_tiles, int C, int64_t HW, int padded,
                        const uint16_t* __restrict__ nchw, uint16_t* __restrict__ nhwc) {
    __shared__ __align__(16) char memory[kSide * kRow * 2];  // (pixels, channels)
    auto* const tile = reinterpret_cast<uint16_t*>(memory);
    for (int64_t index = blockIdx.x; index < tiles; index += gridDim.x) {
        const int first_channel = int(index % channel_tiles) * kSide;
        const int64_t first_pixel = index / channel_tiles % pixel_tiles * kSide;
        const int64_t n = index / channel_tiles / pixel_tiles;
        const int column = int(threadIdx.x) % kSide;
        const uint16_t* const from = nchw + (n * C + first_channel) * HW + first_pixel + column;
#pragma unroll
        for (int channel = int(threadIdx.x) / kSide; channel < kSide; channel += kThreads / kSide) {
            const bool exists = first_channel + channel < C && first_pixel + column < HW;
            tile[column * kRow + channel] = exists ? from[channel * HW] : uint16_t(0);
        }
        __syncthreads();
        const int chunk = int(threadIdx.x) % (kSide / kWide) * kWide;
        uint16_t* const to = nhwc + (n * HW + first_pixel) * padded + first_channel + chunk;
#pragma unroll
        for (int pixel = int(threadIdx.x) / (kSide / kWide); pixel < kSide; pixel += kThreads / (kSide / kWide)) {
            if (first_pixel + pixel >= HW || first_channel + chunk >= padded) continue;
            const auto* const words = reinterpret_cast<const unsigned*>(memory + (pixel * kRow + chunk) * 2);
            *reinterpret_cast<uint4*>(to + int64_t(pixel) * padded) = uint4{words[0], words[1], words[2], words[3]};
        }
        __syncthreads();  // the next tile overwrites this one
    }
}

}  // namespace

void nchw_to_nhwc(int64_t N, int C, int64_t HW, int padded, const void* nchw, void* nhwc, cudaStream_t stream) {
    const int channel_tiles = ceil_div(padded, kSide);
    const int64_t pixel_tiles = ceil_div(HW, int64_t(kSide)), tiles = N * pixel_tiles * channel_tiles;
    if (tiles == 0) return;
    launch(nchw_to_nhwc_kernel, blocks_for(tiles, 1), kThreads, 0, stream, tiles, channel_tiles, pixel_tiles, C, HW,
           padded, static_cast<const uint16_t*>(nchw), static_cast<uint16_t*>(nhwc));
    check(cudaGetLastError(), "nchw_to_nhwc",
          "(" + std::to_string(N) + ", " + std::to_string(C) + ", " + std::to_string(HW) + ")");
}
