// What the directions of a depthwise convolution share: the copy of the sources, padded with zeros, that kernels read
// (simd.h). No kernel meets an edge: each tap reads whole vectors, at one distance from the result.
#pragma once
#include <type_traits>

#include "simd.h"
#include "tiles.h"
#include "vec.h"

namespace {

INLINE int64_t to_lanes(int64_t count) { return (count + kLanes - 1) / kLanes * kLanes; }

// out[i] = in[i], widened or rounded, i < width.
template <int width, class Out, class In>
INLINE void copy_piece(Out* out, const In* in) {
    Out values[width];
    for (int i = 0; i < width; ++i) values[i] = static_cast<Out>(in[i]);
    std::memcpy(out, values, sizeof values);
}

// out[i] = in[i], widened or rounded, in pieces of `width`, the last of which may overlap the one before.
template <int width, class Out, class In>
INLINE void copy(Out* out, const In* in, int64_t count) {
    if (count >= width) {
        for (int64_t at = 0; at + width <= count; at += width) copy_piece<width>(out + at, in + at);
        if (count % width) copy_piece<width>(out + count - width, in + count - width);
    } else if constexpr (width > 1) {
        copy<width / 2>(out, in, count);
    }
}

// `count` values as float: where they lie if they are, else in `line`.
template <class T>
INLINE const float* as_floats(const T* in, int64_t count, float* line) {
    if constexpr (std::is_same_v<T, float>) return in;
    copy<kLanes>(line, in, count);
    return line;
}

INLINE void zeros(float* out, int64_t begin, int64_t end) {
    for (int64_t u = begin; u < end; u += kLanes) store(out + u, Vec{});
}

// out (length) = row (width), and zeros behind it.
INLINE void pad_row(const float* row, int64_t width, float* out, int64_t length) {
    int64_t u = 0;
    for (; u + kLanes <= width; u += kLanes) store(out + u, load(row + u));
    if (u < width) {
        store(out + u, load(row + u, lanes_between(0, width - u)));
        u += kLanes;
    }
    zeros(out, u, length);
}

// out (2, length): out[u % 2][u / 2] = row[u], and zeros behind them.
INLINE void deal_row(const float* row, int64_t width, float* out, int64_t length) {
    int64_t t = 0;
    for (; 2 * t < width; t += kLanes) {
        Vec even, odd;
        if (2 * (t + kLanes) <= width)
            deal_two(load(row + 2 * t), load(row + 2 * t + kLanes), even, odd);
        else
            deal_two(load(row + 2 * t, lanes_between(0, width - 2 * t)),
                     load(row + 2 * t + kLanes, lanes_between(0, width - 2 * t - kLanes)), even, odd);
        store(out + t, even);
        store(out + length + t, odd);
    }
    zeros(out, t, length);
    zeros(out + length, t, length);
}

// The copy of what the result rows from `first` on read from the sources of one plane.
template <class T>
INLINE void copy_sources(const DepthwiseJob& job, const T* plane, int64_t first, float* out, float* line) {
    const int64_t height = job.height, width = job.width, pitch = job.pitch();
    const int64_t top = first * job.row_step + job.above;
    for (int64_t j = 0; j < job.sources; ++j, plane += height * width)
        for (int64_t h = top; h < top + job.rows; ++h, out += pitch) {
            if (h < 0 || h >= height) {
                zeros(out, 0, pitch);
                continue;
            }
            const float* row = as_floats(plane + h * width, width, line);
            if (job.phases == 1) {
                pad_row(row, width, out, pitch);
            } else if (job.phases == 2) {
                deal_row(row, width, out, job.segment);
            } else {
                zeros(out, 0, pitch);
                for (int64_t u = 0; u < width; ++u) out[u % job.phases * job.segment + u / job.phases] = row[u];
            }
        }
}

// f(T{}) for the stored type of a job.
template <class F>
INLINE void with_type(const DepthwiseJob& job, const F& f) {
    if (job.dtype == DType::float16) return f(Half{});
    if (job.dtype == DType::bfloat16) return f(BFloat16{});
    return f(float{});
}

}  // namespace
