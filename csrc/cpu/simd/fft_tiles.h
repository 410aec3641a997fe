// Tiles of images to and from vectors of channels, and the transforms of their columns.
//
// Two real columns are one complex transform: for z = a + ib, 2 A_k = Z_k + conj(Z_{n-k}) and
// 2i B_k = Z_k - conj(Z_{n-k}). The factor 2 stays in, and goes with the others (scale_of).
#pragma once
#include "fft.h"
#include "simd.h"

namespace {

constexpr int64_t kPair = 2 * kLanes;  // floats of a complex vector
constexpr int64_t kRow =
    (kLanes + 1) * kLanes;  // floats of a row of pixels; odd, so that columns spread over the cache

// What the factors 2 of both operands and the inverse transform multiply a result with.
INLINE float scale_of(const FftJob& job) { return 0.25f / (static_cast<float>(job.n_h) * static_cast<float>(job.n_w)); }

// Images (N, channels, H, W) and the part that tiles read (or write) of them: rows x columns pixels from
// (step_h i - pad_h, step_w j - pad_w) on.
struct Images {
    int channels, H, W, rows, columns, step_h, step_w, pad_h, pad_w;
};

INLINE Images inputs(const FftJob& job) {
    return {job.C,
            job.H,
            job.W,
            int(least(job.n_h, job.P + job.R - 1)),
            int(least(job.n_w, job.Q + job.S - 1)),
            job.m_h(),
            job.m_w(),
            job.pad_h,
            job.pad_w};
}

INLINE Images outputs(const FftJob& job) {
    return {job.K,     job.P, job.Q, int(least(job.m_h(), job.P)), int(least(job.m_w(), job.Q)), job.m_h(),
            job.m_w(), 0,     0};
}

// The part of a tile that lies inside its image.
struct Window {
    int64_t image, h, w;           // the tile's origin
    int top, bottom, left, right;  // of the tile; right = left where nothing is inside

