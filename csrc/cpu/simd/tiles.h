// Image rows to and from tiles: lane t of a vector belongs to tile t, so a row of pixels is dealt out to its tiles.
#pragma once
#include "simd.h"
#include "vec.h"

namespace {

INLINE void deal_two(Vec a, Vec b, Vec& even, Vec& odd) {
    typedef int32_t Index __attribute__((vector_size(4 * kLanes)));
    Index evens, odds;
    for (int l = 0; l < kLanes; ++l) evens[l] = 2 * l, odds[l] = 2 * l + 1;
    even = __builtin_shuffle(a, b, evens);
    odd = __builtin_shuffle(a, b, odds);
}

INLINE void merge_two(Vec even, Vec odd, Vec& a, Vec& b) {
    typedef int32_t Index __attribute__((vector_size(4 * kLanes)));
    Index low, high;
    for (int l = 0; l < kLanes; ++l) {
        low[l] = l / 2 + (l % 2 ? kLanes : 0);
        high[l] = low[l] + kLanes / 2;
    }
    a = __builtin_shuffle(even, odd, low);
    b = __builtin_shuffle(even, odd, high);
}

// out[j * ld + t] = row[m t + j] for t < count, j < m.
template <int m>
INLINE void deal(const float* row, int64_t count, float* out, int64_t ld) {
    int64_t t = 0;
    for (; t + kLanes <= count; t += kLanes) {
        Vec in[m], half[m];
        for (int j = 0; j < m; ++j) in[j] = load(row + m * t + j * kLanes);
        if constexpr (m == 2) {
            deal_two(in[0], in[1], half[0], half[1]);
            store(out + t, half[0]);
            store(out + ld + t, half[1]);
        } else {
            static_assert(m == 4, "tiles are 2 x 2 or 4 x 4");
            deal_two(in[0], in[1], half[0], half[1]);
            deal_two(in[2], in[3], half[2], half[3]);
            deal_two(half[0], half[2], in[0], in[2]);
            deal_two(half[1], half[3], in[1], in[3]);
            for (int j = 0; j < m; ++j) store(out + j * ld + t, in[j]);
        }
    }
    for (; t < count; ++t)
        for (int j = 0; j < m; ++j) out[j * ld + t] = row[m * t + j];
}

// row[m t + j] = in[j * ld + t] for t < count, j < m.
template <int m>
INLINE void merge(const float* in, int64_t ld, int64_t count, float* row) {
    int64_t t = 0;
    for (; t + kLanes <= count; t += kLanes) {
        Vec part[m], half[m];
        for (int j = 0; j < m; ++j) part[j] = load(in + j * ld + t);
        if constexpr (m == 2) {
            merge_two(part[0], part[1], half[0], half[1]);
        } else {
            Vec low[2], high[2];
            merge_two(part[0], part[2], low[0], low[1]);
            merge_two(part[1], part[3], high[0], high[1]);
            merge_two(low[0], high[0], half[0], half[1]);
            merge_two(low[1], high[1], half[2], half[3]);
        }
        for (int j = 0; j < m; ++j) store(row + m * t + j * kLanes, half[j]);
    }
    for (; t < count; ++t)
        for (int j = 0; j < m; ++j) row[m * t + j] = in[j * ld + t];
}

// f(n, tile row, tile column, at, length) for each run of tiles of one tile row among tiles [first, first + count);
// `at` counts from first.
template <class F>
INLINE void for_runs(const WinogradJob& job, int64_t first, int64_t count, const F& f) {
    const int64_t columns = job.tile_columns(), rows = job.tile_rows();
    for (int64_t at = 0, length; at < count; at += length) {
        const int64_t tile = first + at;
        length = least(columns - tile % columns, count - at);
        f(tile / columns / rows, tile / columns % rows, tile % columns, at, length);
    }
}

// out[(i * n + j) * ld + t] = pixel (top + i, left + m t + j) of the image, 0 outside, for `count` tiles of n x n
// pixels that lie m pixels apart. `line` holds m count + n floats.
template <int m, int n, class T>
INLINE void gather(const T* image, int H, int W, int64_t top, int64_t left, int64_t count, float* out, int64_t ld,
                   float* line) {
    const int64_t length = m * (count - 1) + n;
    const int64_t begin = most(0, -left), end = most(begin, least(length, W - left));
    for (int i = 0; i < n; ++i, out += n * ld) {
        const int64_t h = top + i;
        if (h < 0 || h >= H) {
            for (int j = 0; j < n; ++j) std::memset(out + j * ld, 0, sizeof(float) * count);
            continue;
        }
        const T* in = image + h * W + left;
        const float* row = line;
        if (sizeof(T) == sizeof(float) && begin == 0 && end == length) {
            row = reinterpret_cast<const float*>(in);
        } else {
            for (int64_t w = 0; w < begin; ++w) line[w] = 0;
            for (int64_t w = begin; w < end; ++w) line[w] = static_cast<float>(in[w]);
            for (int64_t w = end; w < length; ++w) line[w] = 0;
        }
        deal<m>(row, count, out, ld);
        for (int j = m; j < n; ++j) {  // the overlap: what the next tile has at j - m
            std::memcpy(out + j * ld, out + (j - m) * ld + 1, sizeof(float) * (count - 1));
            out[j * ld + count - 1] = row[m * (count - 1) + j];
        }
    }
}

// The image's pixels (top + i, left + m t + j) = in[(i * m + j) * ld + t], those outside left out; rounded to T.
template <int m, class T>
INLINE void scatter(const float* in, int64_t ld, int64_t count, T* image, int H, int W, int64_t top, int64_t left,
                    float* line) {
    const int64_t length = least(m * count, W - left);
    for (int64_t i = 0; i < m && top + i < H; ++i, in += m * ld) {
        T* out = image + (top + i) * W + left;
        if (sizeof(T) == sizeof(float) && length == m * count) {
            merge<m>(in, ld, count, reinterpret_cast<float*>(out));
        } else {
            merge<m>(in, ld, count, line);
            for (int64_t w = 0; w < length; ++w) out[w] = static_cast<T>(line[w]);
        }
    }
}

INLINE int64_t tile_stride(const WinogradJob& job) { return (job.tiles + kLanes - 1) / kLanes * kLanes + kLanes; }
INLINE int64_t line_floats(const WinogradJob& job) {
    return (job.tile * job.tile_columns() + 2 + kLanes) / kLanes * kLanes + kLanes;
}

template <int m>
struct Size {
    static constexpr int value = m;
};

// f(Size<m>{}, T{}) for the tile size and the stored type of a job.
template <class F>
INLINE void with_job(const WinogradJob& job, const F& f) {
    auto typed = [&](auto m) {
        if (job.dtype == DType::float16) return f(m, Half{});
        if (job.dtype == DType::bfloat16) return f(m, BFloat16{});
        return f(m, float{});
    };
    if (job.tile == 2) return typed(Size<2>{});
    return typed(Size<4>{});
}

}  // namespace
