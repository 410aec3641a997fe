// What the directions of a depthwise convolution share: the copy of the sources, padded with zeros, that kernels read
// (simd.h). No kernel meets an edge: each tap reads whole vectors, at one distance from the result.
#pragma once
#include <type_traits>

#include "simd.h"
#include "tiles.h"
#include "vec.h"

namespace {

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
    const Vec zero = keep(Vec{});
    for (int64_t u = begin; u < end; u += kLanes) store(out + u, zero);
}

// Copies rows of `width` values, dealt out to phases of `length` floats each, with zeros behind the pixels.
template <int phases>
class RowCopy {
  public:
    INLINE RowCopy(int64_t width, int64_t length)
        : width(width), length(length), vectors((width + phases * kLanes - 1) / (phases * kLanes)) {
        for (int j = 0; j < phases; ++j)
            last[j] = lanes_between(0, width - phases * (vectors - 1) * kLanes - j * kLanes);
    }

    // out[h][u % phases][u / phases] = in[h][u], h < count
    template <class T>
    INLINE void operator()(const T* in, int64_t count, float* out, float* line) const {
        if constexpr (std::is_same_v<T, float>)
            if (length == vectors * kLanes) {
                if (vectors == 1) return short_rows<1>(in, count, out);
                if (vectors == 2) return short_rows<2>(in, count, out);
                if (vectors == 4) return short_rows<4>(in, count, out);
            }
        for (int64_t h = 0; h < count; ++h, in += width) {
            const float* row = as_floats(in, width, line);
            for (int64_t t = 1; t < vectors; ++t, row += phases * kLanes, out += kLanes) put(pieces(row), out);
            put(pieces(row, last), out);
            out -= (vectors - 1) * kLanes;
            for (int j = 0; j < phases; ++j, out += length)
                if (vectors * kLanes < length) zeros(out, vectors * kLanes, length);
        }
    }

  private:
    struct Pieces {
        Vec of[phases];
    };

    INLINE Pieces pieces(const float* row) const {
        Pieces in;
        for (int j = 0; j < phases; ++j) in.of[j] = load(row + j * kLanes);
        return in;
    }
    INLINE Pieces pieces(const float* row, const Lanes* lanes) const {
        Pieces in;
        for (int j = 0; j < phases; ++j) in.of[j] = load(row + j * kLanes, lanes[j]);
        return in;
    }

    INLINE void put(const Pieces& in, float* out) const {
        if constexpr (phases == 1) {
            store(out, in.of[0]);
        } else {
            static_assert(phases == 2, "other strides are copied one by one");
            Vec even, odd;
            deal_two(in.of[0], in.of[1], even, odd);
            store(out, even);
            store(out + length, odd);
        }
    }

    // Where a loop over a few vectors would cost as much as they do.
    template <int count>
    INLINE void short_rows(const float* in, int64_t rows, float* out) const {
        for (int64_t h = 0; h < rows; ++h, in += width, out += phases * count * kLanes) {
            for (int t = 0; t < count - 1; ++t) put(pieces(in + phases * t * kLanes), out + t * kLanes);
            put(pieces(in + phases * (count - 1) * kLanes, last), out + (count - 1) * kLanes);
        }
    }

    int64_t width, length, vectors;
    Lanes last[phases];
};

// The copy of what the result rows from `first` on read from `count` source planes.
template <class T>
INLINE void copy_sources(const DepthwiseJob& job, const T* in, int64_t count, int64_t first, float* out, float* line) {
    const int64_t height = job.height, width = job.width, phases = job.phases, pitch = job.pitch(), rows = job.rows;
    const int64_t top = first * job.row_step + job.above;  // row 0 of the copy
    const int64_t begin = least(rows, most(0, -top)), end = most(begin, least(rows, height - top));
    const RowCopy<1> row(width, pitch);
    const RowCopy<2> dealt(width, job.segment);
    in += (top + begin) * width;
    for (int64_t j = 0; j < count; ++j, in += height * width, out += rows * pitch) {
        float* to = out + begin * pitch;
        zeros(out, 0, begin * pitch);
        zeros(out, end * pitch, rows * pitch);
        if (phases == 1) {
            row(in, end - begin, to, line);
        } else if (phases == 2) {
            dealt(in, end - begin, to, line);
        } else {
            zeros(out, begin * pitch, end * pitch);
            for (int64_t h = 0; h < end - begin; ++h, to += pitch)
                for (int64_t u = 0; u < width; ++u)
                    to[u % phases * job.segment + u / phases] = static_cast<float>(in[h * width + u]);
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
