// The change of layout of images, as the transposition of matrices; see kernels/transpose.cu. A unit of work is a band
// of columns of a matrix, whose part of `out` is contiguous; within it blocks are read and written that stay in L1.
// Bounded by memory traffic. Called by bind_cpu.cpp.
#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>

#include "cpu.h"
#include "element.h"
#include "threads.h"

namespace {

template <class T, int count>
struct Vector {
    typedef T type __attribute__((vector_size(count * sizeof(T))));
};

// Of every 2 apart lanes the first `apart` of a and of b, and the last ones.
template <int apart, class V, int... lane>
INLINE void exchange(V& a, V& b, std::integer_sequence<int, lane...>) {
    constexpr int count = sizeof...(lane);
    const V first = __builtin_shufflevector(a, b, (lane & apart ? count + lane - apart : lane)...);
    b = __builtin_shufflevector(a, b, (lane & apart ? count + lane : lane + apart)...);
    a = first;
}

// The transposition of a square matrix of vectors: its quarters are exchanged, then theirs.
template <int apart, int side, class V>
INLINE void transpose_square(V (&rows)[side]) {
    for (int i = 0; i < side; ++i)
        if (!(i & apart)) exchange<apart>(rows[i], rows[i + apart], std::make_integer_sequence<int, side>());
    if constexpr (apart > 1) transpose_square<apart / 2>(rows);
}

// out (n, padded) = in^T, in (m, n) with rows `columns` elements apart.
template <class T>
INLINE void transpose_block(int64_t m, int64_t n, int64_t columns, int64_t padded, const T* in, T* out) {
    constexpr int side = 8;
    int64_t i = 0;
    for (; i + side <= m; i += side) {
        int64_t j = 0;
        for (; j + side <= n; j += side) {
            typename Vector<T, side>::type rows[side];
            for (int k = 0; k < side; ++k) std::memcpy(&rows[k], in + (i + k) * columns + j, sizeof rows[k]);
            transpose_square<side / 2>(rows);
            for (int k = 0; k < side; ++k) std::memcpy(out + (j + k) * padded + i, &rows[k], sizeof rows[k]);
        }
        for (; j < n; ++j)
            for (int k = 0; k < side; ++k) out[j * padded + i + k] = in[(i + k) * columns + j];
    }
    for (; i < m; ++i)
        for (int64_t j = 0; j < n; ++j) out[j * padded + i] = in[i * columns + j];
}

// in (rows, n) with rows `columns` elements apart; out (n, padded).
template <class T>
MULTIVERSION void transpose_band(int64_t rows, int64_t n, int64_t columns, int64_t padded, const T* in, T* out) {
    constexpr int64_t line = 64 / sizeof(T);
    for (int64_t i = 0; i < rows; i += line)
        for (int64_t j = 0; j < n; j += line)
            transpose_block(std::min(line, rows - i), std::min(line, n - j), columns, padded, in + i * columns + j,
                            out + j * padded + i);
    for (int64_t j = 0; j < n; ++j) std::fill(out + j * padded + rows, out + (j + 1) * padded, T(0));
}

template <class T>
void transpose_of(int64_t batch, int64_t rows, int64_t columns, int64_t padded, Address in, Address out) {
    constexpr int64_t band = 64;
    const int64_t bands = (columns + band - 1) / band;
    parallel_for(batch * bands, threads_for(batch * columns * padded / 4), [&](int64_t unit, int) {
        const int64_t matrix = unit / bands, first = unit % bands * band;
        transpose_band(rows, std::min(band, columns - first), columns, padded,
                       reinterpret_cast<const T*>(in) + matrix * rows * columns + first,
                       reinterpret_cast<T*>(out) + (matrix * columns + first) * padded);
    });
}

}  // namespace

void transpose_matrices(int size, int64_t batch, int64_t rows, int64_t columns, int64_t padded, Address in,
                        Address out) {
    const std::string text = "(" + std::to_string(batch) + ", " + std::to_string(rows) + ", " +
                             std::to_string(columns) + "), padded " + std::to_string(padded);
    if (batch < 0 || rows < 0 || columns < 0 || padded < rows)
        throw std::invalid_argument("transpose_matrices: sizes are not negative, nor less after padding (" + text +
                                    ")");
    if (size != 2 && size != 4)
        throw std::invalid_argument("transpose_matrices: elements have 2 or 4 bytes, but came " + std::to_string(size) +
                                    " (" + text + ")");
    (size == 2 ? transpose_of<uint16_t> : transpose_of<uint32_t>)(batch, rows, columns, padded, in, out);
}
