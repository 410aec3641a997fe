// Convolution by FFT of overlapping tiles (overlap-save; Vasilache et al. 2015): y = x * w with products of spectra,
// which cost n_h n_w / (m_h m_w) complex multiply-adds an output and channel instead of R S.
//
// fft_columns, fft_multiply and fft_outputs are the passes over a block of tiles; between them it lies in memory with
// its columns transformed (fft_layout.h). Correlation is convolution with the flipped filter, whose outputs begin at R
// - 1.
#include "fft_layout.h"

namespace {

template <class T>
void filters_of(const FftJob& job, int64_t unit, float* filters, float* scratch) {
    const FftLayout layout(job, false);
    const Fft columns = fft_of(job.n_h), rows = fft_of(job.n_w);
    const int64_t vector = unit / layout.units_of_vector, taps = int64_t(job.R) * job.S;
    const int64_t first = unit % layout.units_of_vector * layout.unit_channels;
    const int64_t count = least(layout.unit_channels, layout.filter_channels - first);
    const Channels k = y_channels(job, layout, vector);
    const int64_t group = job.depthwise() ? 0 : k.first / job.Kg(), k_stride = job.depthwise() ? taps : job.w_k;
    const T* w = static_cast<const T*>(job.w) + group * job.Kg() * job.Cg() * taps;
    const float scale = scale_of(job);
    float* half = scratch + vectors(taps) * kLanes * kLanes;  // (channel, u, s, pair)
    const int64_t half_u = job.S * kPair, half_c = job.half() * half_u;
    for (int64_t c = 0; c < count; ++c) {
        const T* planes[kLanes];
        for (int64_t l = 0; l < kLanes; ++l)
            planes[l] = w + (k.first - group * job.Kg() + least(l, k.count - 1)) * k_stride + (first + c) * job.w_c;
        for (int64_t j = 0; j < taps; j += kLanes) {
            Vec values[kLanes];
            gather(planes, j, least(kLanes, taps - j), values);
            for (int64_t i = 0; i < least(kLanes, taps - j); ++i)
                store(scratch + (job.flipped ? taps - 1 - j - i : j + i) * kLanes, values[i] * scale);
        }
        for (int s = 0; s < job.S; s += 2) {
            const bool two = s + 1 < job.S;
            const float* a = scratch + s * kLanes;
            split_columns(job.n_h, columns, a, two ? a + kLanes : a, job.S * kLanes, 0, job.R, two,
                          half + c * half_c + s * kPair, half_u);
        }
    }
    for (int u = 0; u < job.half(); ++u)
        for (int64_t c = 0; c < count; ++c) {
            const float* in = half + c * half_c + u * half_u;
            float* out = filters + u * layout.filter_u + vector * layout.filter_k + (first + c) * kPair;
            alignas(64) float line[kLongestFft * kPair];
            rows({in, in + kLanes, kPair, 0, job.S}, {line, line + kLanes, kPair, 0, job.n_w});
            for (int v = 0; v < job.n_w; ++v, out += layout.filter_v) {
                store_past_cache(out, load(line + v * kPair));
                store_past_cache(out + kLanes, load(line + v * kPair + kLanes));
            }
        }
    end_of_stores();
}

// y[r] = sum over c of x[c][r] w[c] for `rows` tiles r: x (vector of channels, kTileRows, pair), c in [begin, end).
template <int rows>
void product(const float* x, int64_t begin, int64_t end, const float* w, float* y, int64_t y_tile) {
    Vec re[rows] = {}, im[rows] = {};
    for (int64_t c = begin; c < end;) {
        const float* vector = x + c / kLanes * kTileRows * kPair;
        const int64_t stop = least(end, (c / kLanes + 1) * kLanes);
        for (; c < stop; ++c, w += kPair) {
            const Vec w_re = load(w), w_im = load(w + kLanes);
            const float* scalar = vector + c % kLanes;
            repeat<rows>([&](auto r) INLINE_LAMBDA {
                const float x_re = scalar[r * kPair], x_im = scalar[r * kPair + kLanes];
                re[r] += w_re * x_re;
                im[r] += w_im * x_re;
                re[r] -= w_im * x_im;
                im[r] += w_re * x_im;
            });
        }
    }
    for (int r = 0; r < rows; ++r) store(y + r * y_tile, re[r]), store(y + r * y_tile + kLanes, im[r]);
}

using Product = void (*)(const float*, int64_t, int64_t, const float*, float*, int64_t);

template <int... I>
INLINE Product product_of(int64_t rows, std::integer_sequence<int, I...>) {
    static constexpr Product table[] = {product<I + 1>...};
    return table[rows - 1];
}
INLINE Product product_of(int64_t rows) { return product_of(rows, std::make_integer_sequence<int, kTileRows>{}); }

// y[r] = x[r] w, lane by lane: each output channel has one input channel.
INLINE void lane_products(const float* x, int64_t rows, const float* w, float* y, int64_t y_tile) {
    const Vec w_re = load(w), w_im = load(w + kLanes);
    for (int64_t r = 0; r < rows; ++r) {
        const Vec x_re = load(x + r * kPair), x_im = load(x + r * kPair + kLanes);
        store(y + r * y_tile, x_re * w_re - x_im * w_im);
        store(y + r * y_tile + kLanes, x_re * w_im + x_im * w_re);
    }
}

template <class T>
void outputs_of(const FftJob& job, int64_t tile, Channels channels, const float* in, int64_t row, float* scratch) {
    const Images images = outputs(job);
    const Fft fft = fft_of(job.n_h);
    const Window window(job, images, tile);
    T* planes[kLanes];
    for (int64_t l = 0; l < channels.count; ++l)
        planes[l] = static_cast<T*>(job.y) + (window.image * job.K + channels.first + l) * job.P * job.Q;
    Vec bias{};
    for (int64_t l = 0; job.bias && l < channels.count; ++l)
        bias[l] = static_cast<float>(static_cast<const T*>(job.bias)[channels.first + l]);
    for (int64_t left = 0; left < window.right; left += kLanes) {
        const int64_t count = least(kLanes, window.right - left);
        for (int64_t j = 0; j < count; j += 2) {
            float* a = scratch + j * kLanes;  // the second of a last pair is a column that nothing reads
            join_columns(job.n_h, fft, in + (left + j) * kPair, row, j + 1 < count, a - (job.R - 1) * kRow,
                         a + kLanes - (job.R - 1) * kRow, kRow, job.R - 1, job.R - 1 + window.bottom);
        }
        for (int64_t p = 0; p < window.bottom; ++p) {
            Vec pixels[kLanes];
            for (int j = 0; j < kLanes; ++j) {
                const Vec sum = load(scratch + p * kRow + j * kLanes) + bias;
                pixels[j] = job.relu ? (sum < Vec{} ? Vec{} : sum) : sum;
            }
            scatter(pixels, planes, 0, channels.count, (window.h + p) * job.Q + window.w + left, count);
        }
    }
}

}  // namespace

