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

INLINE int64_t to_lanes(int64_t count) { return (count + kLanes - 1) / kLanes * kLanes; }

// out[j * ld + t] = row[m t + j] for t < count, j < m; count in whole vectors.
template <int m>
INLINE void deal(const float* row, int64_t count, float* out, int64_t ld) {
    for (int64_t t = 0; t < count; t += kLanes) {
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
}

// row[m t + j] = in[j * ld + t] for t < count, j < m; count in whole vectors.
template <int m>
INLINE void merge(const float* in, int64_t ld, int64_t count, float* row) {
    for (int64_t t = 0; t < count; t += kLanes) {
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
}

// Tiles next to each other in one tile row: `length` of them, the first of which is number `at` of its block.
struct Run {
    int64_t image, row, column, at, length;  // row and column count tiles
};

// The tiles [first, first + count) of a job as runs.
struct Runs {
    Run run[kMostTiles];
    int size = 0;
    int64_t count;

    Runs(const WinogradJob& job, int64_t first, int64_t tiles) : count(tiles) {
        const int64_t columns = job.tile_columns(), rows = job.tile_rows();
        for (int64_t at = 0; at < count; at += run[size++].length) {
            const int64_t tile = first + at, length = least(columns - tile % columns, count - at);
            run[size] = {tile / columns / rows, tile / columns % rows, tile % columns, at, length};
        }
    }
};

// out[w] = in[w] for w in [begin, end), 0 for the rest of [0, length), and for up to a vector beyond.
template <class T>
INLINE void copy_padded(const T* in, int64_t begin, int64_t end, int64_t length, float* out) {
    if constexpr (sizeof(T) == sizeof(float)) {
        const float* floats = reinterpret_cast<const float*>(in);
        for (int64_t w = 0; w < length; w += kLanes)
            store(out + w, load(floats + w, lanes_between(begin - w, end - w)));
    } else {
        std::memset(out, 0, sizeof(float) * to_lanes(length));
        for (int64_t w = begin; w < end; ++w) out[w] = static_cast<float>(in[w]);
    }
}

// out[(i * n + j) * ld + t] = pixel (i, j) of tile t, 0 outside of its image: n x n pixels whose first is that of tile
// (row, column) at (m row - pad_h, m column - pad_w). `line` holds line_floats.
template <int m, int n, class T>
INLINE void gather(const Runs& runs, const T* images, int64_t image_stride, int H, int W, int pad_h, int pad_w,
                   float* out, int64_t ld, float* line) {
    const int64_t whole = to_lanes(runs.count);
    for (int i = 0; i < n; ++i, out += n * ld) {
        float beyond[n - m + 1][kMostTiles];  // of each run: the pixels of its last tile that no next one has
        const float* row = line;
        for (int r = 0; r < runs.size; ++r) {
            const Run& run = runs.run[r];
            const int64_t h = run.row * m - pad_h + i, left = run.column * m - pad_w, length = m * run.length;
            const bool inside = h >= 0 && h < H;
            const T* in = images + run.image * image_stride + h * W + left;
            const int64_t begin = inside ? most(0, -left) : length, end = inside ? least(length, W - left) : 0;
            for (int j = 0; j < n - m; ++j) {
                const int64_t w = length + j;
                beyond[j][r] = inside && w >= begin && w < W - left ? static_cast<float>(in[w]) : 0.0f;
            }
            if (sizeof(T) == sizeof(float) && begin == 0 && end == m * whole)
                row = reinterpret_cast<const float*>(in);  // the only run, and all of it inside
            else
                copy_padded(in, begin, end, length, line + m * run.at);
        }
        deal<m>(row, whole, out, ld);
        for (int j = m; j < n; ++j) {  // the overlap: what the next tile has at j - m
            for (int64_t t = 0; t < whole; t += kLanes) store(out + j * ld + t, load(out + (j - m) * ld + t + 1));
            for (int r = 0; r < runs.size; ++r)
                out[j * ld + runs.run[r].at + runs.run[r].length - 1] = beyond[j - m][r];
        }
    }
}

// The pixels (i, j) of the m x m ones of tile t of images of P x Q = in[(i * m + j) * ld + t], those outside left out;
// rounded to T.
template <int m, class T>
INLINE void scatter(const Runs& runs, const float* in, int64_t ld, T* images, int64_t image_stride, int P, int Q,
                    float* line) {
    const int64_t whole = to_lanes(runs.count);
    for (int64_t i = 0; i < m; ++i, in += m * ld) {
        const Run& only = runs.run[0];
        T* first = images + only.image * image_stride + (only.row * m + i) * Q + only.column * m;
        if (sizeof(T) == sizeof(float) && only.length == whole && only.column * m + m * whole <= Q) {
            if (only.row * m + i < P) merge<m>(in, ld, whole, reinterpret_cast<float*>(first));
            continue;
        }
        merge<m>(in, ld, whole, line);
        for (int r = 0; r < runs.size; ++r) {
            const Run& run = runs.run[r];
            if (run.row * m + i >= P) continue;
            T* to = images + run.image * image_stride + (run.row * m + i) * Q + run.column * m;
            const int64_t length = least(m * run.length, Q - run.column * m);
            const float* from = line + m * run.at;
            if constexpr (sizeof(T) == sizeof(float)) {
                for (int64_t w = 0; w < length; w += kLanes)
                    store(reinterpret_cast<float*>(to) + w, load(from + w), lanes_between(0, length - w));
            } else {
                for (int64_t w = 0; w < length; ++w) to[w] = static_cast<T>(from[w]);
            }
        }
    }
}

INLINE int64_t tile_stride(const WinogradJob& job) { return to_lanes(job.tiles) + kLanes; }
INLINE int64_t line_floats(const WinogradJob& job) { return job.tile * to_lanes(job.tiles) + kLanes; }

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
