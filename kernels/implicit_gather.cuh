// How implicit GEMM finds its operand in an image: a thread has some positions and reads chunks of channels there.
//
// The terms or columns that belong to channels and taps are ordered (tap, channel) with the channels of a group padded
// to whole chunks, so that a chunk lies in one tap: one test of the borders serves its 4 or 8 elements. In
// channels_last images (kLast) they are neighbours in memory: the 16 bytes are copied at once where every chunk of the
// image is whole and aligned.
#pragma once
#include "implicit_gemm.cuh"

// An image (N, image_channels, H, W), or (N, H, W, image_channels) with kLast. Position (p, q) reads, through tap (r,
// s), the pixel (p scale + r step + shift); a negative number is kept modulo 2^32, so that one comparison tests both
// borders. The elements of a group's channels in one image are numbered in 32 bits: two instructions an address instead
// of five.
struct Image {
    int64_t image;   // elements from image to image
    unsigned apart;  // and from channel to channel; with kLast, from pixel to pixel
    int channels;    // of a group
    unsigned H, W;
    unsigned scale_h = 1, scale_w = 1, step_h = 1, step_w = 1, shift_h = 0, shift_w = 0;
    bool whole = false;  // with kLast: chunks are copied at once
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

// A position in an image.
template <class T, bool kLast>
struct Pixel {
    const T* group;  // the first channel of the group, of this image
    unsigned h, w;   // of tap (0, 0)
    int channels;    // 0 where there is no such position: all is zero

    __device__ void place(const Image& image, const T* data, int group_index, int64_t n, unsigned p, unsigned q,
                          bool exists) {
        group = data + n * image.image + group_index * image.channels * (kLast ? 1 : int64_t(image.apart));
        pin(group);  // then an address is this and 32 bits: two instructions instead of five
        h = p * image.scale_h + image.shift_h;
        w = q * image.scale_w + image.shift_w;
        channels = exists ? image.channels : 0;
    }

    // Where a chunk starts, in elements from `group`, and how many of its elements exist: 0 or fewer where none.
    struct Found {
        unsigned first;
        int left;
    };
    __device__ Found find(const Image& image, const ChunkOfTaps& chunk, bool wanted) const {
        const unsigned y = h + chunk.r * image.step_h, x = w + chunk.s * image.step_w, pixel = y * image.W + x;
        return {kLast ? pixel * image.apart + chunk.channel : chunk.channel * image.apart + pixel,
                wanted && y < image.H && x < image.W ? channels - chunk.channel : 0};
    }
    __device__ const T* element(const Image& image, unsigned first, int i) const {
        if constexpr (kLast) return group + first + i;  // a constant in the instruction
        return group + (first + i * image.apart);
    }
};

// Brings chunks of positions to a tile: by cp.async of 16 or 4 bytes; single 16-bit elements, for which that is too
// coarse, through registers, from start to finish. A position is a row of the tile or, with kByTerm, a term of its sum.
// Neighbouring threads bring neighbouring positions or, with kLast, 4 neighbouring chunks of each: 64 bytes. By term,
// an odd position's threads then bring the 4 chunks next to an even one's: the same chunks of both lie in the same
// banks.
template <class T, class Tile, bool kByTerm, bool kLast>
struct ChunksOfPixels {
    static constexpr int kPositions = kByTerm ? kDepth<T> : Tile::kN;
    static constexpr int kAcross = kLast ? 4 : 1;  // neighbouring threads at one position
    static constexpr int kRows = Tile::kThreads / kAcross < kPositions ? Tile::kThreads / kAcross : kPositions;
    static constexpr int kApart = Tile::kThreads / kRows;                       // threads at one position
    static constexpr int kChunks = Tile::kN * kRowBytes / 16 / Tile::kThreads;  // of a thread
    static constexpr int kPixels = kPositions / kRows;                          // positions of a thread
    static constexpr int kAtPixel = kChunks / kPixels;                          // its chunks at each
    static_assert(kApart * kRows == Tile::kThreads && kRows * kPixels == kPositions && kAtPixel * kPixels == kChunks &&
                  kChunks * 16 * Tile::kThreads == Tile::kN * kRowBytes);
    static_assert(!kByTerm || (Tile::kM == Tile::kN && kPixels == 1));  // then both operands are read in this way

    uint32_t held[kChunks][8];  // of 16-bit types

    __device__ static int position(int pixel) { return int(threadIdx.x) / kAcross % kRows + pixel * kRows; }
    __device__ static int chunk(int i) {  // i < kAtPixel
        const int number = int(threadIdx.x) % kAcross + int(threadIdx.x) / (kAcross * kRows) * kAcross + kApart * i;
        return kLast && kByTerm ? number ^ (position(0) % 2 * 4) : number;
    }

    // Chunk i < kChunks: one of pixel i % kPixels, at `taps`, which is number i / kPixels there.
    __device__ void start(int i, const Pixel<T, kLast>& pixel, const Image& image, const ChunkOfTaps& taps, bool wanted,
                          char* tile) {
        const auto [first, left] = pixel.find(image, taps, wanted);
        if constexpr (kLast && !(kByTerm && sizeof(T) == 4))
            if (image.whole) return cp_async<16>(tile + at(i), pixel.element(image, first, 0), left > 0);
#pragma unroll
        for (int j = 0; j < kChunk<T>; ++j) {
            const T* const address = pixel.element(image, first, j);
            if constexpr (sizeof(T) == 2) {
                held[i][j] = load_2_bytes(address, j < left);
            } else {
                const int there = position(i % kPixels), along = chunk(i / kPixels) * 4 + j;
                const int row = kByTerm ? along : there, column = kByTerm ? there : along;
                cp_async<4>(tile + at_operand(row, column / 4) + column % 4 * 4, address, j < left);
            }
        }
    }

    __device__ void finish(int i, const Image& image, char* tile) const {
        if constexpr (sizeof(T) == 2)
            if (!kLast || !image.whole)
                *reinterpret_cast<uint4*>(tile + at(i)) = {held[i][0] | held[i][1] << 16, held[i][2] | held[i][3] << 16,
                                                           held[i][4] | held[i][5] << 16,
                                                           held[i][6] | held[i][7] << 16};
    }

  private:
    __device__ static int at(int i) {
        const int there = position(i % kPixels), along = chunk(i / kPixels);
        return kByTerm ? at_term<Tile::kN>(there, along) : at_operand(there, along);
    }
};

// `data` is what kernels will read.
inline Image image_of(const ConvShape& s, DType dtype, int channels, int H, int W, const void* data) {
    const int64_t plane = int64_t(H) * W, apart = s.channels_last ? channels : plane;
    Image image{channels * plane, unsigned(apart), channels / s.groups, unsigned(H), unsigned(W)};
    image.whole = image.channels * size_of(dtype) % 16 == 0 && reinterpret_cast<uintptr_t>(data) % 16 == 0;
    return image;
}

inline Image image_of_y(const ConvShape& s, DType dtype, const void* dy) {
    return image_of(s, dtype, s.K, s.P, s.Q, dy);
}

// x as the forward convolution reads it.
inline Image image_of_x(const ConvShape& s, DType dtype, const void* x) {
    Image image = image_of(s, dtype, s.C, s.H, s.W, x);
    image.scale_h = s.stride_h, image.scale_w = s.stride_w;
    image.step_h = s.dil_h, image.step_w = s.dil_w;
    image.shift_h = -unsigned(s.pad_h), image.shift_w = -unsigned(s.pad_w);
    return image;
}
