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

// Of outputs [q0, q1), those whose tap s falls into the image: [lo, hi), lo <= hi.
struct Inside {
    int lo, hi;

    Inside(int q0, int q1, int64_t offset, int stride, int size) {
        // offset = s dil - pad is the pixel of output 0
        int64_t first = offset >= 0 ? 0 : (-offset + stride - 1) / stride;
        int64_t end = size - 1 - offset < 0 ? 0 : (size - 1 - offset) / stride + 1;
        lo = static_cast<int>(std::clamp<int64_t>(first, q0, q1));
        hi = static_cast<int>(std::clamp<int64_t>(end, lo, q1));
    }
};

// out[i] = in[i stride]. Rows of small images are a few vectors long, too short for a call of memcpy to pay.
template <class T>
INLINE void gather(Acc<T>* out, const T* in, int64_t count, int stride) {
    if (stride != 1) {
        for (int64_t i = 0; i < count; ++i) out[i] = in[i * stride];
    } else if constexpr (is_narrow<T>) {
        for (int64_t i = 0; i < count; ++i) out[i] = in[i];
    } else if (constexpr int step = 32 / sizeof(T); count >= step && count <= 8 * step) {
        for (int64_t i = 0; i < count - step; i += step) std::memcpy(out + i, in + i, 32);
        std::memcpy(out + count - step, in + count - step, 32);  // overlaps the one before
    } else if (count > 8 * step) {
        std::memcpy(out, in, count * sizeof(T));
    } else {
        for (int64_t i = 0; i < count; ++i) out[i] = in[i];
    }
}

// Functions with clones are local to each source file: the linker does not merge them.
namespace {

// columns (channels R S, band.size) from x, the first plane of `channels` planes (H, W).
template <class T>
MULTIVERSION void im2col(const ConvShape& shape, const T* x, int64_t channels, Band band, Acc<T>* columns) {
    const int width = band.q1 - band.q0;
    for (int64_t c = 0; c < channels; ++c, x += int64_t(shape.H) * shape.W) {
        for (int r = 0; r < shape.R; ++r) {
            for (int s = 0; s < shape.S; ++s) {
                const int64_t offset = int64_t(s) * shape.dil_w - shape.pad_w;
                const Inside q(band.q0, band.q1, offset, shape.stride_w, shape.W);
                const int64_t left = int64_t(q.lo) * shape.stride_w + offset;
                for (int p = band.p0; p < band.p1; ++p, columns += width) {
                    const int64_t h = int64_t(p) * shape.stride_h - shape.pad_h + int64_t(r) * shape.dil_h;
                    if (h < 0 || h >= shape.H) {
                        std::fill_n(columns, width, Acc<T>(0));
                        continue;
                    }
                    for (int i = 0; i < q.lo - band.q0; ++i) columns[i] = 0;
                    gather(columns + (q.lo - band.q0), x + h * shape.W + left, q.hi - q.lo, shape.stride_w);
                    for (int i = q.hi - band.q0; i < width; ++i) columns[i] = 0;
                }
            }
        }
    }
}

// The transpose of im2col: adds columns (channels R S, band.size) into dx, `channels` planes (H, W).
template <class A>
MULTIVERSION void col2im(const ConvShape& shape, const A* columns, int64_t channels, Band band, A* dx) {
    const int width = band.q1 - band.q0;
    for (int64_t c = 0; c < channels; ++c, dx += int64_t(shape.H) * shape.W) {
        for (int r = 0; r < shape.R; ++r) {
            for (int s = 0; s < shape.S; ++s) {
                const int64_t offset = int64_t(s) * shape.dil_w - shape.pad_w;
                const Inside q(band.q0, band.q1, offset, shape.stride_w, shape.W);
                const int64_t left = int64_t(q.lo) * shape.stride_w + offset;
                for (int p = band.p0; p < band.p1; ++p, columns += width) {
                    const int64_t h = int64_t(p) * shape.stride_h - shape.pad_h + int64_t(r) * shape.dil_h;
                    if (h < 0 || h >= shape.H) continue;
                    A* out = dx + h * shape.W + left;
                    const A* in = columns + (q.lo - band.q0);
                    const int count = q.hi - q.lo;
                    if (shape.stride_w == 1)
                        for (int i = 0; i < count; ++i) out[i] += in[i];
                    else
                        for (int i = 0; i < count; ++i) out[int64_t(i) * shape.stride_w] += in[i];
                }
            }
        }
    }
}

}  // namespace
