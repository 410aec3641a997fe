// im2col and col2im for a band of output positions: convolution as a matrix product. Row (c, r, s) of the column matrix
// holds, for every output position (p, q) of the band, the input pixel (p stride_h - pad_h + r dil_h, likewise w).
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>

#include "conv_shape.h"
#include "element.h"

// Output positions [p0, p1) x [q0, q1): whole rows of the output, or a part of one row, so that the band is contiguous
// in a plane of y.
struct Band {
    int p0, p1, q0, q1;
    int64_t size;   // positions
    int64_t first;  // of them in a plane of y
};

// The output plane cut into bands of at most `positions`.
struct Bands {
    const ConvShape& shape;
    int rows, cols;  // of a band
    int64_t per_row, count;

    Bands(const ConvShape& s, int64_t positions) : shape(s) {
        rows = static_cast<int>(std::clamp<int64_t>(positions / s.Q, 1, s.P));
        rows = (s.P + (s.P + rows - 1) / rows - 1) / ((s.P + rows - 1) / rows);  // as few bands, of even sizes
        cols = static_cast<int>(std::min<int64_t>(positions, s.Q));
        per_row = (s.Q + cols - 1) / cols;
        count = (s.P + rows - 1) / rows * per_row;
    }

    Band operator[](int64_t i) const {
        Band b;
        b.p0 = static_cast<int>(i / per_row) * rows;
        b.p1 = std::min(b.p0 + rows, shape.P);
        b.q0 = static_cast<int>(i % per_row) * cols;
        b.q1 = std::min(b.q0 + cols, shape.Q);
        b.size = int64_t(b.p1 - b.p0) * (b.q1 - b.q0);
        b.first = int64_t(b.p0) * shape.Q + b.q0;
        return b;
    }
};

// Whether the column matrix of an image is the image itself.
inline bool is_pointwise(const ConvShape& s) {
    return s.R == 1 && s.S == 1 && s.stride_h == 1 && s.stride_w == 1 && s.pad_h == 0 && s.pad_w == 0;
}

// Whether filter and image have one size: a fully connected layer, whose column matrix, transposed, is x (N, C H W).
inline bool is_fully_connected(const ConvShape& s) {
    return s.R == s.H && s.S == s.W && s.pad_h == 0 && s.pad_w == 0 && s.groups == 1;
}

// Outputs [lo, hi) of [first, end) along one axis, those whose tap falls into the image; lo <= hi. `offset` is the
// pixel of output 0, tap dil - pad.
struct Inside {
    int lo, hi;

    INLINE Inside(int first, int end, int64_t offset, int stride, int size) {
        auto outputs_before =
            [&](int64_t pixel) INLINE_LAMBDA {  // those with a smaller pixel; a division costs as much as a row
                const int64_t distance = pixel - offset;
                return distance <= 0 ? 0 : stride == 1 ? distance : (distance + stride - 1) / stride;
            };
        lo = static_cast<int>(std::clamp<int64_t>(outputs_before(0), first, end));
        hi = static_cast<int>(std::clamp<int64_t>(outputs_before(size), lo, end));
    }
};

