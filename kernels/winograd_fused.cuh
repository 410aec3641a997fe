// The parts of winograd2_fused (winograd_fused.cu): the pixels, the sums and the outputs of a thread.
#pragma once
#include "ptx.cuh"
#include "winograd_transform.h"

namespace {

constexpr int kPlanes = 16, kFilters = 64, kTiles = 32, kStep = 8;  // channels of a step
constexpr int kFilterFloats = kPlanes * kStep * kFilters, kStageFloats = kFilterFloats + kPlanes * kStep * kTiles;
constexpr int kPart = kFilters / 4;  // filters whose sums meet in shared memory at a time
constexpr int kRow = kTiles + 8;     // of these sums, apart so that lanes that store together meet all banks
constexpr int kSharedBytes = 2 * kStageFloats * int(sizeof(float));
static_assert(kThreads == 32 * kStep && kThreads * 2 * 64 == kPlanes * kFilters * kTiles);
static_assert(kPlanes * kPart * kRow <= kStageFloats, "sums lie where a stage was");

// One direction of a convolution: sources are transformed, results computed.
struct Problem {
    int sources, results, groups;  // channels of a group
    int source_H, source_W, H, W;  // images of the sources and the results
    int pad_h, pad_w;              // tile (0, 0) starts so far above and left of the source
    int rows, columns;             // tiles of an image
    int steps, blocks_of_filters;  // of a group
    bool pairs = false;            // two pixels of a result may be stored at once
    int64_t tiles;

    HOST_DEVICE Problem(const ConvShape& s, bool gradient)
        : sources(gradient ? s.Kg() : s.Cg()),
          results(gradient ? s.Cg() : s.Kg()),
          groups(s.groups),
          source_H(gradient ? s.P : s.H),
          source_W(gradient ? s.Q : s.W),
          H(gradient ? s.H : s.P),
          W(gradient ? s.W : s.Q),
          pad_h(gradient ? 2 - s.pad_h : s.pad_h),
          pad_w(gradient ? 2 - s.pad_w : s.pad_w),
          rows(ceil_div(H, 2)),
          columns(ceil_div(W, 2)),
          steps(ceil_div(sources, kStep)),
          blocks_of_filters(ceil_div(results, kFilters)),
          tiles(int64_t(s.N) * rows * columns) {}
};

struct Place {
    int64_t n;
    int row, column;  // of the tile's first output

    __device__ Place(const Problem& p, int64_t tile) {
        const int of_image = p.rows * p.columns, in_image = int(tile % of_image);
        n = tile / of_image, row = in_image / p.columns * 2, column = in_image % p.columns * 2;
    }
};

// The pixels of a thread: those that its lane's tile sees, of its warp's channel of a step.
template <class T>
struct Pixels {
    const T* corner;  // of the channel that comes next; the pixel may be outside the image, and is then not read
    int channels;     // that are left, from this one on
    unsigned inside;  // bit 4 i + j: pixel (i, j) is in the image
    std::conditional_t<sizeof(T) == 2, uint32_t, float> held[16];

    __device__ void place(const Problem& p, const T* images, int group, int64_t tile) {
        channels = p.sources - int(threadIdx.x) / 32, inside = 0;
        const Place place(p, tile);
        const int top = place.row - p.pad_h, left = place.column - p.pad_w;
        const int64_t channel = (place.n * p.groups + group) * p.sources + threadIdx.x / 32;
        corner = images + (channel * p.source_H + top) * p.source_W + left;
        for (int i = 0; i < 4; ++i)
            for (int j = 0; j < 4; ++j)
                if (top + i >= 0 && top + i < p.source_H && left + j >= 0 && left + j < p.source_W)
                    inside |= 1u << (4 * i + j);
        if (tile >= p.tiles) inside = 0;
    }

    __device__ void load(const Problem& p) {
        const unsigned here = channels > 0 ? inside : 0;
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const T* const row = corner + int64_t(i) * p.source_W;
#pragma unroll
            for (int j = 0; j < 4; ++j) {
                const bool valid = here >> (4 * i + j) & 1;
                if constexpr (sizeof(T) == 2) {
                    held[4 * i + j] = valid ? *reinterpret_cast<const uint16_t*>(row + j) : 0u;
                    pin(held[4 * i + j]);
                } else {
                    held[4 * i + j] = valid ? row[j] : 0.f;
                }
            }
        }
        corner += int64_t(kStep) * p.source_H * p.source_W, channels -= kStep;
    }

    __device__ void transform(float* tiles) const {
        both_sides<Winograd<2, 3>::BT, false>(
            [&](int i, int j) {
                T pixel;
                std::memcpy(&pixel, &held[4 * i + j], sizeof(T));  // of a word, its low half
                return static_cast<float>(pixel);
            },
            [&](int i, int j, float value) { tiles[(4 * i + j) * kStep * kTiles + threadIdx.x] = value; });
    }
};

// An item of work: 64 filters of a group for 32 tiles. Neighbours share the tiles.
struct Item {
    int block, group;
    int64_t first_tile;

    __device__ Item(const Problem& p, int64_t number)
        : block(int(number % p.blocks_of_filters)),
          group(int(number / p.blocks_of_filters % p.groups)),
          first_tile(number / p.blocks_of_filters / p.groups * kTiles) {}
};

// Brings the steps of a block's items to shared memory, one after the other.
template <class T>
struct Stages {
    int64_t number = blockIdx.x;  // of the item of the next step
    int step = 0;
    const float* next;  // filters
    Pixels<T> pixels;

