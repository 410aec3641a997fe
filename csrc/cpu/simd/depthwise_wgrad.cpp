// dw of a depthwise convolution: a tap is the sum of the products of dy with x shifted. A block of rows of dy, one
// vector wide, stays in registers for several runs of taps, and each row of pixels meets all rows of it that a run
// pairs it with.
//
//   totals     (results, taps, kLanes)
//   line       one row of x or dy
//   gradients  (images of a group, results, rows of a band, columns of dy in whole vectors) of dy, padded with zeros
//   pixels     the copy of x (simd.h) of a group of images
#include "depthwise.h"

namespace {

constexpr int kSums = kLanes == 16 ? 15 : 10;  // vectors, in registers

// Runs of a length that are summed together.
constexpr int runs_together(int length) { return kSums / length < 3 ? kSums / length : 3; }

struct Layout {
    int64_t columns, gradient_plane;  // of dy
    int64_t line, gradients, lead, pixels, floats;

    explicit Layout(const DepthwiseJob& job)
        : columns(to_lanes(job.Q)),
          gradient_plane(job.band * columns),
          line(int64_t(job.results) * job.taps * kLanes),
          gradients(line + most(to_lanes(job.width), columns)),
          lead(gradients + job.group * job.results * gradient_plane),
          pixels(lead + job.lead),
          floats(pixels + job.group * job.plane() + kLanes) {}
};

// What one call sums over: `planes` of dy, from `dy` on, and what they meet.
struct Operands {
    const float *dy, *x;
    int64_t planes, dy_step, x_step;  // from one plane to the next
    int64_t rows, columns;            // of dy; as many rows as whole blocks have
    int64_t dy_pitch, x_pitch;        // from one row of dy to the next
};

// totals[r] += sum over planes, rows p and columns q of dy[p][q] x[p + r][q], for `count` runs of `length`.
template <int block, int length, int count>
__attribute__((noinline)) void add_products(const Operands& on, const DepthwiseRun* runs, float* totals) {
    // Several sums a tap where they are few, so that an addition need not wait for the one before.
    constexpr int spare = kSums / (length * count), chains = spare < 1 ? 1 : spare > 4 ? 4 : spare;
    const int64_t x_pitch = on.x_pitch, dy_pitch = on.dy_pitch;
    Vec sum[count][length][chains] = {};
    for (int64_t n = 0; n < on.planes; ++n)
        for (int64_t p = 0; p < on.rows; p += block)
            for (int64_t q = 0; q < on.columns; q += kLanes) {
                const float* dy = on.dy + n * on.dy_step + p * dy_pitch + q;
                const float* x = on.x + n * on.x_step + p * x_pitch + q;
                Vec gradient[block];
#pragma GCC unroll 8
                for (int o = 0; o < block; ++o) gradient[o] = keep(load(dy + o * dy_pitch));
#pragma GCC unroll 4
                for (int run = 0; run < count; ++run) {
                    const float* in = x + runs[run].offset;
#pragma GCC unroll 16
                    for (int i = 0; i < block + length - 1; ++i) {
                        const Vec pixels = keep(load(in + i * x_pitch));
#pragma GCC unroll 8
                        for (int r = 0; r < length; ++r)
                            if (i - r >= 0 && i - r < block) sum[run][r][(i - r) % chains] += pixels * gradient[i - r];
                    }
                }
            }
#pragma GCC unroll 4
    for (int run = 0; run < count; ++run)
#pragma GCC unroll 8
        for (int r = 0; r < length; ++r) {
            Vec total = sum[run][r][0];
            for (int i = 1; i < chains; ++i) total += sum[run][r][i];
            float* to = totals + (runs[run].first + r * runs[run].tap_step) * kLanes;
            store(to, load(to) + total);
        }
}

// The runs [begin, end) of `length`, `count` together and then what is left.
template <int block, int length, int count>
INLINE void add_together(const Operands& on, const DepthwiseRun* runs, int begin, int end, float* totals) {
    for (; begin + count <= end; begin += count) add_products<block, length, count>(on, runs + begin, totals);
    if constexpr (count > 1) add_together<block, length, count - 1>(on, runs, begin, end, totals);
}

template <int block, int length>
INLINE void add_runs(const Operands& on, const DepthwiseRuns& phase, float* totals) {
    add_together<block, length, runs_together(length)>(on, phase.runs, phase.end[length + 1], phase.end[length],
                                                       totals);
    if constexpr (length > 1) add_runs<block, length - 1>(on, phase, totals);
}

// The sum of the lanes, by halves.
template <int half = kLanes / 2>
INLINE float sum_of(Vec v) {
    typedef int32_t Index __attribute__((vector_size(4 * kLanes)));
    Index other;
    for (int l = 0; l < kLanes; ++l) other[l] = l ^ half;
    v += __builtin_shuffle(v, other);
    if constexpr (half > 1) return sum_of<half / 2>(v);
    return v[0];
}

template <class T>
void gradient_of(const DepthwiseJob& shared, int64_t channel, int64_t begin, int64_t end, float* sums, float* scratch) {
    const DepthwiseJob job = shared;  // stays in registers: the compiler knows that no store changes it
    const Layout layout(job);
    const int64_t taps = job.taps, area = int64_t(job.height) * job.width, P = job.P, Q = job.Q;
    const RowCopy<1> dy_row(Q, layout.columns);
    float* totals = scratch;
    float* line = scratch + layout.line;
    float* gradients = scratch + layout.gradients;
    float* pixels = scratch + layout.pixels;
    std::memset(totals, 0, sizeof(float) * job.results * taps * kLanes);
    zeros(scratch, layout.lead, layout.pixels);
    for (int64_t image = begin; image < end; image += job.group)
        for (int64_t first = 0; first < P; first += job.band) {
            const int64_t images = least(job.group, end - image), count = least(job.band, P - first);
            const int64_t rows = (count + job.block - 1) / job.block * job.block;
            for (int64_t n = 0; n < images; ++n) {
                const int64_t plane = (image + n) * job.channels + channel;
                copy_sources(job, static_cast<const T*>(job.x) + plane * area, 1, first, pixels + n * job.plane(),
                             line);
                for (int64_t j = 0; j < job.results; ++j) {
                    const T* dy = static_cast<const T*>(job.y) + ((plane * job.results + j) * P + first) * Q;
                    float* out = gradients + (n * job.results + j) * layout.gradient_plane;
                    dy_row(dy, count, out, line);
                    zeros(out, count * layout.columns, rows * layout.columns);
                }
            }
            zeros(pixels, images * job.plane(), images * job.plane() + kLanes);
            for (int64_t j = 0; j < job.results; ++j) {
                const Operands on = {gradients + j * layout.gradient_plane,
                                     pixels,
                                     images,
                                     job.results * layout.gradient_plane,
                                     job.plane(),
                                     rows,
                                     Q,
                                     layout.columns,
                                     job.row_step * job.pitch()};
                float* to = totals + j * taps * kLanes;
                if constexpr (kLanes < 16)
                    add_runs<4, kLongestRun>(on, job.runs[0], to);
                else if (job.block == 7)
                    add_runs<7, kLongestRun>(on, job.runs[0], to);
                else
                    add_runs<8, kLongestRun>(on, job.runs[0], to);
            }
        }
    for (int64_t i = 0; i < job.results * taps; ++i) sums[i] = sum_of(load(totals + i * kLanes));
}

}  // namespace

namespace GPUCNN_ISA {

void depthwise_gradient(const DepthwiseJob& job, int64_t channel, int64_t first, int64_t last, float* sums,
                        float* scratch) {
    with_type(job, [&](auto t) { gradient_of<decltype(t)>(job, channel, first, last, sums, scratch); });
}

int64_t depthwise_gradient_scratch(const DepthwiseJob& job) { return Layout(job).floats; }

}  // namespace GPUCNN_ISA
