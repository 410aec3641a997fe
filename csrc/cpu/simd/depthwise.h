// What the directions of a depthwise convolution share: copies of rows, and of a band of a plane into scratch.
#pragma once
#include "simd.h"
#include "tiles.h"
#include "vec.h"

namespace {

// out[i] = in[i], widened or rounded, i < width.
template <int width, class Out, class In>
INLINE void copy_piece(Out* out, const In* in) {
    if constexpr (sizeof(Out) == sizeof(In)) {
        std::memcpy(out, in, sizeof(Out) * width);
    } else {
        Out values[width];
        for (int i = 0; i < width; ++i) values[i] = static_cast<Out>(in[i]);
        std::memcpy(out, values, sizeof values);
    }
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

INLINE int64_t to_lanes(int64_t count) { return (count + kLanes - 1) / kLanes * kLanes; }

// Rows from `row` of the result on, `count` of them rounded up to `held`: the band of `plane` that they read. What lies
// outside of the plane is zero; columns beyond those that are read stay as they are, zero from the start.
template <class T>
INLINE void fill(const DepthwiseWindow& window, const T* plane, int64_t row, int64_t count, int64_t held, float* pixels,
                 float* line) {
    // Copies: the compiler must assume that stores to scratch change what `window` refers to.
    const int64_t begin = most(0, -window.left), length = least(window.columns, window.width - window.left) - begin;
    const int64_t read = (count - 1) * window.row_step + window.rows, all = read + (held - count) * window.row_step;
    const int64_t top = window.top + row * window.row_step, height = window.height, width = window.width;
    const int64_t phases = window.phases, phase = window.phase, pitch = window.pitch;
    for (int64_t i = 0; i < all; ++i, pixels += pitch) {
        const T* in = plane + ((top + i) * width + window.left + begin);
        if (top + i < 0 || top + i >= height || i >= read || length <= 0) {
            std::memset(pixels, 0, sizeof(float) * pitch);
        } else if (phases == 1) {
            copy<kLanes>(pixels + begin, in, length);
        } else {
            copy<kLanes>(line + begin, in, length);
            if (phases == 2)
                deal<2>(line, phase, pixels, phase);
            else
                for (int64_t u = begin; u < begin + length; ++u) pixels[u % phases * phase + u / phases] = line[u];
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
