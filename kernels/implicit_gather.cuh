// How implicit GEMM finds its operand in an image: a thread has one position and reads chunks of channels there.
//
// The terms or columns that belong to channels and taps are ordered (tap, channel) with the channels of a group padded
// to whole chunks, so that a chunk lies in one tap: one test of the borders serves its 4 or 8 elements.
#pragma once
#include "implicit_gemm.cuh"

// An image (N, image_channels, H, W). Position (p, q) reads, through tap (r, s), the pixel
// (p scale + r step + shift); a negative number is kept modulo 2^32, so that one comparison tests both borders.
// The elements of a group's channels in one image are numbered in 32 bits: two instructions an address instead of five.
struct Image {
    int64_t image;   // elements from image to image
    unsigned plane;  // and from channel to channel
    int channels;    // of a group
    unsigned H, W;
    unsigned scale_h, scale_w, step_h, step_w, shift_h, shift_w;
};

// A chunk: its tap and its first channel.
struct ChunkOfTaps {
    int r, s, channel;

    // The chunk `channels` further on, for `padded` channels a tap and `taps_w` taps a row.
    __device__ void advance(int channels, int padded, int taps_w) {
        channel += channels;
        while (channel >= padded) {
            channel -= padded;
            if (++s == taps_w) {
                s = 0;
                ++r;
            }
        }
    }
};

template <class T>
HOST_DEVICE constexpr int padded_channels(int channels) {
    return ceil_div(channels, kChunk<T>) * kChunk<T>;
}

// One thread's position in an image.
template <class T>
struct Pixel {
    const T* group;  // the first channel of the group, of this image
    unsigned h, w;   // of tap (0, 0)
    int channels;    // 0 where there is no such position: all is zero

    __device__ void place(const Image& image, const T* data, int group_index, int64_t n, unsigned p, unsigned q,
                          bool exists) {
        group = data + n * image.image + group_index * image.channels * int64_t(image.plane);
        pin(group);  // then an address is this and 32 bits: two instructions instead of five
        h = p * image.scale_h + image.shift_h;
        w = q * image.scale_w + image.shift_w;
        channels = exists ? image.channels : 0;
    }

    // element(i, address, valid) for each element of a chunk
    template <class F>
    __device__ void read(const Image& image, const ChunkOfTaps& chunk, bool wanted, F element) const {
        const unsigned y = h + chunk.r * image.step_h, x = w + chunk.s * image.step_w;
        const int left = wanted && y < image.H && x < image.W ? channels - chunk.channel : 0;
        const unsigned first = chunk.channel * image.plane + y * image.W + x;
#pragma unroll
        for (int i = 0; i < kChunk<T>; ++i) element(i, group + (first + i * image.plane), i < left);
    }
};

// Brings chunks of positions to a tile: 4-byte elements by cp.async; 16-bit ones, for which that is too coarse, through
// registers, from start to finish. A position is a row of the tile or, with kByTerm, a term of its sum.
template <class T, class Tile, bool kByTerm>
struct ChunksOfPixels {
    static constexpr int kPositions = kByTerm ? kDepth<T> : Tile::kN;
    static constexpr int kApart = Tile::kThreads / kPositions;                  // threads at one position
    static constexpr int kChunks = Tile::kN * kRowBytes / 16 / Tile::kThreads;  // of a thread
    static_assert(Tile::kThreads % kPositions == 0 && kChunks * 16 * Tile::kThreads == Tile::kN * kRowBytes);
    static_assert(!kByTerm || Tile::kM == Tile::kN);  // then both operands are read in this way

    uint32_t held[kChunks][8];  // of 16-bit types

    __device__ static int position() { return int(threadIdx.x) % kPositions; }
    __device__ static int chunk(int i) { return int(threadIdx.x) / kPositions + kApart * i; }

    __device__ void start(int i, const Pixel<T>& pixel, const Image& image, const ChunkOfTaps& taps, bool wanted,
                          char* tile) {
        if constexpr (sizeof(T) == 2)
            pixel.read(image, taps, wanted,
                       [&](int j, const T* address, bool valid) { held[i][j] = load_2_bytes(address, valid); });
        else
            pixel.read(image, taps, wanted, [&](int j, const T* address, bool valid) {
                const int row = kByTerm ? chunk(i) * 4 + j : position(),
                          column = kByTerm ? position() : chunk(i) * 4 + j;
                cp_async<4>(tile + at_operand(row, column / 4) + column % 4 * 4, address, valid);
            });
    }

    __device__ void finish(int i, char* tile) const {
        if constexpr (sizeof(T) == 2) {
            const uint4 words{held[i][0] | held[i][1] << 16, held[i][2] | held[i][3] << 16,
                              held[i][4] | held[i][5] << 16, held[i][6] | held[i][7] << 16};
            const int at = kByTerm ? at_term<Tile::kN>(position(), chunk(i)) : at_operand(position(), chunk(i));
            *reinterpret_cast<uint4*>(tile + at) = words;
        }
    }
};

inline Image image_of(int channels, int groups, int H, int W) {
    const int64_t plane = int64_t(H) * W;
    return {channels * plane, unsigned(plane), channels / groups, unsigned(H), unsigned(W), 1, 1, 1, 1, 0, 0};
}

// x as the forward convolution reads it.
inline Image image_of_x(const ConvShape& s) {
    Image image = image_of(s.C, s.groups, s.H, s.W);
    image.scale_h = s.stride_h, image.scale_w = s.stride_w;
    image.step_h = s.dil_h, image.step_w = s.dil_w;
    image.shift_h = -unsigned(s.pad_h), image.shift_w = -unsigned(s.pad_w);
    return image;
}