namespace GPUCNN_ISA {

void fft_filters(const FftJob& job, int64_t unit, float* filters, float* scratch) {
    with_stored(job.dtype, [&](auto t) { filters_of<decltype(t)>(job, unit, filters, scratch); });
}

void fft_columns(const FftJob& job, int64_t first, int64_t unit, float* block, float* scratch) {
    const FftLayout layout(job, false);
    const int64_t tile = unit / layout.x_vectors, vector = unit % layout.x_vectors;
    with_stored(job.dtype, [&](auto t) {
        columns_of(job, layout.in, static_cast<const decltype(t)*>(job.x), first + tile, x_channels(job, vector),
                   block + tile * layout.tile + vector * layout.in.columns * kPair, layout.row, scratch);
    });
}

void fft_multiply(const FftJob& job, int64_t first, int64_t begin, int64_t end, int row, const float* filters,
                  float* block, float* scratch) {
    const FftLayout layout(job, false);
    const Fft fft = fft_of(job.n_w);
    block += row * layout.row;
    filters += row * layout.filter_u;
    float* x = scratch;  // (tile / kTileRows, v, vector, tile % kTileRows, pair)
    float* y = x + layout.tile_blocks(job.chunk) * job.n_w * layout.x_v;  // (tile, v, pair)
    for (int64_t t = begin; t < end; ++t) {
        const Window window(job, layout.in, first + t);
        const int64_t i = t - begin;
        for (int64_t vector = 0; vector < layout.x_vectors; ++vector) {
            const float* in = block + t * layout.tile + vector * layout.in.columns * kPair;
            float* out = x + i / kTileRows * job.n_w * layout.x_v + (vector * kTileRows + i % kTileRows) * kPair;
            fft({in, in + kLanes, kPair, window.left, window.right}, {out, out + kLanes, layout.x_v, 0, job.n_w});
        }
    }
    for (int64_t vector = 0; vector < layout.y_vectors; ++vector) {
        const int64_t c = vector / layout.group_vectors * job.Cg();
        for (int64_t v = 0; v < job.n_w; ++v) {
            const float* w = filters + vector * layout.filter_k + v * layout.filter_v;
            for (int64_t i = 0; i < end - begin; i += kTileRows) {
                const int64_t rows = least(kTileRows, end - begin - i);
                const float* in = x + (i / kTileRows * job.n_w + v) * layout.x_v;
                float* out = y + i * layout.y_tile + v * kPair;
                if (job.depthwise())
                    lane_products(in + vector * kTileRows * kPair, rows, w, out, layout.y_tile);
                else
                    product_of(rows)(in, c, c + job.Cg(), w, out, layout.y_tile);
            }
        }
        for (int64_t t = begin; t < end; ++t) {
            const Window window(job, layout.out, first + t);
            const float* in = y + (t - begin) * layout.y_tile;
            float* out = block + t * layout.tile + (vector * layout.out.columns - (job.S - 1)) * kPair;
            fft({in + kLanes, in, kPair, 0, job.n_w}, {out + kLanes, out, kPair, job.S - 1, job.S - 1 + window.right});
        }
    }
}

void fft_outputs(const FftJob& job, int64_t first, int64_t unit, const float* block, float* scratch) {
    const FftLayout layout(job, false);
    const int64_t tile = unit / layout.y_vectors, vector = unit % layout.y_vectors;
    const float* in = block + tile * layout.tile + vector * layout.out.columns * kPair;
    with_stored(job.dtype, [&](auto t) {
        outputs_of<decltype(t)>(job, first + tile, y_channels(job, layout, vector), in, layout.row, scratch);
    });
}

FftSizes fft_sizes(const FftJob& job) {
    const FftLayout layout(job, false);
    FftSizes sizes{};
    sizes.x_units = layout.x_vectors, sizes.y_units = layout.y_vectors;
    sizes.filter_units = layout.y_vectors * layout.units_of_vector;
    sizes.filters = job.half() * layout.filter_u;
    sizes.block = job.half() * layout.row;
    const int64_t taps = vectors(int64_t(job.R) * job.S) * kLanes * kLanes;
    sizes.filter_scratch = taps + layout.unit_channels * job.half() * job.S * kPair;
    sizes.scratch =
        most(job.n_h * kRow, layout.tile_blocks(job.chunk) * job.n_w * layout.x_v + job.chunk * layout.y_tile);
    return sizes;
}

}  // namespace GPUCNN_ISA
