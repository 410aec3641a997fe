// dw of a depthwise convolution: a tap is the sum of the products of dy with x shifted. Each row of pixels in a
// register meets all rows of dy that a run of taps pairs it with.
//
//   totals     (results, taps, kLanes) in the order of the runs
//   gradients  a band of dy in float: 16-bit types only
//   pixels     a band of x (PixelLayout)
#include "depthwise.h"

namespace {

constexpr int kDown = 4;  // rows of dy in registers

// sum[r] += dy[o] x[o + r], for the rows of x in [begin, end), the first of which is `row`, and the first `count` of
// dy.
template <bool inside, int length, int chains>
INLINE void add_block(Vec (&sum)[length][chains], const float* x, int64_t x_pitch, Lanes lanes, int64_t row,
                      int64_t step, int64_t begin, int64_t end, const float* dy, int64_t pitch, Lanes dy_lanes,
                      int64_t count) {
    Vec gradient[kDown] = {};
#pragma GCC unroll 4
    for (int o = 0; o < kDown; ++o)
        if (inside || o < count) gradient[o] = load(dy + o * pitch, dy_lanes);
#pragma GCC unroll 16
    for (int i = 0; i < kDown + length - 1; ++i) {
        if (!inside && (row + i * step < begin || row + i * step >= end)) continue;
        const Vec pixels = load(x + i * x_pitch, lanes);
#pragma GCC unroll 8
        for (int r = 0; r < length; ++r)
            if (i - r >= 0 && i - r < kDown && (inside || i - r < count))
                sum[r][(i - r) % chains] += pixels * gradient[i - r];
    }
}

// totals[r] += sum over `count` rows p from `first` on and all columns q of dy[p][q] x[p + r][q].
template <int length>
__attribute__((noinline)) void add_products(const DepthwiseJob& job, const DepthwiseRun& run, const Pixels& pixels,
                                            const float* dy, int64_t first, int64_t count, float* totals) {
    // Several sums a tap, so that an addition need not wait for the one before.
    constexpr int chains = length <= 3 ? 4 : 2;
    const int64_t step = job.row_step, pitch = step * pixels.pitch, Q = job.Q, width = width_of(job, run.phase);
    Vec sum[length][chains] = {};
    for (int64_t p = 0; p < count; p += kDown) {
        const int64_t row = (first + p) * step + run.row;
        const float* x = pixels.first + (row - pixels.begin) * pixels.pitch + run.phase * pixels.phase + run.column;
        const bool inside = p + kDown <= count && row >= pixels.begin && row + (kDown + length - 2) * step < pixels.end;
        for (int64_t q = 0; q < Q; q += kLanes) {
            const int64_t column = q + run.column;
            const Lanes lanes = lanes_between(-column, least(width - column, Q - q)),
                        dy_lanes = lanes_between(0, Q - q);
            if (inside)
                add_block<true, length, chains>(sum, x + q, pitch, lanes, row, step, pixels.begin, pixels.end,
                                                dy + p * Q + q, Q, dy_lanes, count - p);
            else
                add_block<false, length, chains>(sum, x + q, pitch, lanes, row, step, pixels.begin, pixels.end,
                                                 dy + p * Q + q, Q, dy_lanes, count - p);
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
INLINE void add_runs(const DepthwiseJob& job, const Pixels& pixels, const float* dy, int64_t first, int64_t count,
                     float* totals) {
    const DepthwiseRuns& phase = job.runs[0];
    for (int i = phase.end[length + 1]; i < phase.end[length]; ++i)
        add_products<length>(job, phase.runs[i], pixels, dy, first, count, totals + phase.runs[i].first * kLanes);
    if constexpr (length > 1) add_runs<length - 1>(job, pixels, dy, first, count, totals);
}

// The sum of the lanes, by halves.
INLINE float sum_of(Vec v) {
    typedef int32_t Index __attribute__((vector_size(4 * kLanes)));
#pragma GCC unroll 4
    for (int half = kLanes / 2; half > 0; half /= 2) {
        Index other;
        for (int l = 0; l < kLanes; ++l) other[l] = l ^ half;
        v += __builtin_shuffle(v, other);
    }
    return v[0];
}

template <class T>
void gradient_of(const DepthwiseJob& job, int64_t channel, int64_t begin, int64_t end, float* sums, float* scratch) {
    const int64_t taps = job.taps, area = int64_t(job.P) * job.Q;
    float* totals = scratch;
    float* gradients = totals + job.results * taps * kLanes;
    float* copies = gradients + int64_t(job.band) * job.Q;
    std::memset(totals, 0, sizeof(float) * job.results * taps * kLanes);
    for (int64_t image = begin; image < end; ++image) {
        const int64_t plane = image * job.channels + channel;
        const T* x = static_cast<const T*>(job.x) + plane * job.height * job.width;
        for (int64_t first = 0; first < job.P; first += job.band) {
            const int64_t count = least(job.band, job.P - first);
            const Pixels pixels = pixels_of(job, x, first, count, copies);
            for (int64_t j = 0; j < job.results; ++j) {
                const T* dy = static_cast<const T*>(job.y) + (plane * job.results + j) * area + first * job.Q;
                const float* gradient = gradients;
                if constexpr (std::is_same_v<T, float>)
                    gradient = dy;
                else
                    copy<kLanes>(gradients, dy, count * job.Q);
                add_runs<kLongestRun>(job, pixels, gradient, first, count, totals + j * taps * kLanes);
            }
        }
    }
    for (int64_t j = 0; j < job.results; ++j)
        for (int64_t i = 0; i < taps; ++i, totals += kLanes) sums[j * taps + job.order[i]] = sum_of(load(totals));
}

}  // namespace

namespace GPUCNN_ISA {

void depthwise_gradient(const DepthwiseJob& job, int64_t channel, int64_t first, int64_t last, float* sums,
                        float* scratch) {
    with_type(job, [&](auto t) { gradient_of<decltype(t)>(job, channel, first, last, sums, scratch); });
}

int64_t depthwise_gradient_scratch(const DepthwiseJob& job) {
    return int64_t(job.results) * job.taps * kLanes + int64_t(job.band) * job.Q +
           PixelLayout(job, size_of(job.dtype) < 4).floats;
}

}  // namespace GPUCNN_ISA
