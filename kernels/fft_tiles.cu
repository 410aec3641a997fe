// Tiles of images, as an FFT transforms them in place: cut out and padded, or put back with bias and ReLU.
//
//   images  (images, planes, H, W) dtype                         gather reads, scatter writes
//   tiles   (tiles, planes, n_h, 2 (n_w / 2 + 1)) float32        gather writes all but the last n % 2 + 1 or 2 columns,
//                                                                scatter reads a corner
//   bias    (planes,) dtype read, or null
//
// See TileAxis in kernels.h for what lies where. A block takes one plane of one tile at a time, its threads
// neighbouring elements of it, so that the divisions of 64 bits are made once a plane, and reads and writes coalesce.
// Speed: memory. gather writes 4 bytes per element of a tile and reads less; scatter reads and writes what is kept.
// Called by csrc/cuda/conv_fft.cpp.
#include "common.cuh"

namespace {

// One plane of one tile: its image's plane, and where the tile's element (0, 0) lies there.
struct TilePlane {
    int64_t plane, channel;  // of all images, of its own
    int64_t top, left;

    __device__ TilePlane(const TileGrid& g, int64_t first, int64_t index) {
        const int64_t tile = first + index / g.planes, across = g.w.tiles, down = g.h.tiles;
        channel = index % g.planes;
        plane = tile / across / down * g.planes + channel;
        top = g.h.first + tile / across % down * g.h.apart;
        left = g.w.first + tile % across * g.w.apart;
    }
};

// Which pixel of the tile's part of the image belongs at element e.
__device__ inline int pixel_of(const TileAxis& axis, int e) {
    const int pixel = (axis.reversed && e ? axis.n - e : e) + axis.shift;
    return pixel < axis.n ? pixel : pixel - axis.n;
}

template <class T>
__global__ void gather_kernel(TileGrid g, int64_t first, int64_t planes, const T* __restrict__ images,
                              float* __restrict__ tiles) {
    const int row = tile_row(g.w.n);
    for (int64_t index = blockIdx.x; index < planes; index += gridDim.x) {
        const TilePlane at(g, first, index);
        const T* const plane = images + at.plane * g.h.image * g.w.image;
        float* const tile = tiles + index * g.h.n * row;
        for (int e = threadIdx.x; e < g.h.n * g.w.n; e += blockDim.x) {
            const int i = e / g.w.n, j = e % g.w.n;
            const int down = pixel_of(g.h, i), right = pixel_of(g.w, j);
            const int64_t h = at.top + down, w = at.left + right;
            const bool inside =
                down < g.h.size && right < g.w.size && h >= 0 && h < g.h.image && w >= 0 && w < g.w.image;
            tile[i * row + j] = inside ? static_cast<float>(plane[h * g.w.image + w]) : 0.f;
        }
    }
}

template <class T>
__global__ void scatter_kernel(TileGrid g, int64_t first, int64_t planes, const float* __restrict__ tiles, float scale,
                               const T* __restrict__ bias, bool relu, T* __restrict__ images) {
    const int row = tile_row(g.w.n);
    for (int64_t index = blockIdx.x; index < planes; index += gridDim.x) {
        const TilePlane at(g, first, index);
        T* const plane = images + at.plane * g.h.image * g.w.image;
        const float* const tile = tiles + index * g.h.n * row;
        const float offset = bias ? static_cast<float>(bias[at.channel]) : 0.f;
        for (int e = threadIdx.x; e < g.h.size * g.w.size; e += blockDim.x) {
            const int i = e / g.w.size, j = e % g.w.size;
            const int64_t h = at.top + i, w = at.left + j;
            if (h >= g.h.image || w >= g.w.image) continue;
            const float value = tile[i * row + j] * scale + offset;
            plane[h * g.w.image + w] = static_cast<T>(relu && value < 0 ? 0.f : value);
        }
    }
}

}  // namespace

void gather_tiles(const TileGrid& grid, DType dtype, int64_t first, int64_t count, const void* images, float* tiles,
                  cudaStream_t stream) {
    const int64_t planes = count * grid.planes;
    if (planes == 0) return;
    with_dtype(dtype, [&](auto element) {
        using T = decltype(element);
        launch(gather_kernel<T>, blocks_for(planes, 1), kThreads, 0, stream, grid, first, planes,
               static_cast<const T*>(images), tiles);
    });
    check(cudaGetLastError(), "gather_tiles", grid.text());
}

void scatter_tiles(const TileGrid& grid, DType dtype, int64_t first, int64_t count, const float* tiles, float scale,
                   const void* bias, bool relu, void* images, cudaStream_t stream) {
    const int64_t planes = count * grid.planes;
    if (planes == 0) return;
    with_dtype(dtype, [&](auto element) {
        using T = decltype(element);
        launch(scatter_kernel<T>, blocks_for(planes, 1), kThreads, 0, stream, grid, first, planes, tiles, scale,
               static_cast<const T*>(bias), relu, static_cast<T*>(images));
    });
    check(cudaGetLastError(), "scatter_tiles", grid.text());
}
