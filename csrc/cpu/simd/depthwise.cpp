// Depthwise convolution in the form of a sum of shifted planes (fwd, dgrad). A block of rows of outputs, one vector
// wide, is summed in registers; each row of pixels is loaded once for all taps of a run that read it.
//
//   taps     in the order of the runs
//   line     one row: of pixels before they are dealt to phases, of results after they are merged
//   pixels   (sources, rows of a band, pitch)
//   staged   (rows of a band, phases of the result, columns): dgrad with strides only
#include "depthwise.h"

namespace {

struct Layout {
    bool staged;
    int64_t taps, line, pixels, phase;

    explicit Layout(const DepthwiseJob& job)
        : staged(job.stride_h > 1 || job.stride_w > 1),
          taps(to_lanes(job.taps)),
          line(to_lanes(most(job.source.pitch, job.W)) + 4 * kLanes * job.stride_w),
          pixels(job.source.floats()),
          phase(to_lanes(job.Q) + kLanes) {}
};

// sum[o] += in[row o + r] taps[r].
template <int rows, int length>
INLINE void add_run(Vec (&sum)[rows], const float* in, int64_t step, const float* taps) {
#pragma GCC unroll 16
    for (int i = 0; i < rows + length - 1; ++i) {
        const Vec pixels = in_register(load(in + i * step));
#pragma GCC unroll 8
        for (int r = 0; r < length; ++r)
            if (i - r >= 0 && i - r < rows) sum[i - r] += pixels * taps[r];
    }
}

template <int rows, int length>
INLINE void add_runs(Vec (&sum)[rows], const DepthwiseRuns& phase, const float* in, int64_t step, const float* taps) {
    for (int i = phase.end[length + 1]; i < phase.end[length]; ++i)
        add_run<rows, length>(sum, in + phase.runs[i].offset, step, taps + phase.runs[i].first);
    if constexpr (length > 1) add_runs<rows, length - 1>(sum, phase, in, step, taps);
}

// put(row, column, vector) for every vector of `count` rows of a phase; the last of a row may overlap the one before.
template <int rows, class Put>
INLINE void correlate(const DepthwiseJob& job, const DepthwiseRuns& phase, const float* pixels, const float* taps,
                      int64_t count, const Put& put) {
    const int64_t step = job.source.row_step * job.source.pitch, columns = job.Q, last = most(0, columns - kLanes);
    for (int64_t p = 0; p < count; p += rows, pixels += rows * step)
        for (int64_t q = 0; q < columns; q += kLanes) {
            const int64_t column = least(q, last);
            Vec sum[rows] = {};
            add_runs<rows, kLongestRun>(sum, phase, pixels + column, step, taps);
#pragma GCC unroll 8
            for (int o = 0; o < rows; ++o)
                if (p + o < count) put(p + o, column, sum[o]);
        }
}

template <int rows, class T>
INLINE void rows_of_plane(const DepthwiseJob& job, const Layout& layout, const float* pixels, const float* taps,
                          float bias, int64_t first, int64_t count, T* out, float* line, float* staged) {
    out += first * job.stride_h * job.W;
    if (!layout.staged) {
        // A vector of a row shorter than it is stored whole, too, where the rows below will overwrite the rest.
        const int64_t width = job.W;
        const int64_t last_whole = count * width - kLanes;
        const Vec floor = Vec{} + (job.relu ? 0.0f : -__builtin_inff());
        return correlate<rows>(job, job.runs[0], pixels, taps, count, [=](int64_t p, int64_t q, Vec sum) INLINE_LAMBDA {
            T* at = out + (p * width + q);
            sum += bias;
            sum = sum < floor ? floor : sum;  // a NaN stays
            float values[kLanes];
            store(values, sum);
            if (__builtin_expect(p * width + q <= last_whole, true))
                copy_piece<kLanes>(at, values);
            else
                copy<kLanes>(at, values, width - q);
        });
    }
    for (int a = 0; a < job.stride_h; ++a)
        for (int b = 0; b < job.stride_w; ++b)
            correlate<rows>(job, job.runs[a * job.stride_w + b], pixels, taps, count,
                            [&](int64_t p, int64_t q, Vec sum) INLINE_LAMBDA {
                                store(staged + ((p * job.stride_h + a) * job.stride_w + b) * layout.phase + q, sum);
                            });
    const int64_t all = least(count * job.stride_h, job.H - first * job.stride_h);
    for (int64_t h = 0; h < all; ++h, out += job.W, staged += job.stride_w * layout.phase) {
        if (job.stride_w == 2)
            merge<2>(staged, layout.phase, to_lanes(job.Q), line);
        else
            for (int64_t u = 0; u < job.W; ++u) line[u] = staged[u % job.stride_w * layout.phase + u / job.stride_w];
        copy<kLanes>(out, line, job.W);
    }
}

template <class T>
void unit_of(const DepthwiseJob& job, int64_t unit, float* scratch) {
    const Layout layout(job);
    float* taps = scratch;
    float* line = taps + layout.taps;
    float* result_line = line + layout.line;
    float* pixels = result_line + layout.line;
    float* staged = pixels + job.sources * layout.pixels;
    const int64_t first = unit % job.bands * job.band, count = least(job.band, job.P - first);
    const int64_t held = (count + job.block - 1) / job.block * job.block;
    const int64_t begin = unit / job.bands * job.planes_of_unit, end = least(begin + job.planes_of_unit, job.planes);
    for (int64_t plane = begin; plane < end; ++plane) {
        for (int64_t j = plane * job.sources; j < (plane + 1) * job.sources; ++j)
            fill(job.source, static_cast<const T*>(job.x) + j * job.source.height * job.source.width, first, count,
                 held, pixels + (j - plane * job.sources) * layout.pixels, line);
        for (int64_t j = 0; j < job.results; ++j) {
            const int64_t k = plane % job.channels * job.results + j;
            const T* w = static_cast<const T*>(job.w) + k * job.taps;
            for (int i = 0; i < job.taps; ++i) taps[i] = static_cast<float>(w[job.order[i]]);
            const float bias = job.bias ? static_cast<float>(static_cast<const T*>(job.bias)[k]) : 0;
            T* out = static_cast<T*>(job.y) + (plane * job.results + j) * job.H * job.W;
            if (job.block == 7)
                rows_of_plane<7>(job, layout, pixels, taps, bias, first, count, out, result_line, staged);
            else
                rows_of_plane<8>(job, layout, pixels, taps, bias, first, count, out, result_line, staged);
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
    return layout.taps + 2 * layout.line + job.sources * layout.pixels +
           (layout.staged ? job.band * job.stride_h * job.stride_w * layout.phase : 0);
}

}  // namespace GPUCNN_ISA
