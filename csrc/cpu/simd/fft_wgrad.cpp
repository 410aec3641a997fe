// dw by FFT: dw = sum over tiles of the correlation of a tile of x with its tile of dy, so sums of X conj(DY) and one
// inverse transform for each pair of channels (and block of tiles, along rows).
//
// fft_gradient_columns and fft_gradient_multiply take a block of tiles each, as in fft.cpp; fft_gradient ends the work.
#include "fft_layout.h"

namespace {

// a[r][k] += sum over tiles t of x[t] conj(d[t][k]) for `rows` output channels k: x and d are (tile, pair), out is
// (k, pair) with stride out_k.
template <int rows>
void correlate(const float* x, const float* d, int64_t tiles, float* out, int64_t out_k) {
    Vec re[rows] = {}, im[rows] = {};
    for (int64_t t = 0; t < tiles; ++t, x += kPair, d += kPair) {
        const Vec x_re = load(x), x_im = load(x + kLanes);
        repeat<rows>([&](auto r) INLINE_LAMBDA {
            const float d_re = d[r], d_im = d[kLanes + r];
            re[r] += x_re * d_re;
            im[r] += x_im * d_re;
            re[r] += x_im * d_im;
            im[r] -= x_re * d_im;
        });
    }
    for (int r = 0; r < rows; ++r) store(out + r * out_k, re[r]), store(out + r * out_k + kLanes, im[r]);
}

using Correlate = void (*)(const float*, const float*, int64_t, float*, int64_t);

template <int... I>
INLINE Correlate correlate_of(int64_t rows, std::integer_sequence<int, I...>) {
    static constexpr Correlate table[] = {correlate<I + 1>...};
    return table[rows - 1];
}

// The same lane by lane: each output channel has one input channel.
INLINE void lane_correlate(const float* x, const float* d, int64_t tiles, float* out) {
    Vec re{}, im{};
    for (int64_t t = 0; t < tiles; ++t, x += kPair, d += kPair) {
        const Vec x_re = load(x), x_im = load(x + kLanes), d_re = load(d), d_im = load(d + kLanes);
        re += x_re * d_re + x_im * d_im;
        im += x_im * d_re - x_re * d_im;
    }
    store(out, re), store(out + kLanes, im);
}

// Rows of a block of tiles, transformed: out is (vector, v, tile, pair).
INLINE void rows_of(const FftJob& job, const Images& images, int64_t first, int64_t count, int64_t vectors,
                    const float* block, int64_t tile, float* out) {
    const Fft fft = fft_of(job.n_w);
    const int64_t out_v = (job.tiles + 1) * kPair;
    for (int64_t vector = 0; vector < vectors; ++vector)
        for (int64_t t = 0; t < count; ++t) {
            const Window window(job, images, first + t);
            const float* in = block + t * tile + vector * images.columns * kPair;
            float* to = out + vector * job.n_w * out_v + t * kPair;
            fft({in, in + kLanes, kPair, window.left, window.right}, {to, to + kLanes, out_v, 0, job.n_w});
        }
}

// Column sums (s, pair) = (or +=, where add) the inverse transform of a product (v, pair).
INLINE void sum_rows(const FftJob& job, bool add, const float* product, float* sums) {
    const Fft fft = fft_of(job.n_w);
    alignas(64) float line[kLongestFft * kPair];
    float* out = add ? line : sums;
    fft({product + kLanes, product, kPair, 0, job.n_w}, {out + kLanes, out, kPair, 0, job.S});
    for (int64_t i = 0; add && i < job.S * kPair; i += kLanes) store(sums + i, load(sums + i) + load(line + i));
}

template <class T>
void gradient_of(const FftJob& job, const FftLayout& layout, int64_t unit, const float* sums, float* scratch) {
    const int64_t row = unit / layout.sum_vectors, vector = unit % layout.sum_vectors, taps = int64_t(job.R) * job.S;
    const bool depthwise = job.depthwise();
    const float* in = sums + row * layout.sum_k + vector * job.S * kPair;
    const Fft fft = fft_of(job.n_h);
    for (int s = 0; s < job.S; s += 2) {
        float* a = scratch + s * kLanes;  // rows have a column to spare, which nothing reads
        join_columns(job.n_h, fft, in + s * kPair, layout.sum_u, s + 1 < job.S, a, a + kLanes, (job.S + 1) * kLanes, 0,
                     job.R);
    }
    // Lane l is input channel c + l of the group, where that exists.
    const int64_t group = depthwise ? 0 : row / job.Kg(), begin = depthwise ? 0 : group * job.Cg();
    const int64_t end = depthwise ? job.C : begin + job.Cg();
    const int64_t c = depthwise ? row * kLanes : (begin / kLanes + vector) * kLanes;
    const int64_t low = most(0, begin - c), high = least(kLanes, end - c);
    T* w = static_cast<T*>(job.w) + (depthwise ? 0 : row * job.Cg() - begin) * taps;
    T* planes[kLanes];
    for (int64_t l = low; l < high; ++l) planes[l] = w + (c + l) * taps;
    for (int64_t j = 0; j < taps && low < high; j += kLanes) {
        Vec values[kLanes] = {};
        const int64_t count = least(kLanes, taps - j);
        for (int64_t i = 0; i < count; ++i)
            values[i] = load(scratch + ((j + i) / job.S * (job.S + 1) + (j + i) % job.S) * kLanes) * scale_of(job);
        scatter(values, planes, low, high, j, count);
    }
}

}  // namespace

