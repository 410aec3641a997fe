// winograd: the transforms of Winograd's algorithm for 3x3 filters, F(m x m, 3x3), m = 2 or 4 (Lavin & Gray 2016). An
// image is cut into tiles of m x m outputs, each seen from n x n pixels, n = m + 2; a transform makes n^2 planes, in
// which the convolution is a product over channels (csrc/cuda/conv_winograd.cpp).
//
//   filters   (n^2, groups, Kg, Cg padded)       G w G^T; for dgrad (n^2, groups, Cg, Kg padded) of the filters turned
//                                                by half a turn
//   planes    (slices, n^2, channels, stride)    B^T x B of the tiles of a TileBlock, or, for wgrad, G dy G^T
//   products  (n^2, channels, stride)            read; A^T of them A, plus bias, then ReLU, are the outputs
//   sums      (slices, n^2, K, Cg)               read; A^T of their sum A is dw: F(3x3, m x m), whose B^T is the same
//
// All of these are float32, whatever the storage, and so is every step between the pixels and the one rounding of a
// result. One thread transforms one tile of one channel in registers; a warp has 32 neighbouring tiles, so that planes
// are read and written in whole lines. It reads its pixels directly: neighbours share lines in L1. Outputs go through
// shared memory, where a warp turns its tiles into rows, so that they are written in whole lines, too.
//
// Speed: memory, if not L2. For m = 4 and float32, a warp moves 4,608 bytes of planes and 2,048 of pixels (half as
// many again where L1 misses the rows that two tiles share): 370 cycles of an SM's share of 4 TB/s. In code for sm_90a
// the transforms of images issue about 500 instructions, so 125 cycles; those of outputs about 380. m = 2 moves 4 bytes
// of planes for each byte of pixels, m = 4 only 2.25. Called by csrc/cuda/conv_winograd.cpp.
#include "common.cuh"
#include "winograd_transform.h"

namespace {

constexpr int kWarps = kThreads / 32;

// Where the 32 tiles of a warp lie, and the one of this thread.
struct Warp {
    int channel, slice;
    int64_t first;  // place of the first tile in the slice

    __device__ Warp(const TileBlock& b, unsigned item) {
        const unsigned of_channel = b.stride / 32;
        first = int64_t(item % of_channel) * 32;
        channel = int(item / of_channel % unsigned(b.channels));
        slice = int(item / of_channel / unsigned(b.channels));
    }
    __device__ static int lane() { return int(threadIdx.x) % 32; }
};

struct Tile {
    bool real;  // else one of those that fill the slices up
    int n, row, column;

    __device__ Tile(const TileBlock& b, int64_t number) : real(number < b.count) {
        const unsigned of_image = unsigned(b.rows) * b.columns, from_image = unsigned(b.first) + unsigned(number);
        n = b.image + int(from_image / of_image);
        row = int(from_image % of_image / b.columns);
        column = int(from_image % of_image % b.columns);
    }
};

__device__ inline unsigned first_item() { return (blockIdx.x * blockDim.x + threadIdx.x) / 32; }
__device__ inline unsigned items_apart() { return gridDim.x * (blockDim.x / 32); }

// planes <- M of each tile M^T; a tile is as large as M is wide, and `step` pixels from the next.
template <class M, int step, class T>
__global__ void __launch_bounds__(kThreads)
    tiles_kernel(TileBlock b, unsigned items, const T* __restrict__ images, float* __restrict__ planes) {
    for (unsigned item = first_item(); item < items; item += items_apart()) {
        const Warp warp(b, item);
        const int64_t place = warp.first + Warp::lane();
        const Tile tile(b, warp.slice * b.stride + place);
        const T* image = images + (int64_t(tile.n) * b.channels + warp.channel) * b.H * b.W;
        const int top = tile.row * step - b.pad_h, left = tile.column * step - b.pad_w;
        const int64_t plane = b.channels * b.stride;
        float* out = planes + (int64_t(warp.slice) * M::rows * M::rows * b.channels + warp.channel) * b.stride + place;
        both_sides<M, false>(
            [&](int i, int j) {
                const int h = top + i, w = left + j;
                const bool inside = tile.real && h >= 0 && h < b.H && w >= 0 && w < b.W;
                return inside ? static_cast<float>(image[h * b.W + w]) : 0.f;
            },
            [&](int i, int j, float value) { out[(i * M::rows + j) * plane] = value; });
    }
}

// outputs <- A^T of the products A, + bias (channels,), then ReLU.
template <class AT, class T>
__global__ void __launch_bounds__(kThreads)
    outputs_kernel(TileBlock b, unsigned items, const float* __restrict__ products, const T* __restrict__ bias,
                   bool relu, T* __restrict__ outputs) {
    constexpr int m = AT::rows, n = AT::cols, kPitch = 32 + 32 / m;  // so that the lanes of a row meet all banks
    struct Corner {
        int64_t offset;     // of the tile's first pixel in the outputs
        int rows, columns;  // of the tile inside the image
    };
    __shared__ float all_pixels[kWarps][m * m][kPitch];
    __shared__ Corner all_corners[kWarps][32];
    auto& pixels = all_pixels[threadIdx.x / 32];
    auto& corners = all_corners[threadIdx.x / 32];
    const int lane = Warp::lane();
    for (unsigned item = first_item(); item < items; item += items_apart()) {
        const Warp warp(b, item);
        const Tile tile(b, warp.first + lane);
        const int64_t plane = b.channels * b.stride;
        const float* in = products + warp.channel * b.stride + warp.first + lane;
        const float offset = bias ? static_cast<float>(bias[warp.channel]) : 0.f;
        both_sides<AT, true>([&](int i, int j) { return in[(i * n + j) * plane]; },
                             [&](int i, int j, float value) {
                                 value += offset;
                                 pixels[i * m + j][lane] = relu && value < 0 ? 0.f : value;
                             });
        const int top = tile.row * m, left = tile.column * m;
        corners[lane] = {((int64_t(tile.n) * b.channels + warp.channel) * b.H + top) * b.W + left,
                         tile.real ? b.H - top : 0, b.W - left};
        __syncwarp();
        for (int part = 0; part < m; ++part) {
            const int other = (part * 32 + lane) / m, column = lane % m;
            const Corner corner = corners[other];
            for (int row = 0; row < m; ++row)
                if (row < corner.rows && column < corner.columns)
                    outputs[corner.offset + row * b.W + column] = static_cast<T>(pixels[row * m + column][other]);
        }
        __syncwarp();  // the next tiles overwrite them
    }
}

template <class G, class T>
__global__ void __launch_bounds__(kThreads)
    filters_kernel(ConvShape s, bool gradient, int rows, int columns, int padded, const T* __restrict__ w,
                   float* __restrict__ filters) {
    const int64_t count = int64_t(s.groups) * rows * padded;
    for (int64_t i = thread_index(); i < count; i += thread_count()) {
        const int64_t row = i / padded, group = row / rows;  // row counts on through the groups
        const int column = int(i % padded);
        const int64_t k = gradient ? group * s.Kg() + column : row, c = gradient ? row - group * rows : column;
        const T* filter = w + (k * s.Cg() + c) * 9;
        both_sides<G, false>(
            [&](int r, int t) {
                const int tap = 3 * r + t;
                return column < columns ? static_cast<float>(filter[gradient ? 8 - tap : tap]) : 0.f;
            },
            [&](int r, int t, float value) { filters[(r * G::rows + t) * count + i] = value; });
    }
}

template <class AT, class T>
__global__ void __launch_bounds__(kThreads)
    gradient_kernel(int64_t count, int slices, const float* __restrict__ sums, T* __restrict__ dw) {
    constexpr int n = AT::cols;
    for (int64_t i = thread_index(); i < count; i += thread_count())
        both_sides<AT, true>(
            [&](int r, int s) {
                Acc sum = 0;
                for (int slice = 0; slice < slices; ++slice) sum += sums[((slice * n + r) * n + s) * count + i];
                return sum;
            },
            [&](int r, int s, float value) { dw[i * 9 + 3 * r + s] = static_cast<T>(value); });
}

// Calls f with a type that has m as its `value`, and an element of the storage.
template <class F>
void with_kinds(int m, DType dtype, F&& f) {
    with_dtype(dtype, [&](auto element) {
        if (m == 2)
            f(std::integral_constant<int, 2>(), element);
        else
            f(std::integral_constant<int, 4>(), element);
    });
}

// The warps' work, as unsigned as the kernels count it: csrc/cuda/conv_winograd.cpp keeps planes small.
unsigned items_of(const TileBlock& b, int slices) { return unsigned(b.stride / 32 * b.channels * slices); }

}  // namespace

