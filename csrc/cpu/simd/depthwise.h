// What the directions of a depthwise convolution share: source planes as kernels read them. There is no padding: rows
// outside of a plane are left out, and columns outside are lanes that are not loaded.
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

// Rows [begin, end) of the sources of a result plane: column u of row h at [h - begin][u % phases][u / phases].
struct Pixels {
    const float* first;
    int64_t plane, pitch, phase;  // floats from one to the next
    int64_t begin, end;
};

// Scratch of a band of the sources.
struct PixelLayout {
    bool converted, dealt;
    int64_t phase, pitch, plane, floats;  // `floats` with the converted rows of one plane

    PixelLayout(const DepthwiseJob& job, bool narrow)
        : converted(narrow),
          dealt(job.phases > 1),
          phase(dealt ? to_lanes((job.width + job.phases - 1) / job.phases) : job.width),
          pitch(job.phases * phase),
          plane(dealt || converted ? job.rows() * pitch : 0),
          floats(job.sources * plane + (dealt && converted ? job.rows() * job.width : 0) + 2 * kLanes) {}
};

// Row h of one phase each: out[u % 2][u / 2] = row[u].
INLINE void deal_row(const float* row, int64_t width, float* out, int64_t phase) {
    for (int64_t t = 0; 2 * t < width; t += kLanes) {
        Vec even, odd;
        deal_two(load(row + 2 * t, lanes_between(0, width - 2 * t)),
                 load(row + 2 * t + kLanes, lanes_between(0, width - 2 * t - kLanes)), even, odd);
        store(out + t, even);
        store(out + phase + t, odd);
    }
}

// What rows [row, row + count) of a phase of the result read from `planes`: the planes themselves, if they are float
// and their columns need not be dealt out; else a copy in scratch.
template <class T>
INLINE Pixels pixels_of(const DepthwiseJob& job, const T* planes, int64_t row, int64_t count, float* scratch) {
    constexpr bool narrow = sizeof(T) < sizeof(float);
    const int64_t height = job.height, width = job.width, phases = job.phases;
    const int64_t area = height * width;
    if (!narrow && phases == 1) return {reinterpret_cast<const float*>(planes), area, width, 0, 0, height};
    const PixelLayout layout(job, narrow);
    const int64_t begin = least(most(0, row * job.row_step + job.above), height);
    const int64_t end = least(most(begin, (row + count - 1) * job.row_step + job.below + 1), height);
    float* rows = scratch + job.sources * layout.plane;
    for (int64_t j = 0; j < job.sources; ++j) {
        const T* in = planes + j * area + begin * width;
        float* out = scratch + j * layout.plane;
        if (narrow) copy<kLanes>(phases == 1 ? out : rows, in, (end - begin) * width);
        if (phases == 1) continue;
        const float* from = narrow ? rows : reinterpret_cast<const float*>(in);
        for (int64_t h = begin; h < end; ++h, from += width, out += layout.pitch)
            if (phases == 2)
                deal_row(from, width, out, layout.phase);
            else
                for (int64_t u = 0; u < width; ++u) out[u % phases * layout.phase + u / phases] = from[u];
    }
    return {scratch, layout.plane, layout.pitch, layout.phase, begin, end};
}

// Columns of a phase.
INLINE int64_t width_of(const DepthwiseJob& job, int phase) {
    return (job.width - phase + job.phases - 1) / job.phases;
}

// f(T{}) for the stored type of a job.
template <class F>
INLINE void with_type(const DepthwiseJob& job, const F& f) {
    if (job.dtype == DType::float16) return f(Half{});
    if (job.dtype == DType::bfloat16) return f(BFloat16{});
    return f(float{});
}

}  // namespace
