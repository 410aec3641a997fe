// dw of a depthwise convolution: a tap is the sum of the products of dy with x shifted by its offset. Each row of
// pixels in a register meets all rows of dy that a run of taps pairs it with.
//
//   totals     (results, taps, kLanes) in the order of the runs
//   line       one row of pixels before they are dealt to phases
//   pixels     (rows of a band, pitch)
//   gradients  (rows of a band, pitch): dy, with zeros up to whole vectors and register blocks
#include "depthwise.h"

namespace {

constexpr int kDown = kGradientRows;

struct Layout {
    int64_t totals, line, pixels, gradients;

    explicit Layout(const DepthwiseJob& job)
        : totals(int64_t(job.results) * job.taps * kLanes),
          line(to_lanes(job.source.pitch) + 4 * kLanes),
          pixels(to_lanes(job.source.floats())),
          gradients(to_lanes(job.gradient.floats())) {}
};

// totals[r] += sum over rows p and columns q of dy[p][q] x[p + r][q].
template <int length>
INLINE void add_products(const DepthwiseJob& job, int64_t rows, const float* x, const float* dy, float* totals) {
    // Several sums a tap, so that an addition need not wait for the one before.
    constexpr int chains = length <= 3 ? 4 : 2;
    const int64_t step = job.source.row_step * job.source.pitch, pitch = job.gradient.pitch;
    Vec sum[length][chains] = {};
    for (int64_t p = 0; p < rows; p += kDown, x += kDown * step, dy += kDown * pitch)
        for (int64_t q = 0; q < job.Q; q += kLanes) {
            Vec gradient[kDown];
#pragma GCC unroll 4
            for (int o = 0; o < kDown; ++o) gradient[o] = load(dy + o * pitch + q);
#pragma GCC unroll 16
            for (int i = 0; i < kDown + length - 1; ++i) {
                const Vec pixels = in_register(load(x + i * step + q));
#pragma GCC unroll 8
                for (int r = 0; r < length; ++r)
                    if (i - r >= 0 && i - r < kDown) sum[r][(i - r) % chains] += pixels * gradient[i - r];
            }
        }
#pragma GCC unroll 8
    for (int r = 0; r < length; ++r) {
        Vec total = sum[r][0];
        for (int i = 1; i < chains; ++i) total += sum[r][i];
        store(totals + r * kLanes, load(totals + r * kLanes) + total);
    }
}

template <int length>
INLINE void add_runs(const DepthwiseJob& job, int64_t rows, const float* x, const float* dy, float* totals) {
    const DepthwiseRuns& phase = job.runs[0];
    for (int i = phase.end[length + 1]; i < phase.end[length]; ++i)
        add_products<length>(job, rows, x + phase.runs[i].offset, dy, totals + phase.runs[i].first * kLanes);
    if constexpr (length > 1) add_runs<length - 1>(job, rows, x, dy, totals);
}

template <class T>
void gradient_of(const DepthwiseJob& job, int64_t channel, int64_t begin, int64_t end, float* sums, float* scratch) {
    const Layout layout(job);
    float* totals = scratch;
    float* line = totals + layout.totals;
    float* pixels = line + layout.line;
    float* gradients = pixels + layout.pixels;
    std::memset(totals, 0, sizeof(float) * layout.totals);
    for (int64_t image = begin; image < end; ++image) {
        const int64_t plane = image * job.channels + channel;
        const T* x = static_cast<const T*>(job.x) + plane * job.source.height * job.source.width;
        for (int64_t first = 0; first < job.P; first += job.band) {
            const int64_t count = least(job.band, job.P - first), held = (count + kDown - 1) / kDown * kDown;
            fill(job.source, x, first, count, held, pixels, line);
            for (int64_t j = 0; j < job.results; ++j) {
                const T* dy = static_cast<const T*>(job.y) + (plane * job.results + j) * job.P * job.Q;
                fill(job.gradient, dy, first, count, held, gradients, line);
                add_runs<kLongestRun>(job, held, pixels, gradients, totals + j * job.taps * kLanes);
            }
        }
    }
    for (int64_t j = 0; j < job.results; ++j)
        for (int i = 0; i < job.taps; ++i, totals += kLanes) {
            float total = 0;
            for (int l = 0; l < kLanes; ++l) total += totals[l];
            sums[j * job.taps + job.order[i]] = total;
        }
}

}  // namespace

namespace GPUCNN_ISA {

void depthwise_gradient(const DepthwiseJob& job, int64_t channel, int64_t first, int64_t last, float* sums,
                        float* scratch) {
    with_type(job, [&](auto t) { gradient_of<decltype(t)>(job, channel, first, last, sums, scratch); });
}

int64_t depthwise_gradient_scratch(const DepthwiseJob& job) {
    const Layout layout(job);
    return layout.totals + layout.line + layout.pixels + layout.gradients;
}

}  // namespace GPUCNN_ISA