void winograd_filters(int m, DType dtype, const ConvShape& s, bool gradient, const void* w, float* filters,
                      cudaStream_t stream) {
    const int rows = gradient ? s.Cg() : s.Kg(), columns = gradient ? s.Kg() : s.Cg();
    const int padded = ceil_div(columns, 4) * 4;
    with_kinds(m, dtype, [&](auto size, auto element) {
        using T = decltype(element);
        launch(filters_kernel<typename Winograd<size(), 3>::G, T>, blocks_for(int64_t(s.groups) * rows * padded),
               kThreads, 0, stream, s, gradient, rows, columns, padded, static_cast<const T*>(w), filters);
    });
    check(cudaGetLastError(), "winograd_filters", s.text());
}

void winograd_tiles(int m, DType dtype, bool gradient, const TileBlock& block, int slices, const void* images,
                    float* planes, cudaStream_t stream) {
    const unsigned items = items_of(block, slices);
    with_kinds(m, dtype, [&](auto size, auto element) {
        using T = decltype(element);
        constexpr int tile = size();
        const auto kernel = gradient ? tiles_kernel<typename Winograd<3, tile>::G, tile, T>
                                     : tiles_kernel<typename Winograd<tile, 3>::BT, tile, T>;
        launch(kernel, blocks_for(items, kWarps), kThreads, 0, stream, block, items, static_cast<const T*>(images),
               planes);
    });
    check(cudaGetLastError(), "winograd_tiles", std::to_string(block.count) + " tiles");
}

void winograd_outputs(int m, DType dtype, const TileBlock& block, const float* products, const void* bias, bool relu,
                      void* outputs, cudaStream_t stream) {
    const unsigned items = items_of(block, 1);
    with_kinds(m, dtype, [&](auto size, auto element) {
        using T = decltype(element);
        launch(outputs_kernel<typename Winograd<size(), 3>::AT, T>, blocks_for(items, kWarps), kThreads, 0, stream,
               block, items, products, static_cast<const T*>(bias), relu, static_cast<T*>(outputs));
    });
    check(cudaGetLastError(), "winograd_outputs", std::to_string(block.count) + " tiles");
}

void winograd_gradient(int m, DType dtype, int64_t count, int slices, const float* sums, void* dw,
                       cudaStream_t stream) {
    with_kinds(m, dtype, [&](auto size, auto element) {
        using T = decltype(element);
        launch(gradient_kernel<typename Winograd<3, size()>::AT, T>, blocks_for(count), kThreads, 0, stream, count,
               slices, sums, static_cast<T*>(dw));
    });
    check(cudaGetLastError(), "winograd_gradient", std::to_string(count) + " filters");
}
