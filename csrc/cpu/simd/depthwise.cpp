// Depthwise convolution as sums of shifted rows (fwd, dgrad). A block of rows of results, one vector wide, is summed in
// registers; each row of pixels is loaded once for all taps of a run that read it.
//
//   taps     of one result plane, in float: 16-bit types only
//   line     one row of a source or a result
//   staged   (rows of a block, phases of the result, columns): strides of dgrad, 16-bit types
//   pixels   the copy of the sources of a group of planes (simd.h)
#include "depthwise.h"

namespace {

struct Layout {
    bool staged;
    int64_t columns;  // of a staged row
    int64_t line, rows, lead, pixels, floats;

    explicit Layout(const DepthwiseJob& job)
        : staged(job.stride_h > 1 || job.stride_w > 1 || size_of(job.dtype) < 4),
          columns(to_lanes(job.Q)),
          line(to_lanes(job.taps)),
          rows(line + most(to_lanes(job.width), job.phases_w * columns)),
          lead(rows + (staged ? int64_t(job.block) * job.phases_h * job.phases_w * columns : 0)),
          pixels(lead + job.lead),
          floats(pixels + job.group * job.plane() + kLanes) {}
};

// sum[o] += in[o + r] taps[r], rows being `pitch` floats apart and taps `step`.
template <int rows, int length>
INLINE void add_run(Vec (&sum)[rows], const float* in, int64_t pitch, const float* taps, int64_t step) {
    Vec tap[length];
#pragma GCC unroll 8
    for (int r = 0; r < length; ++r) tap[r] = taps[r * step] - Vec{};
#pragma GCC unroll 16
    for (int i = 0; i < rows + length - 1; ++i) {
        const Vec pixels = keep(load(in + i * pitch));
#pragma GCC unroll 8
        for (int r = 0; r < length; ++r)
            if (i - r >= 0 && i - r < rows) sum[i - r] += pixels * tap[r];
    }
}

// The runs of `length` and shorter ones.
template <int rows, int length>
INLINE void add_runs(Vec (&sum)[rows], const DepthwiseRuns& phase, const float* in, int64_t pitch, const float* taps) {
    for (int i = phase.end[length + 1]; i < phase.end[length]; ++i) {
        const DepthwiseRun& run = phase.runs[i];
        add_run<rows, length>(sum, in + run.offset, pitch, taps + run.first, run.tap_step);
    }
    if constexpr (length > 1) add_runs<rows, length - 1>(sum, phase, in, pitch, taps);
}

// `count` rows of `columns` results, count <= rows, into out (count, out_pitch), with bias, not below floor.
template <int rows>
INLINE void add_block(const DepthwiseRuns& phase, const float* in, int64_t pitch, const float* taps, int64_t count,
                      int64_t columns, Lanes last, float bias, float floor, float* out, int64_t out_pitch) {
    const Vec least_value = floor - Vec{};
    const Lanes whole = lanes_between(0, kLanes);
    for (int64_t q = 0; q < columns; q += kLanes) {
        Vec sum[rows] = {};
        add_runs<rows, kLongestRun>(sum, phase, in + q, pitch, taps);
        const Lanes lanes = q + kLanes < columns ? whole : last;
        float* to = out + q;
#pragma GCC unroll 8
        for (int o = 0; o < rows; ++o, to += out_pitch) {
            if (o >= count) break;
            sum[o] += bias;
            store(to, sum[o] < least_value ? least_value : sum[o], lanes);  // a NaN stays
        }
    }
}

// out[u] = phases[u % 2][u / 2], rounded, u < width; phases (2, columns).
template <class T>
INLINE void merge_row(const float* phases, int64_t columns, T* out, int64_t width, float* line) {
    if constexpr (!std::is_same_v<T, float>) {
        merge<2>(phases, columns, columns, line);
        copy<kLanes>(out, line, width);
    } else {
        for (int64_t u = 0; u < width; u += 2 * kLanes, phases += kLanes) {
            Vec a, b;
            merge_two(load(phases), load(phases + columns), a, b);
            if (u + 2 * kLanes <= width) {
                store(out + u, a);
                store(out + u + kLanes, b);
            } else {
                store(out + u, a, lanes_between(0, width - u));
                store(out + u + kLanes, b, lanes_between(0, width - u - kLanes));
            }
        }
    }
}

template <class T, int rows>
void unit_of(const DepthwiseJob& shared, int64_t unit, float* scratch) {
    const DepthwiseJob job = shared;  // stays in registers: the compiler knows that no store changes it
    const Layout layout(job);
    const int64_t first = unit % job.bands() * job.band, count = least(job.band, job.P - first);
    const int64_t begin = unit / job.bands() * job.group, end = least(begin + job.group, job.planes);
    const int64_t area = int64_t(job.height) * job.width, width = job.W, phases = job.phases_w;
    const int64_t row = phases * layout.columns;  // of staged results
    const int64_t pitch = job.row_step * job.pitch();
    const Lanes last = lanes_between(0, (job.Q - 1) % kLanes + 1);
    const float floor = job.relu ? 0.0f : -__builtin_inff();
    float* pixels = scratch + layout.pixels;
    float* staged = scratch + layout.rows;
    float* line = scratch + layout.line;
    zeros(scratch, layout.lead, layout.pixels);
    copy_sources(job, static_cast<const T*>(job.x) + begin * job.sources * area, (end - begin) * job.sources, first,
                 pixels, line);
    zeros(pixels, (end - begin) * job.plane(), (end - begin) * job.plane() + kLanes);
    int64_t k = begin % job.channels * job.results;  // the filter
    for (int64_t plane = begin; plane < end; ++plane, pixels += job.plane()) {
        for (int64_t j = 0; j < job.results; ++j, ++k) {
            const float* taps = as_floats(static_cast<const T*>(job.w) + k * job.taps, job.taps, scratch);
            const float bias = job.bias ? static_cast<float>(static_cast<const T*>(job.bias)[k]) : 0;
            T* y = static_cast<T*>(job.y) + (plane * job.results + j) * job.H * width + first * job.stride_h * width;
            for (int64_t p = 0; p < count; p += rows) {
                const int64_t here = least(rows, count - p);
                T* to = y + p * job.stride_h * width;
                for (int a = 0; a < job.phases_h; ++a)
                    for (int b = 0; b < phases; ++b) {
                        float* out = staged + a * row + b * layout.columns;
                        int64_t out_pitch = job.phases_h * row;
                        if constexpr (std::is_same_v<T, float>)
                            if (!layout.staged) out = to, out_pitch = width;
                        add_block<rows>(job.runs[a * phases + b], pixels + p * pitch, pitch, taps, here, job.Q, last,
                                        bias, floor, out, out_pitch);
                    }
                if (!layout.staged) continue;
                const int64_t lines = least(here * job.stride_h, job.H - (first + p) * job.stride_h);
                const float* from = staged;
                for (int64_t h = 0; h < lines; ++h, from += row, to += width) {
                    if (phases == 1)
                        copy<kLanes>(to, from, width);
                    else if (phases == 2)
                        merge_row(from, layout.columns, to, width, line);
                    else
                        for (int64_t u = 0; u < width; ++u)
                            to[u] = static_cast<T>(from[u % phases * layout.columns + u / phases]);
                }
            }
        }
        if (k == int64_t(job.channels) * job.results) k = 0;
    }
}

}  // namespace

namespace GPUCNN_ISA {

void depthwise_unit(const DepthwiseJob& job, int64_t unit, float* scratch) {
    with_type(
        job, [&](auto t) { (job.block == 7 ? unit_of<decltype(t), 7> : unit_of<decltype(t), 8>)(job, unit, scratch); });
}

int64_t depthwise_scratch(const DepthwiseJob& job) { return Layout(job).floats; }

}  // namespace GPUCNN_ISA
