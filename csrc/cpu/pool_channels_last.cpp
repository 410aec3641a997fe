// Max and average pooling in channels_last order. A unit of work is a row of the image that is written; loops run over
// channels, which are neighbours. Backward gathers, in the order in which pool.cpp adds: the same bits. Bounded by
// memory traffic. Called by pool.cpp.
#include <algorithm>
#include <cstring>
#include <limits>
#include <type_traits>
#include <vector>

#include "convert_array.h"
#include "pool.h"
#include "threads.h"

namespace {

int threads_of(const ConvShape& s) { return threads_for((s.y_size() * s.R * s.S + s.x_size()) / 8); }

// f(c, count) for vectors of `most` or fewer that cover the channels; the last one overlaps the one before.
template <int most, class F>
INLINE void for_channels(int C, F&& f) {
    auto in_steps = [&](auto count) INLINE_LAMBDA {
        for (int c = 0;; c = std::min(c + count.value, C - count.value)) {
            f(c, count);
            if (c == C - count.value) return;
        }
    };
    if (C >= most)
        in_steps(std::integral_constant<int, most>());
    else if (C >= 4)
        in_steps(std::integral_constant<int, 4>());
    else
        in_steps(std::integral_constant<int, 1>());
}

// f(pixel) for the pixels h W + w of window (p, q), those in padding left out, in row-major order.
template <class F>
INLINE void for_pixels(const ConvShape& s, int p, int q, F&& f) {
    for (int r = 0; r < s.R; ++r) {
        const int64_t h = int64_t(p) * s.stride_h - s.pad_h + int64_t(r) * s.dil_h;
        if (h < 0 || h >= s.H) continue;
        for (int t = 0; t < s.S; ++t) {
            const int64_t w = int64_t(q) * s.stride_w - s.pad_w + int64_t(t) * s.dil_w;
            if (w >= 0 && w < s.W) f(h * s.W + w);
        }
    }
}

// x: an image (H, W, C); y, index: row p of its outputs (Q, C).
template <class T>
MULTIVERSION void max_row(const ConvShape& s, int p, const T* x, T* y, int32_t* index) {
    for (int q = 0; q < s.Q; ++q, y += s.C, index += s.C)
        for_channels<8>(s.C, [&](int c, auto count) INLINE_LAMBDA {
            using Values = typename Vector<Acc<T>, count.value>::type;
            using Indices = typename Vector<int32_t, count.value>::type;
            Values best = Values{} - std::numeric_limits<Acc<T>>::infinity();
            Indices where = Indices{} - 1;
            for_pixels(s, p, q, [&](int64_t pixel) INLINE_LAMBDA {
                Acc<T> wide[count.value];
                for (int i = 0; i < count.value; ++i) wide[i] = x[pixel * s.C + c + i];
                Values value;
                std::memcpy(&value, wide, sizeof value);
                take_larger(value, Indices{} + static_cast<int32_t>(pixel), best, where);
            });
            Acc<T> wide[count.value];
            std::memcpy(wide, &best, sizeof best);
            for (int i = 0; i < count.value; ++i) y[c + i] = static_cast<T>(wide[i]);
            std::memcpy(index + c, &where, sizeof where);
        });
}

template <class T>
MULTIVERSION void avg_row(const ConvShape& s, bool count_include_pad, int p, const T* x, T* y) {
    for (int q = 0; q < s.Q; ++q, y += s.C) {
        int64_t pixels = 0;
        for_pixels(s, p, q, [&](int64_t) INLINE_LAMBDA { ++pixels; });
        if (count_include_pad) pixels = int64_t(s.R) * s.S;
        const Acc<T> weight = Acc<T>(1) / static_cast<Acc<T>>(std::max<int64_t>(1, pixels));
        for_channels<16>(s.C, [&](int c, auto count) INLINE_LAMBDA {
            Acc<T> sums[count.value] = {};
            for_pixels(s, p, q, [&](int64_t pixel) INLINE_LAMBDA {
                for (int i = 0; i < count.value; ++i) sums[i] += static_cast<Acc<T>>(x[pixel * s.C + c + i]);
            });
            for (int i = 0; i < count.value; ++i) y[c + i] = static_cast<T>(sums[i] * weight);
        });
    }
}

// f(p) for the rows of windows with a tap on row h of the image, p ascending.
template <class F>
INLINE void for_window_rows(const ConvShape& s, int64_t h, F&& f) {
    const int64_t top = h + s.pad_h, reach = int64_t(s.R - 1) * s.dil_h;
    const int64_t first = top <= reach ? 0 : (top - reach + s.stride_h - 1) / s.stride_h;
    for (int64_t p = first; p < s.P && p * s.stride_h <= top; ++p)
        if ((top - p * s.stride_h) % s.dil_h == 0) f(p);
}

// f(q, w) for the windows of row p whose tap t lies on column w of the image, not in padding.
template <class F>
INLINE void for_columns(const ConvShape& s, int t, F&& f) {
    for (int q = 0; q < s.Q; ++q) {
        const int64_t w = int64_t(q) * s.stride_w - s.pad_w + int64_t(t) * s.dil_w;
        if (w >= 0 && w < s.W) f(q, w);
    }
}

// dy, index: an image (P, Q, C); sums (W, C): row h of its dx. Windows are added in row-major order.
template <class T>
MULTIVERSION void max_bwd_row(const ConvShape& s, int h, const T* dy, const int32_t* index, Acc<T>* sums) {
    std::fill_n(sums, int64_t(s.W) * s.C, Acc<T>(0));
    for_window_rows(s, h, [&](int64_t p) INLINE_LAMBDA {
        for (int t = s.S - 1; t >= 0; --t)
            for_columns(s, t, [&](int q, int64_t w) INLINE_LAMBDA {
                const auto here = static_cast<int32_t>(int64_t(h) * s.W + w);
                const T* grad = dy + (p * s.Q + q) * s.C;
                const int32_t* where = index + (p * s.Q + q) * s.C;
                Acc<T>* out = sums + w * s.C;
#pragma GCC ivdep
                for (int c = 0; c < s.C; ++c) out[c] += where[c] == here ? static_cast<Acc<T>>(grad[c]) : Acc<T>(0);
            });
    });
}

// Windows are added row by row, those of a row tap by tap.
template <class T>
MULTIVERSION void avg_bwd_row(const ConvShape& s, bool count_include_pad, int h, const T* dy, Acc<T>* sums) {
    std::fill_n(sums, int64_t(s.W) * s.C, Acc<T>(0));
    for_window_rows(s, h, [&](int64_t p) INLINE_LAMBDA {
        for (int t = 0; t < s.S; ++t)
            for_columns(s, t, [&](int q, int64_t w) INLINE_LAMBDA {
                int64_t pixels = 0;
                for_pixels(s, static_cast<int>(p), q, [&](int64_t) INLINE_LAMBDA { ++pixels; });
                if (count_include_pad) pixels = int64_t(s.R) * s.S;
                const Acc<T> weight = Acc<T>(1) / static_cast<Acc<T>>(pixels);
                const T* grad = dy + (p * s.Q + q) * s.C;
                Acc<T>* out = sums + w * s.C;
#pragma GCC ivdep
                for (int c = 0; c < s.C; ++c) out[c] += weight * static_cast<Acc<T>>(grad[c]);
            });
    });
}

// Rows of dx from add(n, h, sums), which writes a row (W, C): dx itself, or for 16-bit storage floats, rounded once.
template <class T, class Add>
void fill_rows(const ConvShape& s, T* dx, const Add& add) {
    const int64_t size = int64_t(s.W) * s.C, slot = (size + 15) / 16 * 16;  // no two threads share a cache line
    const int threads = threads_of(s);
    std::vector<Acc<T>> buffer(is_narrow<T> ? threads * slot : 0);
    parallel_for(int64_t(s.N) * s.H, threads, [&](int64_t row, int thread) {
        T* const out = dx + row * size;
        const int64_t n = row / s.H;
        const int h = static_cast<int>(row % s.H);
        if constexpr (is_narrow<T>) {
            Acc<T>* const sums = buffer.data() + thread * slot;
            add(n, h, sums);
            convert(sums, size, out);
        } else {
            add(n, h, out);
        }
    });
}

}  // namespace

