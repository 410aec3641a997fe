// The change of layout of images, as the transposition of matrices: out (batch, columns, padded) <- in (batch, rows,
// columns), zeros from column `rows` of out on; elements of 2 or 4 bytes. From (N, C, H, W) to (N, H, W, C) the rows
// are the C channels and the columns the H W pixels; back again the rows are the pixels.
//
// A block moves tiles of 64 columns and 128 bytes of rows through shared memory. A warp reads neighbouring columns of a
// row, and writes neighbouring rows of a column: 16 bytes a thread where every row of out begins at a multiple of that,
// else one element. Narrow tiles (3 channels) keep at least half of the threads busy, as both ways count through a tile
// in powers of two. A row of the tile in shared memory is 33 words, so that both ways touch each bank once. Bound by
// memory: reads and writes each element once; 80 % of its bandwidth are expected, and a third for images of few
// channels, whose tiles are small. Called by gpucnn/layout.py (bound in csrc/bind_cuda.cpp) and
// csrc/cuda/conv_implicit_hopper.cpp.
#include "common.cuh"

namespace {

constexpr int kColumns = 64, kWords = 33;  // of a tile; of a row of shared memory

template <class T>
constexpr int kRows = 128 / sizeof(T);

// f(i, j) for all i < m and j < n, neighbouring threads at neighbouring j.
template <class F>
__device__ void for_tile(int m, int n, F f) {
    int shift = 0;
    while (1 << shift < n) ++shift;
#pragma unroll 8
    for (int index = int(threadIdx.x); index < m << shift; index += kThreads) {
        const int i = index >> shift, j = index & ((1 << shift) - 1);
        if (j < n) f(i, j);
    }
}

// wide: stores of 16 bytes.
template <class T, bool wide>
__global__ void __launch_bounds__(kThreads)
    transpose_kernel(int64_t tiles, int64_t row_tiles, int64_t column_tiles, int64_t rows, int64_t columns,
                     int64_t padded, const T* __restrict__ in, T* __restrict__ out) {
    __shared__ __align__(16) unsigned memory[kColumns * kWords];  // (columns, rows)
    auto* const tile = reinterpret_cast<T*>(memory);
    constexpr int pitch = kWords * 4 / sizeof(T), vector = wide ? 16 / sizeof(T) : 1;
    for (int64_t index = blockIdx.x; index < tiles; index += gridDim.x) {
        const int64_t first_row = index % row_tiles * kRows<T>;
        const int64_t first_column = index / row_tiles % column_tiles * kColumns;
        const int64_t matrix = index / row_tiles / column_tiles;
        const int m = padded - first_row < kRows<T> ? int(padded - first_row) : kRows<T>;
        const int n = columns - first_column < kColumns ? int(columns - first_column) : kColumns;
        const T* const from = in + (matrix * rows + first_row) * columns + first_column;
        for_tile(m, n, [&](int row, int column) {
            tile[column * pitch + row] = first_row + row < rows ? from[row * columns + column] : T(0);
        });
        __syncthreads();
        T* const to = out + (matrix * columns + first_column) * padded + first_row;
        for_tile(n, m / vector, [&](int column, int chunk) {
            if constexpr (wide) {
                const unsigned* const words = memory + column * kWords + chunk * 4;
                // An index: of an address in elements of T, nvcc 13.0 makes four stores.
                reinterpret_cast<uint4*>(to + column * padded)[chunk] = {words[0], words[1], words[2], words[3]};
            } else {
                to[column * padded + chunk] = tile[column * pitch + chunk];
            }
        });
        __syncthreads();  // the next tile overwrites this one
    }
}

template <class T>
void transpose_of(int64_t batch, int64_t rows, int64_t columns, int64_t padded, const void* in, void* out,
                  cudaStream_t stream) {
    const int64_t row_tiles = ceil_div(padded, int64_t(kRows<T>)), column_tiles = ceil_div(columns, int64_t(kColumns));
    const int64_t tiles = batch * row_tiles * column_tiles;
    const bool wide = (padded * sizeof(T) | reinterpret_cast<std::uintptr_t>(out)) % 16 == 0;
    launch(wide ? transpose_kernel<T, true> : transpose_kernel<T, false>, blocks_for(tiles, 1), kThreads, 0, stream,
           tiles, row_tiles, column_tiles, rows, columns, padded, static_cast<const T*>(in), static_cast<T*>(out));
}

}  // namespace

void transpose_matrices(int size, int64_t batch, int64_t rows, int64_t columns, int64_t padded, const void* in,
                        void* out, cudaStream_t stream) {
    const std::string text = "(" + std::to_string(batch) + ", " + std::to_string(rows) + ", " +
                             std::to_string(columns) + "), padded " + std::to_string(padded);
    if (batch < 0 || rows < 0 || columns < 0 || padded < rows)
        throw std::invalid_argument("transpose_matrices: sizes are not negative, nor less after padding (" + text +
                                    ")");
    if (size != 2 && size != 4)
        throw std::invalid_argument("transpose_matrices: elements have 2 or 4 bytes, but came " + std::to_string(size) +
                                    " (" + text + ")");
    if (batch * columns * padded == 0) return;
    (size == 2 ? transpose_of<uint16_t> : transpose_of<uint32_t>)(batch, rows, columns, padded, in, out, stream);
    check(cudaGetLastError(), "transpose_matrices", text);
}
