// What surrounds the product in registers: packing its operands, and finishing and storing its sums.
#pragma once
#include "product.h"

namespace {

// Lanes of a pair of vectors (a, b): a's even blocks of h lanes with b's even blocks, and the odd ones. As constants in
// memory, because the compiler would build them lane by lane.
template <class A, int h>
struct Blocks {
    static constexpr int lanes = Wide<A>::lanes;
    typedef decltype(Vector<A>{} < Vector<A>{}) Lanes;
    alignas(sizeof(Vec)) decltype(Lanes{}[0] + 0) low[lanes], high[lanes];

    constexpr Blocks() : low(), high() {
        for (int l = 0; l < lanes; ++l) {
            low[l] = l & h ? lanes + l - h : l;
            high[l] = l & h ? lanes + l : l + h;
        }
    }
    static const Blocks constant;
};
template <class A, int h>
constexpr Blocks<A, h> Blocks<A, h>::constant;

// rows[i] lane j <-> rows[j] lane i, in each block of `side` lanes of `side` vectors; by halves.
template <class A, int side, int h = 1>
INLINE void transpose_blocks(Vector<A>* rows) {
    if constexpr (h < side) {
        typedef typename Blocks<A, h>::Lanes Lanes;
        const Lanes low = *reinterpret_cast<const Lanes*>(Blocks<A, h>::constant.low);
        const Lanes high = *reinterpret_cast<const Lanes*>(Blocks<A, h>::constant.high);
        unrolled<side>([&](auto i) INLINE_LAMBDA {
            if constexpr (!(decltype(i)::value & h)) {
                const Vector<A> a = rows[i], b = rows[i + h];
                rows[i] = __builtin_shuffle(a, b, low);
                rows[i + h] = __builtin_shuffle(a, b, high);
            }
        });
        transpose_blocks<A, side, 2 * h>(rows);
    }
}

template <class T>
INLINE void widen(const T* in, int64_t count, Acc<T>* out) {
    for (int64_t i = 0; i < count; ++i) out[i] = static_cast<Acc<T>>(in[i]);
}

// A vector of in[0], in[1], ...; load_some reads only `count` of them, the rest is zero.
template <class T>
INLINE Vector<Acc<T>> load_widened(const T* in) {
    if constexpr (!is_narrow<T>) {
        return load_wide(in);
    } else {
        Acc<T> wide[Wide<Acc<T>>::lanes];
        widen(in, Wide<Acc<T>>::lanes, wide);
        return load_wide(wide);
    }
}
template <class T>
INLINE Vector<Acc<T>> load_some(const T* in, int64_t count) {
    Acc<T> wide[Wide<Acc<T>>::lanes] = {};
    widen(in, count, wide);
    return load_wide(wide);
}

// `count` columns from `column` on of one row of a packed matrix, whose first panel begins at `row`.
template <class T>
INLINE void pack_row(const T* in, int64_t column, int64_t count, int64_t panel_stride, Acc<T>* row) {
    constexpr int64_t panel = Wide<Acc<T>>::panel;
    row += column / panel * panel_stride;
    if (column % panel) {
        const int64_t here = least(count, panel - column % panel);
        widen(in, here, row + column % panel);
        in += here, count -= here, row += panel_stride;
    }
    for (; count >= panel; in += panel, count -= panel, row += panel_stride) widen(in, panel, row);
    widen(in, count, row);
}

// Packs `columns` columns that each lie in one piece: element i of column j is in[j stride + i], i < depth.
template <class T>
void pack_columns(const T* in, int64_t stride, int64_t depth, int64_t columns, int64_t panel_stride, Acc<T>* out) {
    using A = Acc<T>;
    constexpr int lanes = Wide<A>::lanes, panel = Wide<A>::panel;
    for (int64_t j = 0; j < columns; j += lanes) {
        A* to = out + j / panel * panel_stride + j % panel;
        const int64_t here = least(lanes, columns - j);
        for (int64_t i = 0; i < depth; i += lanes) {
            const int64_t length = least(lanes, depth - i);
            Vector<A> block[lanes];
            for (int l = 0; l < lanes; ++l) {
                const T* from = in + (j + l) * stride + i;
                block[l] = l >= here ? Vector<A>{} : length == lanes ? load_widened(from) : load_some(from, length);
            }
            transpose_blocks<A, lanes>(block);
            for (int64_t t = 0; t < length; ++t) store_wide(to + (i + t) * panel, block[t]);
        }
    }
}

// Packs `rows` rows of the first operand into (tile, depth, kRows); of row_stride and step one is 1. Rows beyond `rows`
// are left out, as product() does not read them.
template <class T>
void pack_tiles(const T* in, int64_t row_stride, int64_t step, int64_t rows, int64_t depth, Acc<T>* out) {
    using A = Acc<T>;
    constexpr int lanes = Wide<A>::lanes;
    for (int64_t m = 0; m < rows; m += kRows, in += kRows * row_stride, out += kRows * depth) {
        const int64_t here = least(kRows, rows - m);
        int64_t i = 0;
        if (here == kRows && row_stride == 1)
            for (; i < depth; ++i) widen(in + i * step, kRows, out + i * kRows);
        if constexpr (lanes >= kRows) {
            if (here == kRows && step == 1)
                for (; i + lanes <= depth; i += lanes) {
                    Vector<A> block[kRows];
                    unrolled<kRows>([&](auto r) INLINE_LAMBDA { block[r] = load_widened(in + r * row_stride + i); });
                    transpose_blocks<A, kRows>(block);  // vector j: products i + j, i + kRows + j, ...
                    unrolled<kRows>([&](auto j) INLINE_LAMBDA {
                        for (int part = 0; part < lanes / kRows; ++part)
                            std::memcpy(out + (i + part * kRows + j) * kRows,
                                        reinterpret_cast<const A*>(&block[j]) + part * kRows, sizeof(A) * kRows);
                    });
                }
        }
        for (; i < depth; ++i)
            for (int64_t r = 0; r < here; ++r) out[i * kRows + r] = static_cast<A>(in[r * row_stride + i * step]);
    }
}

// What becomes of a finished sum before it is rounded: + bias, then ReLU, which keeps a NaN.
template <class T>
struct End {
    const T* bias = nullptr;
    int64_t bias_row = 0, bias_column = 0;  // bias of (row, column): one of the two is 1, the other 0
    bool relu = false;
};

template <class T>
INLINE void finish(const End<T>& end, int64_t rows, int64_t columns, Acc<T>* tile) {
    using A = Acc<T>;
    constexpr int lanes = Wide<A>::lanes, panel = Wide<A>::panel;
    if (end.bias) {
        A bias[panel] = {};
        if (end.bias_column) widen(end.bias, columns, bias);
        for (int64_t r = 0; r < rows; ++r) {
            const A of_row = end.bias_row ? static_cast<A>(end.bias[r]) : A(0);
            for (int v = 0; v < kVectors; ++v) {
                A* at = tile + r * panel + v * lanes;
                store_wide(at, load_wide(at) + (end.bias_row ? Vector<A>{} + of_row : load_wide(bias + v * lanes)));
            }
        }
    }
    if (end.relu)
        for (int64_t i = 0; i < rows * panel; i += lanes) {
            const Vector<A> value = load_wide(tile + i);
            store_wide(tile + i, value < 0 ? Vector<A>{} : value);
        }
}

// out[r row_stride + c column_stride] = tile (kRows, panel), rounded to Out.
template <class Out, class A>
INLINE void store_tile(const A* tile, int64_t rows, int64_t columns, Out* out, int64_t row_stride,
                       int64_t column_stride) {
    constexpr int lanes = Wide<A>::lanes, panel = Wide<A>::panel;
    if (column_stride == 1) {
        for (int64_t r = 0; r < rows; ++r) {
            const A* in = tile + r * panel;
            Out* to = out + r * row_stride;
            if (columns == panel)
                for (int i = 0; i < panel; ++i) to[i] = static_cast<Out>(in[i]);
            else
                for (int64_t i = 0; i < columns; ++i) to[i] = static_cast<Out>(in[i]);
        }
        return;
    }
    if constexpr (sizeof(Out) == sizeof(A) && lanes >= kRows) {
        if (row_stride == 1 && rows == kRows) {
            for (int64_t c0 = 0; c0 < columns; c0 += lanes) {
                Vector<A> block[kRows];
                for (int r = 0; r < kRows; ++r) block[r] = load_wide(tile + r * panel + c0);
                transpose_blocks<A, kRows>(block);  // vector i: columns i, kRows + i, ...
                for (int64_t c = 0; c < least(lanes, columns - c0); ++c)
                    std::memcpy(out + (c0 + c) * column_stride,
                                reinterpret_cast<const A*>(&block[c % kRows]) + c / kRows * kRows, sizeof(A) * kRows);
            }
            return;
        }
    }
    for (int64_t c = 0; c < columns; ++c)
        for (int64_t r = 0; r < rows; ++r)
            out[r * row_stride + c * column_stride] = static_cast<Out>(tile[r * panel + c]);
}

// f(T{}) with the stored type of a job.
template <class F>
INLINE void with_type(DType dtype, const F& f) {
    if (dtype == DType::float64) return f(double{});
    if (dtype == DType::float16) return f(Half{});
    if (dtype == DType::bfloat16) return f(BFloat16{});
    f(float{});
}

}  // namespace