namespace pool_channels_last {

template <class T>
void max_fwd(const ConvShape& s, const T* x, T* y, int32_t* index) {
    const int64_t image = int64_t(s.H) * s.W * s.C, size = int64_t(s.Q) * s.C;
    parallel_for(int64_t(s.N) * s.P, threads_of(s), [&](int64_t row, int) {
        max_row(s, static_cast<int>(row % s.P), x + row / s.P * image, y + row * size, index + row * size);
    });
}

template <class T>
void max_bwd(const ConvShape& s, const T* dy, const int32_t* index, T* dx) {
    const int64_t image = int64_t(s.P) * s.Q * s.C;
    fill_rows(s, dx,
              [&](int64_t n, int h, Acc<T>* sums) { max_bwd_row(s, h, dy + n * image, index + n * image, sums); });
}

template <class T>
void avg_fwd(const ConvShape& s, bool count_include_pad, const T* x, T* y) {
    const int64_t image = int64_t(s.H) * s.W * s.C, size = int64_t(s.Q) * s.C;
    parallel_for(int64_t(s.N) * s.P, threads_of(s), [&](int64_t row, int) {
        avg_row(s, count_include_pad, static_cast<int>(row % s.P), x + row / s.P * image, y + row * size);
    });
}

template <class T>
void avg_bwd(const ConvShape& s, bool count_include_pad, const T* dy, T* dx) {
    const int64_t image = int64_t(s.P) * s.Q * s.C;
    fill_rows(s, dx,
              [&](int64_t n, int h, Acc<T>* sums) { avg_bwd_row(s, count_include_pad, h, dy + n * image, sums); });
}

#define FOR_TYPE(T)                                                        \
    template void max_fwd(const ConvShape&, const T*, T*, int32_t*);       \
    template void max_bwd(const ConvShape&, const T*, const int32_t*, T*); \
    template void avg_fwd(const ConvShape&, bool, const T*, T*);           \
    template void avg_bwd(const ConvShape&, bool, const T*, T*);
FOR_TYPE(float)
FOR_TYPE(double)
FOR_TYPE(Half)
FOR_TYPE(BFloat16)
#undef FOR_TYPE

}  // namespace pool_channels_last