namespace GPUCNN_ISA {

void fft_gradient_columns(const FftJob& job, int64_t first, int64_t count, int64_t unit, float* block, float* scratch) {
    const FftLayout layout(job, true);
    const bool of_dy = unit >= count * layout.x_vectors;
    if (of_dy) unit -= count * layout.x_vectors, block += job.half() * layout.row;
    const int64_t vectors = of_dy ? layout.y_vectors : layout.x_vectors, tile = unit / vectors, vector = unit % vectors;
    const Images& images = of_dy ? layout.out : layout.in;
    const void* data = of_dy ? job.y : job.x;
    float* out = block + tile * (of_dy ? layout.dy_tile : layout.tile) + vector * images.columns * kPair;
    const Channels channels{vector * kLanes, least(kLanes, images.channels - vector * kLanes)};
    with_stored(job.dtype, [&](auto t) {
        columns_of(job, images, static_cast<const decltype(t)*>(data), first + tile, channels, out,
                   of_dy ? layout.dy_row : layout.row, scratch);
    });
}

void fft_gradient_multiply(const FftJob& job, int64_t first, int64_t count, int row, const float* block, float* sums,
                           float* scratch) {
    const FftLayout layout(job, true);
    const int64_t plane = (job.tiles + 1) * kPair, vector_size = job.n_w * plane;
    float* x = scratch;
    float* d = x + layout.x_vectors * vector_size;
    float* products = d + layout.y_vectors * vector_size;  // (k, v, pair)
    const int64_t product_k = (job.n_w + 1) * kPair;
    rows_of(job, layout.in, first, count, layout.x_vectors, block + row * layout.row, layout.tile, x);
    rows_of(job, layout.out, first, count, layout.y_vectors, block + job.half() * layout.row + row * layout.dy_row,
            layout.dy_tile, d);
    sums += row * layout.sum_u;
    if (job.depthwise()) {
        for (int64_t vector = 0; vector < layout.x_vectors; ++vector) {
            for (int64_t v = 0; v < job.n_w; ++v)
                lane_correlate(x + vector * vector_size + v * plane, d + vector * vector_size + v * plane, count,
                               products + v * kPair);
            sum_rows(job, first > 0, products, sums + vector * layout.sum_k);
        }
        return;
    }
    for (int group = 0; group < job.groups; ++group) {
        const int64_t begin = int64_t(group) * job.Cg() / kLanes;  // vectors of x
        const int64_t end = vectors(int64_t(group + 1) * job.Cg());
        for (int64_t vector = begin; vector < end; ++vector) {
            const int64_t last = int64_t(group + 1) * job.Kg();
            for (int64_t k = int64_t(group) * job.Kg(), rows; k < last; k += rows) {
                rows = least(least(kGradientRows, kLanes - k % kLanes), last - k);
                const auto product = correlate_of(rows, std::make_integer_sequence<int, kGradientRows>{});
                for (int64_t v = 0; v < job.n_w; ++v)
                    product(x + vector * vector_size + v * plane, d + k / kLanes * vector_size + v * plane + k % kLanes,
                            count, products + v * kPair, product_k);
                for (int64_t r = 0; r < rows; ++r)
                    sum_rows(job, first > 0, products + r * product_k,
                             sums + (k + r) * layout.sum_k + (vector - begin) * job.S * kPair);
            }
        }
    }
}

void fft_gradient(const FftJob& job, int64_t unit, const float* sums, float* scratch) {
    const FftLayout layout(job, true);
    with_stored(job.dtype, [&](auto t) { gradient_of<decltype(t)>(job, layout, unit, sums, scratch); });
}

FftSizes fft_gradient_sizes(const FftJob& job) {
    const FftLayout layout(job, true);
    FftSizes sizes{};
    sizes.x_units = layout.x_vectors, sizes.y_units = layout.y_vectors;
    sizes.block = job.half() * (layout.row + layout.dy_row);
    sizes.sums = job.half() * layout.sum_u;
    sizes.gradient_units = layout.sum_rows * layout.sum_vectors;
    const int64_t rows = (layout.x_vectors + layout.y_vectors) * job.n_w * (job.tiles + 1) * kPair;
    sizes.scratch = most(most(job.n_h * kRow, int64_t(job.R) * (job.S + 1) * kLanes + kLanes),
                         rows + kGradientRows * (job.n_w + 1) * kPair);
    return sizes;
}

}  // namespace GPUCNN_ISA
