// The transforms of Winograd's algorithm: products with the small matrices of winograd_matrices.h, unrolled at compile
// time. Zeros cost nothing, and the two rows of points p and -p share their even and odd halves. A V is what one thread
// transforms at once: a float on a GPU (winograd.cu), a vector of tiles on a CPU (csrc/cpu/simd/winograd*.cpp).
#pragma once
#include <type_traits>

#include "winograd_matrices.h"

#ifdef __CUDACC__
#define TRANSFORM __device__ __forceinline__
#define UNROLLED _Pragma("unroll")
#else
#define TRANSFORM inline __attribute__((always_inline))
#define UNROLLED
#endif

namespace {

// sum += M[R][J] in[J] over J, J + STEP, ...; FIRST: there is no sum yet.
template <class M, int R, int J, int STEP, bool FIRST, class V>
TRANSFORM void dot(const V* in, V& sum) {
    if constexpr (J < M::cols) {
        constexpr float factor = M::at[R][J];
        if constexpr (factor == 0) {
            dot<M, R, J + STEP, STEP, FIRST>(in, sum);
        } else {
            if constexpr (FIRST)
                sum = in[J] * factor;
            else
                sum += in[J] * factor;
            dot<M, R, J + STEP, STEP, false>(in, sum);
        }
    } else if constexpr (FIRST) {
        sum = V{};
    }
}

// out = M in for a matrix whose rows come in pairs: B^T and G.
template <class M, int R = 0, class V>
TRANSFORM void paired_rows(const V* in, V* out) {
    if constexpr (R == 0 || R == M::rows - 1) {
        dot<M, R, 0, 1, true>(in, out[R]);
        if constexpr (R == 0) paired_rows<M, 1>(in, out);
    } else {
        V even, odd;
        dot<M, R, 0, 2, true>(in, even);
        dot<M, R, 1, 2, true>(in, odd);
        out[R] = even + odd;
        out[R + 1] = even - odd;
        paired_rows<M, R + 2>(in, out);
    }
}

template <class M, int R, int PAIR, class V>
TRANSFORM void add_pairs(const V* halves, V& sum) {
    if constexpr (2 * PAIR + 2 < M::cols) {
        constexpr float factor = M::at[R][2 * PAIR + 1];
        sum += halves[PAIR] * factor;
        add_pairs<M, R, PAIR + 1>(halves, sum);
    }
}

template <class M, int R = 0, class V>
TRANSFORM void rows_of_halves(const V* in, const V* sums, const V* differences, V* out) {
    if constexpr (R < M::rows) {
        const V* halves = R % 2 ? differences : sums;
        constexpr float factor = M::at[R][1];
        out[R] = halves[0] * factor;
        add_pairs<M, R, 1>(halves, out[R]);
        if constexpr (R == 0) out[R] += in[0];
        if constexpr (R == M::rows - 1) out[R] += in[M::cols - 1];
        rows_of_halves<M, R + 1>(in, sums, differences, out);
    }
}

// out = M in for a matrix whose columns come in pairs: A^T.
template <class M, class V>
TRANSFORM void paired_columns(const V* in, V* out) {
    constexpr int pairs = (M::cols - 2) / 2;
    V sums[pairs], differences[pairs];
    UNROLLED
    for (int q = 0; q < pairs; ++q) {
        sums[q] = in[2 * q + 1] + in[2 * q + 2];
        differences[q] = in[2 * q + 1] - in[2 * q + 2];
    }
    rows_of_halves<M>(in, sums, differences, out);
}

// out (M::rows, M::rows) = M in M^T, in (M::cols, M::cols); read and written through get(i, j) and put(i, j, value).
template <class M, bool COLUMNS, class Get, class Put>
TRANSFORM void both_sides(const Get& get, const Put& put) {
    using V = std::decay_t<decltype(get(0, 0))>;
    V half[M::rows][M::cols];
    UNROLLED
    for (int j = 0; j < M::cols; ++j) {
        V in[M::cols], out[M::rows];
        UNROLLED
        for (int i = 0; i < M::cols; ++i) in[i] = get(i, j);
        if constexpr (COLUMNS)
            paired_columns<M>(in, out);
        else
            paired_rows<M>(in, out);
        UNROLLED
        for (int i = 0; i < M::rows; ++i) half[i][j] = out[i];
    }
    UNROLLED
    for (int i = 0; i < M::rows; ++i) {
        V out[M::rows];
        if constexpr (COLUMNS)
            paired_columns<M>(half[i], out);
        else
            paired_rows<M>(half[i], out);
        UNROLLED
        for (int j = 0; j < M::rows; ++j) put(i, j, out[j]);
    }
}

}  // namespace
