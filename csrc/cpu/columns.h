// Bands of output positions, and col2im for one of them. Row (c, r, s) of a column matrix belongs, for every output
// position (p, q) of the band, to the input pixel (p stride_h - pad_h + r dil_h, likewise w).
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>

#include "conv_shape.h"
#include "element.h"
#include "simd/simd.h"

// The output plane cut into bands of at most `positions`.
struct Bands {
    int P, Q;
    int rows, cols;  // of a band
    int64_t per_row, count;

    Bands(int P, int Q, int64_t positions) : P(P), Q(Q) {
        auto evenly = [](int64_t size, int64_t most) {  // as few parts, of even sizes
            const int64_t parts = (size + most - 1) / most;
            return static_cast<int>((size + parts - 1) / parts);
        };
        rows = evenly(P, std::clamp<int64_t>(positions / Q, 1, P));
        cols = evenly(Q, std::min<int64_t>(positions, Q));
        per_row = (Q + cols - 1) / cols;
        count = (P + rows - 1) / rows * per_row;
    }

    Band operator[](int64_t i) const {
        Band b;
        b.p0 = static_cast<int>(i / per_row) * rows;
        b.p1 = std::min(b.p0 + rows, P);
        b.q0 = static_cast<int>(i % per_row) * cols;
        b.q1 = std::min(b.q0 + cols, Q);
        b.size = int64_t(b.p1 - b.p0) * (b.q1 - b.q0);
        b.first = int64_t(b.p0) * Q + b.q0;
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

// Adds columns (channels R S, band.size) into dx, `channels` planes (H, W).
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
