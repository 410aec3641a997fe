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
    for (int r = 0; r < length; ++r) tap[r] = Vec{} + taps[r * step];
#pragma GCC unroll 16
    for (int i = 0; i < rows + length - 1; ++i) {
        const Vec pixels = load(in + i * pitch);
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

// `count` rows of a phase of the result, count <= rows, into out (count, out_pitch), with bias, not below floor.
template <int rows>
__attribute__((noinline)) void block_of(const DepthwiseJob& job, const DepthwiseRuns& phase, const float* in,
                                        const float* taps, int64_t count, float bias, float floor, float* out,
                                        int64_t out_pitch) {
    const Vec least_value = Vec{} + floor;
    const int64_t pitch = job.row_step * job.pitch();
    for (int64_t q = 0, columns = job.Q; q < columns; q += kLanes) {
        Vec sum[rows] = {};
        add_runs<rows, kLongestRun>(sum, phase, in + q, pitch, taps);
        const Lanes lanes = lanes_between(0, columns - q);
#pragma GCC unroll 8
        for (int o = 0; o < rows; ++o) {
            if (o >= count) break;
            sum[o] += bias;
            store(out + o * out_pitch + q, sum[o] < least_value ? least_value : sum[o], lanes);  // a NaN stays
        }
    }
}

// Rows [first, first + count) of the phases of a plane of the result.
template <class T>
INLINE void plane_of(const DepthwiseJob& job, const Layout& layout, const float* pixels, const float* taps, float bias,
                     int64_t first, int64_t count, T* out, float* scratch) {
    const auto block = job.block == 7 ? block_of<7> : block_of<8>;
    const float floor = job.relu ? 0.0f : -__builtin_inff();
    const int64_t width = job.W, phases = job.phases_w, row = phases * layout.columns;  // of staged results
    float* staged = scratch + layout.rows;
    float* line = scratch + layout.line;
    for (int64_t p = first; p < first + count; p += job.block) {
        const float* in = pixels + (p - first) * job.row_step * job.pitch();
        const int64_t here = least(job.block, first + count - p);
        T* to = out + p * job.stride_h * width;
        if constexpr (std::is_same_v<T, float>) {
            if (!layout.staged) {
                block(job, job.runs[0], in, taps, here, bias, floor, to, width);
                continue;
            }
        }
        for (int a = 0; a < job.phases_h; ++a)
            for (int b = 0; b < phases; ++b)
                block(job, job.runs[a * phases + b], in, taps, here, bias, floor, staged + a * row + b * layout.columns,
                      job.phases_h * row);
        const int64_t last = least(here * job.stride_h, job.H - p * job.stride_h);
        for (int64_t h = 0; h < last; ++h, to += width) {
            const float* from = staged + (h / job.stride_h * job.phases_h + h % job.stride_h) * row;
            if (phases == 2)
                merge<2>(from, layout.columns, layout.columns, line);
            else if (phases > 2)
                for (int64_t u = 0; u < width; ++u)
                    line[u] = from[u % job.stride_w * layout.columns + u / job.stride_w];
            copy<kLanes>(to, phases == 1 ? from : line, width);
        }
    }
}

template <class T>
void unit_of(const DepthwiseJob& job, int64_t unit, float* scratch) {
    const Layout layout(job);
    const int64_t first = unit % job.bands() * job.band, count = least(job.band, job.P - first);
    const int64_t begin = unit / job.bands() * job.group, end = least(begin + job.group, job.planes);
    const int64_t area = int64_t(job.height) * job.width;
    float* pixels = scratch + layout.pixels;
    zeros(scratch, layout.lead, layout.pixels);
    for (int64_t plane = begin; plane < end; ++plane)
        copy_sources(job, static_cast<const T*>(job.x) + plane * job.sources * area, first,
                     pixels + (plane - begin) * job.plane(), scratch + layout.line);
    zeros(pixels, (end - begin) * job.plane(), (end - begin) * job.plane() + kLanes);
    for (int64_t plane = begin; plane < end; ++plane, pixels += job.plane())
        for (int64_t j = 0; j < job.results; ++j) {
            const int64_t k = plane % job.channels * job.results + j;
            const float* taps = as_floats(static_cast<const T*>(job.w) + k * job.taps, job.taps, scratch);
            const float bias = job.bias ? static_cast<float>(static_cast<const T*>(job.bias)[k]) : 0;
            T* y = static_cast<T*>(job.y) + (plane * job.results + j) * job.H * job.W;
            plane_of(job, layout, pixels, taps, bias, first, count, y, scratch);
        }
}

}  // namespace

namespace GPUCNN_ISA {

void depthwise_unit(const DepthwiseJob& job, int64_t unit, float* scratch) {
    with_type(job, [&](auto t) { unit_of<decltype(t)>(job, unit, scratch); });
}

int64_t depthwise_scratch(const DepthwiseJob& job) { return Layout(job).floats; }

}  // namespace GPUCNN_ISA
