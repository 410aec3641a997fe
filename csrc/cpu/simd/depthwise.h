// What the directions of a depthwise convolution share: copies of rows, and of a band of a plane into scratch.
#pragma once
#include "simd.h"
#include "tiles.h"
#include "vec.h"

namespace {

// out[i] = in[i], widened or rounded, in pieces of `width`, the last of which may overlap the one before.
template <int width, class Out, class In>
INLINE void copy(Out* out, const In* in, int64_t count) {
    if (count >= width) {
        auto piece = [&](int64_t at) INLINE_LAMBDA {
            Out values[width];
            for (int i = 0; i < width; ++i) values[i] = static_cast<Out>(in[at + i]);
            std::memcpy(out + at, values, sizeof values);
        };
        for (int64_t at = 0; at + width <= count; at += width) piece(at);
        if (count % width) piece(count - width);
    } else if constexpr (width > 1) {
        copy<width / 2>(out, in, count);
    }
}

INLINE int64_t to_lanes(int64_t count) { return (count + kLanes - 1) / kLanes * kLanes; }

// Rows from `row` of the result on, `count` of them rounded up to `held`: the band of `plane` that they read. What lies
// outside of the plane is zero; columns beyond those that are read stay as they are, zero from the start.
template <class T>
INLINE void fill(const DepthwiseWindow& window, const T* plane, int64_t row, int64_t count, int64_t held, float* pixels,
                 float* line) {
    const int64_t begin = most(0, -window.left), end = least(window.columns, window.width - window.left);
    const int64_t read = (count - 1) * window.row_step + window.rows;
    const int64_t all = (held - 1) * window.row_step + window.rows;
    const int64_t top = window.top + row * window.row_step;
    for (int64_t i = 0; i < all; ++i, pixels += window.pitch) {
        const int64_t h = top + i;
        if (h < 0 || h >= window.height || i >= read || begin >= end) {
            std::memset(pixels, 0, sizeof(float) * window.pitch);
            continue;
        }
        const T* in = plane + h * window.width + window.left + begin;
        if (window.phases == 1) {
            copy<kLanes>(pixels + begin, in, end - begin);
            continue;
        }
        copy<kLanes>(line + begin, in, end - begin);
        if (window.phases == 2) {
            deal<2>(line, window.phase, pixels, window.phase);
            continue;
        }
        for (int64_t u = begin; u < end; ++u) pixels[u % window.phases * window.phase + u / window.phases] = line[u];
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