    INLINE Window(const FftJob& job, const Images& in, int64_t tile) {
        const int64_t columns = job.tile_columns(), rows = job.tile_rows();
        image = tile / columns / rows;
        h = tile / columns % rows * in.step_h - in.pad_h;
        w = tile % columns * in.step_w - in.pad_w;
        top = int(most(0, -h)), bottom = int(least(in.rows, in.H - h));
        left = int(most(0, -w)), right = int(least(in.columns, in.W - w));
        if (bottom <= top || right <= left) right = left = bottom = top = 0;
    }
};

// f(T{}) for the stored type.
template <class F>
INLINE void with_stored(DType dtype, const F& f) {
    if (dtype == DType::float16) return f(Half{});
    if (dtype == DType::bfloat16) return f(BFloat16{});
    return f(float{});
}

template <class T>
INLINE Vec load_as(const T* p) {
    if constexpr (sizeof(T) == sizeof(float)) {
        return load(reinterpret_cast<const float*>(p));
    } else {
        float values[kLanes];
        for (int l = 0; l < kLanes; ++l) values[l] = static_cast<float>(p[l]);
        return load(values);
    }
}

// out[j] lane l = planes[l][j] for j < count <= kLanes (others are undefined).
template <class T>
INLINE void gather(const T* const* planes, int64_t offset, int64_t count, Vec* out) {
    if (count == kLanes) {
        for (int l = 0; l < kLanes; ++l) out[l] = load_as(planes[l] + offset);
    } else {
        for (int l = 0; l < kLanes; ++l) {
            T part[kLanes] = {};
            std::memcpy(part, planes[l] + offset, sizeof(T) * count);
            out[l] = load_as(part);
        }
    }
    transpose_square(out);
}

// planes[l][j] = in[j] lane l for j < count, begin <= l < end; rounded to T.
template <class T>
INLINE void scatter(Vec* in, T* const* planes, int64_t begin, int64_t end, int64_t offset, int64_t count) {
    transpose_square(in);
    for (int64_t l = begin; l < end; ++l) {
        T part[kLanes];
        for (int j = 0; j < kLanes; ++j) part[j] = static_cast<T>(in[l][j]);
        if (count == kLanes)
            std::memcpy(planes[l] + offset, part, sizeof part);
        else
            std::memcpy(planes[l] + offset, part, sizeof(T) * count);
    }
}

// The transforms of two real columns; element u of a spectrum goes to out + u * stride, that of the second column
// follows. One column alone: b is a, and two is false.
INLINE void split_columns(int n, Fft fft, const float* a, const float* b, int64_t row, int top, int bottom, bool two,
                          float* out, int64_t stride) {
    alignas(64) float z[kLongestFft * kPair];
    fft({a, b, row, top, bottom}, {z, z + kLanes, kPair, 0, n});
    for (int u = 0; u <= n / 2; ++u, out += stride) {
        const float *p = z + u * kPair, *q = z + (n - u) % n * kPair;
        const Vec p_re = load(p), p_im = load(p + kLanes), q_re = load(q), q_im = load(q + kLanes);
        store(out, p_re + q_re);
        store(out + kLanes, p_im - q_im);
        if (two) {
            store(out + kPair, p_im + q_im);
            store(out + kPair + kLanes, q_re - p_re);
        }
    }
}

// The inverse: elements [begin, end) of two real columns from their spectra.
INLINE void join_columns(int n, Fft fft, const float* in, int64_t stride, bool two, float* a, float* b, int64_t row,
                         int begin, int end) {
    alignas(64) float z[kLongestFft * kPair];
    const int64_t second = two ? kPair : 0;
    for (int u = 0; u <= n / 2; ++u, in += stride) {
        const Vec a_re = load(in), a_im = load(in + kLanes);
        const Vec b_re = load(in + second), b_im = load(in + second + kLanes);
        const bool real = u == 0 || 2 * u == n;  // the columns are real, so their imaginary parts here are rounding
        store(z + u * kPair, real ? a_re : a_re - b_im);
        store(z + u * kPair + kLanes, real ? b_re : a_im + b_re);
        if (!real) {
            store(z + (n - u) * kPair, a_re + b_im);
            store(z + (n - u) * kPair + kLanes, b_re - a_im);
        }
    }
    fft({z + kLanes, z, kPair, 0, n}, {b, a, row, begin, end});
}

// The channels of one vector: lane l is channel first + l; there is none for l >= count.
struct Channels {
    int64_t first, count;
};

// The columns of one tile and vector of channels of `data`, transformed: element u of column j goes to
// out + u * row + j * kPair. Columns outside of the image are not written.
template <class T>
void columns_of(const FftJob& job, const Images& images, const T* data, int64_t tile, Channels channels, float* out,
                int64_t row, float* scratch) {
    const Fft fft = fft_of(job.n_h);
    const Window window(job, images, tile);
    const T* planes[kLanes];
    for (int64_t l = 0; l < kLanes; ++l)
        planes[l] = data + (window.image * images.channels + channels.first + least(l, channels.count - 1)) * images.H *
                               images.W;
    for (int64_t left = window.left; left < window.right; left += kLanes) {
        // The last vector of a row begins early rather than read on past its end.
        const int64_t start = most(window.left, least(left, window.right - kLanes)), end = window.right - start;
        for (int64_t h = window.top; h < window.bottom; ++h) {
            Vec pixels[kLanes];
            gather(planes, (window.h + h) * images.W + window.w + start, least(kLanes, end), pixels);
            for (int j = 0; j < kLanes; ++j) store(scratch + h * kRow + j * kLanes, pixels[j]);
        }
        for (int64_t j = left - start; j < least(kLanes, end); j += 2) {
            const bool two = j + 1 < least(kLanes, end);
            const float* a = scratch + j * kLanes;
            split_columns(job.n_h, fft, a, two ? a + kLanes : a, kRow, window.top, window.bottom, two,
                          out + (start + j) * kPair, row);
        }
    }
}

}  // namespace
