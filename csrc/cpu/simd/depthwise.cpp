// Depthwise convolution as sums of shifted rows (fwd, dgrad). A block of rows of results, one vector wide, is summed in
// registers; each row of pixels is loaded once for all taps of a run that read it.
//
//   taps     in the order of the runs
//   pixels   a band of the sources (PixelLayout)
//   staged   (rows of a block, phases of the result, columns) and one row: strides of dgrad, 16-bit types
#include "depthwise.h"

namespace {

struct Layout {
    bool staged;
    int64_t taps, phase, rows, staged_floats;

    explicit Layout(const DepthwiseJob& job)
        : staged(job.stride_h > 1 || job.stride_w > 1 || size_of(job.dtype) < 4),
          taps(to_lanes(job.taps)),
          phase(to_lanes(job.Q)),
          rows(int64_t(job.block) * job.phases_h * job.phases_w * phase),
          staged_floats(staged ? rows + job.phases_w * phase : 0) {}
};

// sum[o] += in[row o + r] taps[r], for rows of pixels in [begin, end), the first of which is `row`.
template <bool inside, int rows, int length>
INLINE void add_run(Vec (&sum)[rows], const float* in, int64_t pitch, Lanes lanes, const float* taps, int64_t row,
                    int64_t step, int64_t begin, int64_t end) {
#pragma GCC unroll 16
    for (int i = 0; i < rows + length - 1; ++i) {
        if (!inside && (row + i * step < begin || row + i * step >= end)) continue;
        const Vec pixels = load(in + i * pitch, lanes);
#pragma GCC unroll 8
        for (int r = 0; r < length; ++r)
            if (i - r >= 0 && i - r < rows) sum[i - r] += pixels * taps[r];
    }
}

// The runs of `length` and shorter ones.
template <int rows, int length>
INLINE void add_runs(Vec (&sum)[rows], const DepthwiseJob& job, const DepthwiseRuns& phase, const Pixels& pixels,
                     const float* taps, int64_t p, int64_t q) {
    const int64_t step = job.row_step, pitch = step * pixels.pitch;
    for (int i = phase.end[length + 1]; i < phase.end[length]; ++i) {
        const DepthwiseRun& run = phase.runs[i];
        const int64_t row = p * step + run.row, column = q + run.column;
        const float* in = pixels.first + run.source * pixels.plane + (row - pixels.begin) * pixels.pitch +
                          run.phase * pixels.phase + column;
        const Lanes lanes = lanes_between(-column, width_of(job, run.phase) - column);
        if (row >= pixels.begin && row + (rows + length - 2) * step < pixels.end)
            add_run<true, rows, length>(sum, in, pitch, lanes, taps + run.first, row, step, pixels.begin, pixels.end);
        else
            add_run<false, rows, length>(sum, in, pitch, lanes, taps + run.first, row, step, pixels.begin, pixels.end);
    }
    if constexpr (length > 1) add_runs<rows, length - 1>(sum, job, phase, pixels, taps, p, q);
}

// Rows p to p + count of a phase of the result, count <= rows, into out (count, pitch), with bias, not below floor.
template <int rows>
__attribute__((noinline)) void block_of(const DepthwiseJob& job, const DepthwiseRuns& phase, const Pixels& pixels,
                                        const float* taps, int64_t p, int64_t count, float bias, float floor,
                                        float* out, int64_t pitch) {
    const Vec least_value = Vec{} + floor;
    for (int64_t q = 0, columns = job.Q; q < columns; q += kLanes) {
        Vec sum[rows] = {};
        add_runs<rows, kLongestRun>(sum, job, phase, pixels, taps, p, q);
        const Lanes lanes = lanes_between(0, columns - q);
#pragma GCC unroll 8
        for (int o = 0; o < rows; ++o) {
            if (o >= count) break;
            sum[o] += bias;
            store(out + o * pitch + q, sum[o] < least_value ? least_value : sum[o], lanes);  // a NaN stays
        }
    }
}

// Rows [first, first + count) of the phases of a plane of the result.
template <class T>
INLINE void plane_of(const DepthwiseJob& job, const Layout& layout, const Pixels& pixels, const float* taps, float bias,
                     int64_t first, int64_t count, T* out, float* staged) {
    const auto block = job.block == 7 ? block_of<7> : block_of<8>;
    const float floor = job.relu ? 0.0f : -__builtin_inff();
    const int64_t width = job.W, phases = job.phases_w, row = phases * layout.phase;  // of staged results
    for (int64_t p = first; p < first + count; p += job.block) {
        const int64_t here = least(job.block, first + count - p);
        T* to = out + p * job.stride_h * width;
        if constexpr (std::is_same_v<T, float>) {
            if (!layout.staged) {
                block(job, job.runs[0], pixels, taps, p, here, bias, floor, to, width);
                continue;
            }
        }
        for (int a = 0; a < job.phases_h; ++a)
            for (int b = 0; b < phases; ++b)
                block(job, job.runs[a * phases + b], pixels, taps, p, here, bias, floor,
                      staged + a * row + b * layout.phase, job.phases_h * row);
        float* line = staged + layout.rows;
        const int64_t last = least(here * job.stride_h, job.H - p * job.stride_h);
        for (int64_t h = 0; h < last; ++h, to += width) {
            const float* in = staged + (h / job.stride_h * job.phases_h + h % job.stride_h) * row;
            if (phases == 2)
                merge<2>(in, layout.phase, layout.phase, line);
            else if (phases > 2)
                for (int64_t u = 0; u < width; ++u) line[u] = in[u % job.stride_w * layout.phase + u / job.stride_w];
            copy<kLanes>(to, phases == 1 ? in : line, width);
        }
    }
}

template <class T>
void unit_of(const DepthwiseJob& job, int64_t unit, float* scratch) {
    const Layout layout(job);
    float* taps = scratch;
    float* staged = taps + layout.taps;
    float* copies = staged + layout.staged_floats;
    const int64_t first = unit % job.bands() * job.band, count = least(job.band, job.P - first);
    const int64_t begin = unit / job.bands() * job.planes_of_unit, end = least(begin + job.planes_of_unit, job.planes);
    for (int64_t plane = begin; plane < end; ++plane) {
        const T* x = static_cast<const T*>(job.x) + plane * job.sources * job.height * job.width;
        const Pixels pixels = pixels_of(job, x, first, count, copies);
        for (int64_t j = 0; j < job.results; ++j) {
            const int64_t k = plane % job.channels * job.results + j;
            const T* w = static_cast<const T*>(job.w) + k * job.taps;
            for (int i = 0; i < job.taps; ++i) taps[i] = static_cast<float>(w[job.order[i]]);
            const float bias = job.bias ? static_cast<float>(static_cast<const T*>(job.bias)[k]) : 0;
            T* y = static_cast<T*>(job.y) + (plane * job.results + j) * job.H * job.W;
            plane_of(job, layout, pixels, taps, bias, first, count, y, staged);
        }
    }
}

}  // namespace

namespace GPUCNN_ISA {

void depthwise_unit(const DepthwiseJob& job, int64_t unit, float* scratch) {
    with_type(job, [&](auto t) { unit_of<decltype(t)>(job, unit, scratch); });
}

int64_t depthwise_scratch(const DepthwiseJob& job) {
    const Layout layout(job);
    return layout.taps + layout.staged_floats + PixelLayout(job, size_of(job.dtype) < 4).floats;
}

}  // namespace GPUCNN_ISA