    // Whether there is a next step, which is then on its way until finish().
    __device__ bool start(const Problem& p, int64_t items, const T* images, const float* filters, float* stage) {
        if (number >= items) return false;
        if (step == 0) {
            const Item item(p, number);
            next = filters + (int64_t(item.group) * p.blocks_of_filters + item.block) * p.steps * kFilterFloats;
            pixels.place(p, images, item.group, item.first_tile + threadIdx.x % 32);
        }
#pragma unroll
        for (int i = 0; i < kFilterFloats; i += 4 * kThreads)
            cp_async<16>(stage + i + 4 * threadIdx.x, next + i + 4 * threadIdx.x, true);
        cp_async_commit();
        next += kFilterFloats;
        pixels.load(p);
        if (++step == p.steps) step = 0, number += gridDim.x;
        return true;
    }

    // The filters may still be on their way.
    __device__ void finish(float* stage) const { pixels.transform(stage + kFilterFloats); }
};

// The sums of a thread. Its filters and tiles are two runs of four each: 32 bytes of a row would meet the same banks.
// Lanes that differ in bit 0 read the same filters, in bits 1 to 3 the same tiles: where lanes n and n ^ 1, or n and n
// ^ 2, read the same 16 bytes, a load takes two passes through shared memory instead of four (NVIDIA, of
// capability 7.x).
struct Sums {
    float of[2][8][8];  // planes, filters, tiles

    __device__ static int first_plane() { return int(threadIdx.x) / 32 * 2; }
    __device__ static int filter() { return int(threadIdx.x) >> 1 & 7; }
    __device__ static int tile() { return int((threadIdx.x & 1) | (threadIdx.x >> 3 & 2)) * 4; }

    __device__ static void read(float (&values)[8], const float* row, int apart) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const float4 four = *reinterpret_cast<const float4*>(row + half * apart);
            values[4 * half] = four.x, values[4 * half + 1] = four.y;
            values[4 * half + 2] = four.z, values[4 * half + 3] = four.w;
        }
    }

    __device__ void multiply(const float* stage) {
        const float* const filters = stage + first_plane() * kStep * kFilters + 4 * filter();
        const float* const tiles = stage + kFilterFloats + first_plane() * kStep * kTiles + tile();
#pragma unroll
        for (int row = 0; row < 2 * kStep; ++row) {
            float a[8], b[8];
            read(a, filters + row * kFilters, kFilters / 2);
            read(b, tiles + row * kTiles, kTiles / 2);
#pragma unroll
            for (int i = 0; i < 8; ++i)
#pragma unroll
                for (int j = 0; j < 8; ++j) of[row / kStep][i][j] += a[i] * b[j];
        }
    }

    // Rows of tiles by plane and filter, of one part of the filters: see filter_of.
    __device__ void write(float* rows, int part) const {
#pragma unroll
        for (int plane = 0; plane < 2; ++plane)
#pragma unroll
            for (int i = 0; i < 2; ++i) {
                float* const row = rows + ((first_plane() + plane) * kPart + 8 * i + filter()) * kRow + tile();
                const float (&v)[8] = of[plane][2 * part + i];
                *reinterpret_cast<float4*>(row) = {v[0], v[1], v[2], v[3]};
                *reinterpret_cast<float4*>(row + kTiles / 2) = {v[4], v[5], v[6], v[7]};
            }
    }

    // The filter of a row of a part.
    __device__ static int filter_of(int part, int row) {
        const int i = 2 * part + (row >> 3);  // of the eight of a thread
        return (i >> 2) * (kFilters / 2) + (row & 7) * 4 + (i & 3);
    }
};

// The outputs of the tiles from `first` on, whose lanes write them.
template <class T>
struct Outputs {
    using Pair = std::conditional_t<sizeof(T) == 2, uint32_t, float2>;
    T* corner;          // in the first filter's plane
    int rows, columns;  // from the corner to the end of the image; no rows where there is no tile

    __device__ Outputs(const Problem& p, T* out, int64_t channel, int64_t first) {
        const int64_t tile = first + threadIdx.x % 32;
        const Place place(p, tile);
        corner = out + ((place.n * p.groups * p.results + channel) * p.H + place.row) * p.W + place.column;
        rows = tile < p.tiles ? p.H - place.row : 0, columns = p.W - place.column;
    }

    // `sums` as Sums::write leaves them, of one part of the filters; `results` of the filters exist.
    __device__ void write(const Problem& p, const float* sums, int part, int results, const T* bias, bool relu) const {
        const int warp = int(threadIdx.x) / 32, lane = int(threadIdx.x) % 32;
#pragma unroll 1
        for (int i = 0; i < kPart; i += kThreads / 32) {
            const int row = i + warp, filter = Sums::filter_of(part, row);
            if (filter >= results) continue;  // the whole warp
            const float offset = bias ? static_cast<float>(bias[filter]) : 0.f;
            T pixels[2][2];
            both_sides<Winograd<2, 3>::AT, true>(
                [&](int r, int t) { return sums[((4 * r + t) * kPart + row) * kRow + lane]; },
                [&](int r, int t, float value) {
                    value += offset;
                    pixels[r][t] = static_cast<T>(relu && value < 0 ? 0.f : value);
                });
            T* to = corner + int64_t(filter) * (p.H * p.W);
#pragma unroll
            for (int r = 0; r < 2; ++r, to += p.W) {
                if (r >= rows) continue;
                if (p.pairs) {
                    Pair pair;
                    std::memcpy(&pair, pixels[r], sizeof(Pair));
                    *reinterpret_cast<Pair*>(to) = pair;
                } else {
                    to[0] = pixels[r][0];
                    if (columns > 1) to[1] = pixels[r][1];
                }
            }
        }
    }
};

}  // namespace
