// The matrix product in registers: rows x vectors sums, on the vectors of float or double.
//
// Elements of the first operand are read one by one and spread over a vector. It is packed, (tile, depth, kRows), or it
// is read where it lies, from base[row] + step[i]: so the rows of an im2col matrix need never be written, as a row is
// an address, a step the distance from one tap to another. The second is packed, (panel, depth, Wide<A>::panel), or has
// its columns side by side in memory.
//
// kRows is a power of two, so that a transposition by halves can pack the first operand.
#pragma once
#include "vec.h"

namespace {

constexpr int64_t kDepth = 256;  // products that one call adds up: so much of a panel stays in L1

// Vectors of the type that sums are kept in.
template <class A>
struct Wide {
    static constexpr int lanes = int(sizeof(Vec) / sizeof(A)), panel = kVectors * lanes, tile = kRows * panel;
    typedef A Vector __attribute__((vector_size(sizeof(Vec))));
    typedef A Anywhere __attribute__((vector_size(sizeof(Vec)), aligned(sizeof(A)), may_alias));
};
template <class A>
using Vector = typename Wide<A>::Vector;

template <class A>
INLINE Vector<A> load_wide(const A* p) {
    return *reinterpret_cast<const typename Wide<A>::Anywhere*>(p);
}
template <class A>
INLINE void store_wide(A* p, Vector<A> v) {
    *reinterpret_cast<typename Wide<A>::Anywhere*>(p) = v;
}

INLINE int64_t parts_of(int64_t size, int64_t part) { return (size + part - 1) / part; }
INLINE int64_t whole_lines(int64_t count) { return (count + 15) / 16 * 16; }

template <int i>
struct Index {
    static constexpr int value = i;
    INLINE constexpr operator int() const { return i; }
};

// f(Index<0>{}) ... f(Index<count - 1>{}): unrolled before the compiler decides what lives in registers.
template <int count, class F>
INLINE void unrolled(const F& f) {
    if constexpr (count > 0) {
        unrolled<count - 1>(f);
        f(Index<count - 1>{});
    }
}

// Where the first operand lies: left[r] is its element of row r and the product that is next.
template <class A>
struct Packed {  // (depth, kRows)
    const A* at;
    INLINE A operator[](int r) const { return at[r]; }
    INLINE void next() { at += kRows; }
};
template <class A>
struct Scattered {  // base[row][step[i]]
    const A* base[kRows];
    const int64_t* step;
    INLINE A operator[](int r) const { return base[r][*step]; }
    INLINE void next() { ++step; }
};

// out (rows, panel) = (or +=, where add) the sum over i < depth of left[row] at i times b[i b_step + column].
template <int rows, int vectors, class A, class Left>
__attribute__((noinline)) void add_products(bool add, int64_t depth, Left left, const A* b, int64_t b_step, A* out) {
    constexpr int lanes = Wide<A>::lanes, panel = Wide<A>::panel;
    Vector<A> sum[rows][vectors];
    unrolled<rows>([&](auto r) INLINE_LAMBDA {
        unrolled<vectors>([&](auto v) INLINE_LAMBDA {
            sum[r][v] = Vector<A>{};
            __builtin_prefetch(out + r * panel + v * lanes, 1);  // what it adds to is read last
        });
    });
    for (int64_t i = 0; i < depth; ++i, b += b_step, left.next()) {
        Vector<A> column[vectors];
        unrolled<vectors>([&](auto v) INLINE_LAMBDA { column[v] = load_wide(b + v * lanes); });
        unrolled<rows>([&](auto r) INLINE_LAMBDA {
            const A value = left[r];
            unrolled<vectors>([&](auto v) INLINE_LAMBDA { sum[r][v] += column[v] * value; });
        });
    }
    unrolled<rows>([&](auto r) INLINE_LAMBDA {
        unrolled<vectors>([&](auto v) INLINE_LAMBDA {
            A* at = out + r * panel + v * lanes;
            store_wide(at, add ? sum[r][v] + load_wide(at) : sum[r][v]);
        });
    });
}

// The same for 1 <= row_count <= kRows and the vectors that hold 1 <= columns <= panel.
template <int rows = kRows, int vectors = kVectors, class A, class Left>
INLINE void product(int64_t row_count, int64_t columns, bool add, int64_t depth, const Left& left, const A* b,
                    int64_t b_step, A* out) {
    if constexpr (rows > 1)
        if (row_count < rows) return product<rows - 1, vectors>(row_count, columns, add, depth, left, b, b_step, out);
    if constexpr (vectors > 1)
        if (columns <= (vectors - 1) * Wide<A>::lanes)
            return product<rows, vectors - 1>(row_count, columns, add, depth, left, b, b_step, out);
    add_products<rows, vectors>(add, depth, left, b, b_step, out);
}

}  // namespace