// Functions with clones are local to each source file: the linker does not merge them.
namespace {

// `rows` rows of `count` elements, Step <= count <= 2 Step: two vectors a row, which may overlap. Rows of small images
// are too short for a call of memcpy, or a loop over elements, to pay.
template <int Step, class A>
INLINE void copy_short_rows(A* out, const A* in, int rows, int count, int64_t out_pitch, int64_t in_pitch) {
    for (int row = 0; row < rows; ++row, out += out_pitch, in += in_pitch) {
        std::memcpy(out, in, Step * sizeof(A));
        std::memcpy(out + count - Step, in + count - Step, Step * sizeof(A));
    }
}

// out[row][i] = in[row][i stride].
template <class T>
INLINE void copy_rows(Acc<T>* out, const T* in, int rows, int count, int64_t out_pitch, int64_t in_pitch, int stride) {
    if constexpr (!is_narrow<T>) {
        if (stride == 1 && count >= 4 && count <= 32) {
            if (count > 16) return copy_short_rows<16>(out, in, rows, count, out_pitch, in_pitch);
            if (count >= 8) return copy_short_rows<8>(out, in, rows, count, out_pitch, in_pitch);
            return copy_short_rows<4>(out, in, rows, count, out_pitch, in_pitch);
        }
    }
    for (int row = 0; row < rows; ++row, out += out_pitch, in += in_pitch) {
        if (stride == 1)
            for (int i = 0; i < count; ++i) out[i] = in[i];
        else
            for (int i = 0; i < count; ++i) out[i] = in[int64_t(i) * stride];
    }
}

template <class A>
INLINE void zero_rows(A* out, int rows, int count, int64_t pitch) {
    for (int row = 0; row < rows; ++row, out += pitch)
        for (int i = 0; i < count; ++i) out[i] = 0;
}

// f(tap's row of the column matrix, valid p, valid q, first valid pixel) for every tap of one channel.
template <class F>
INLINE void for_taps(const ConvShape& s, const Band& band, F&& f) {
    for (int r = 0; r < s.R; ++r) {
        const int64_t down = int64_t(r) * s.dil_h - s.pad_h;
        const Inside p(band.p0, band.p1, down, s.stride_h, s.H);
        for (int t = 0; t < s.S; ++t) {
            const int64_t right = int64_t(t) * s.dil_w - s.pad_w;
            const Inside q(band.q0, band.q1, right, s.stride_w, s.W);
            const bool any = p.lo < p.hi && q.lo < q.hi;
            f(int64_t(r) * s.S + t, p, q,
              any ? (int64_t(p.lo) * s.stride_h + down) * s.W + int64_t(q.lo) * s.stride_w + right : 0);
        }
    }
}

// columns (channels R S, band.size) from x, the first plane of `channels` planes (H, W).
template <class T>
MULTIVERSION void im2col(const ConvShape& s, const T* x, int64_t channels, Band band, Acc<T>* columns) {
    const int width = band.q1 - band.q0;
    for (int64_t c = 0; c < channels; ++c, x += int64_t(s.H) * s.W, columns += int64_t(s.R) * s.S * band.size)
        for_taps(s, band, [&](int64_t tap, const Inside& p, const Inside& q, int64_t pixel) INLINE_LAMBDA {
            Acc<T>* row = columns + tap * band.size;
            std::fill_n(row, int64_t(p.lo - band.p0) * width, Acc<T>(0));
            row += int64_t(p.lo - band.p0) * width;
            const int rows = p.hi - p.lo, left = q.lo - band.q0, right = band.q1 - q.hi;
            copy_rows(row + left, x + pixel, rows, q.hi - q.lo, width, int64_t(s.stride_h) * s.W, s.stride_w);
            if (left > 0) zero_rows(row, rows, left, width);
            if (right > 0) zero_rows(row + (width - right), rows, right, width);
            std::fill_n(row + int64_t(rows) * width, int64_t(band.p1 - p.hi) * width, Acc<T>(0));
        });
}

template <int count, class A>
INLINE void add_vector(A* out, const A* in) {
    A sum[count];
    for (int i = 0; i < count; ++i) sum[i] = out[i] + in[i];
    std::memcpy(out, sum, sizeof sum);
}

// out[i] += in[i], with short vectors: rows are short, and a compiler's own loop would leave up to 15 single elements.
template <class A>
INLINE void add_row(A* out, const A* in, int count) {
    int i = 0;
    for (; i + 8 <= count; i += 8) add_vector<8>(out + i, in + i);
    if (i + 4 <= count) add_vector<4>(out + i, in + i), i += 4;
    for (; i < count; ++i) out[i] += in[i];
}

// The transpose of im2col: adds columns (channels R S, band.size) into dx, `channels` planes (H, W).
template <class A>
MULTIVERSION void col2im(const ConvShape& s, const A* columns, int64_t channels, Band band, A* dx) {
    const int width = band.q1 - band.q0;
    for (int64_t c = 0; c < channels; ++c, dx += int64_t(s.H) * s.W, columns += int64_t(s.R) * s.S * band.size)
        for_taps(s, band, [&](int64_t tap, const Inside& p, const Inside& q, int64_t pixel) INLINE_LAMBDA {
            const A* in = columns + tap * band.size + int64_t(p.lo - band.p0) * width + (q.lo - band.q0);
            A* out = dx + pixel;
            for (int row = p.lo; row < p.hi; ++row, in += width, out += int64_t(s.stride_h) * s.W) {
                if (s.stride_w == 1)
                    add_row(out, in, q.hi - q.lo);
                else
                    for (int i = 0; i < q.hi - q.lo; ++i) out[int64_t(i) * s.stride_w] += in[i];
            }
        });
}

}  // namespace
