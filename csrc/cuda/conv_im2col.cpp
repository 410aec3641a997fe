// Convolution as a matrix product: im2col, then GEMM (fwd, wgrad), or GEMM, then col2im (dgrad).
//
//   fwd    y  (Kg, PQ)    = w  (Kg, CgRS)   columns (CgRS, PQ)          per image and group
//   dgrad  columns (CgRS, PQ) = w^T dy (Kg, PQ); dx gathers its pixels   per image and group
//   wgrad  dw (Kg, CgRS)  = dy (Kg, n PQ)   columns^T (n PQ, CgRS)      per group, n images side by side
//
// The workspace holds the columns of as many images as fit; of less than one image, when not even one fits: output
// positions (fwd, wgrad), or channels and then rows of dx (dgrad). So hardly any shape is refused, at any limit.
// Every output element is rounded once, and once more where fwd adds a bias: dgrad's columns are float32, and so is the
// sum of wgrad over several chunks. A 1x1 filter with stride 1 and no padding reads x itself as its columns.
#include <algorithm>
#include <stdexcept>

#include "functions.h"
#include "gemm.h"
#include "kernels.h"

namespace {

constexpr int64_t kAlign = 256;  // of each array in the workspace, in bytes

int64_t aligned(int64_t bytes) { return (bytes + kAlign - 1) / kAlign * kAlign; }

int64_t pixels(const ConvShape& s) { return int64_t(s.P) * s.Q; }
int64_t taps(const ConvShape& s) { return int64_t(s.R) * s.S; }
int64_t column_rows(const ConvShape& s) { return s.C * taps(s); }

bool pointwise(const ConvShape& s) {
    return s.R == 1 && s.S == 1 && s.stride_h == 1 && s.stride_w == 1 && s.pad_h == 0 && s.pad_w == 0;
}

DType stored(DType dtype) { return dtype == DType::tf32 ? DType::float32 : dtype; }

// Elements from row to row of the columns of so many positions: a multiple of 16 bytes, for im2col and for cuBLAS.
int64_t row_stride(int64_t positions, DType dtype) {
    const int64_t wide = 16 / size_of(dtype);
    return positions < wide ? positions : (positions + wide - 1) / wide * wide;
}

// The positions for which rows of so many elements have room.
int64_t positions_in(int64_t elements, DType dtype) {
    const int64_t wide = 16 / size_of(dtype);
    return elements < wide ? elements : elements / wide * wide;
}

// wgrad, n images at once: their columns side by side, and behind them dy with its images side by side, too.
int64_t wgrad_columns_bytes(const ConvShape& s, DType dtype, int64_t images) {
    return aligned(row_stride(images * pixels(s), dtype) * column_rows(s) * size_of(dtype));
}
int64_t wgrad_bytes(const ConvShape& s, DType dtype, int64_t images) {
    const int64_t row = row_stride(images * pixels(s), dtype) * size_of(dtype);
    if (images == 1) return pointwise(s) ? 0 : row * column_rows(s);  // dy as it is
    return wgrad_columns_bytes(s, dtype, images) + row * s.K;
}

// wgrad in several chunks adds 16-bit results up in float32, at the start of the workspace.
int64_t wgrad_sum_bytes(const ConvShape& s, DType dtype) {
    return size_of(dtype) == 2 ? aligned(s.w_size() * int64_t(sizeof(float))) : 0;
}

// The largest number, of at most `most`, for which bytes(number) is within the limit; 0 if 1 is too many.
template <class F>
int largest_within(int64_t limit, int most, F bytes) {
    int low = 0, high = most;  // bytes grows with the number
    while (low < high) {
        const int middle = low + (high - low + 1) / 2;
        if (bytes(middle) <= limit)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

struct Range {
    int begin, end;
    int size() const { return end - begin; }
};

// The output rows that read rows h.begin .. h.end of x.
Range output_rows(const ConvShape& s, Range h) {
    const int64_t lowest = int64_t(h.begin) + s.pad_h - int64_t(s.R - 1) * s.dil_h;  // p stride_h of the last tap
    const int64_t begin = lowest <= 0 ? 0 : (lowest + s.stride_h - 1) / s.stride_h;
    const int64_t end = std::min<int64_t>(s.P, (int64_t(h.end) - 1 + s.pad_h) / s.stride_h + 1);
    return {int(std::min(begin, end)), int(end)};
}

// No more output rows than this read any `rows` neighbouring rows of x.
int64_t most_output_rows(const ConvShape& s, int64_t rows) {
    return std::min<int64_t>(s.P, (rows - 1 + int64_t(s.R - 1) * s.dil_h) / s.stride_h + 1);
}

// dgrad: float32 columns of some channels of one image, for `rows` rows of dx.
int64_t dgrad_band_bytes(const ConvShape& s, int64_t channels, int64_t rows) {
    return channels * taps(s) * most_output_rows(s, rows) * s.Q * int64_t(sizeof(float));
}

void require(const char* op, const ConvShape& s, DType dtype, const char* direction, int64_t workspace_bytes) {
    const int64_t least = conv_im2col_workspace(s, dtype, direction).first;
    if (workspace_bytes < least)
        throw std::invalid_argument(std::string(op) + ": needs a workspace of at least " + std::to_string(least) +
                                    " bytes, but has " + std::to_string(workspace_bytes) + " (" + s.text() + ")");
}

// dw (+)= dy columns^T over `length` positions; rows of dy and of the columns are dy_stride and row_stride apart.
Gemm wgrad_product(const ConvShape& s, DType dtype, const void* dy, int64_t dy_stride, const void* columns,
                   int64_t row_stride, int64_t length, void* out, DType out_dtype, bool accumulate) {
    const int64_t group_rows = s.Cg() * taps(s);
    return {dtype,
            out_dtype,
            s.Kg(),
            group_rows,
            length,
            {dy, dy_stride, false, 0, s.Kg() * dy_stride},
            {columns, row_stride, true, 0, group_rows * row_stride},
            {out, group_rows, false, 0, s.Kg() * group_rows},
            1,
            s.groups,
            accumulate};
}

}  // namespace

std::pair<int64_t, int64_t> conv_im2col_workspace(const ConvShape& s, DType dtype, const std::string& direction) {
    int64_t least = 0, best = 0;
    if (direction == "fwd") {
        if (!pointwise(s)) {
            least = column_rows(s) * size_of(dtype);  // one output position
            best = s.N * row_stride(pixels(s), dtype) * least;
        }
    } else if (direction == "dgrad") {
        if (!pointwise(s)) {
            least = dgrad_band_bytes(s, 1, 1);
            best = s.N * column_rows(s) * pixels(s) * int64_t(sizeof(float));
        }
    } else if (direction == "wgrad") {
        best = wgrad_bytes(s, dtype, s.N);
        least = wgrad_sum_bytes(s, dtype) + (pointwise(s) ? 0 : column_rows(s) * size_of(dtype));
    } else {
        throw std::invalid_argument("conv_im2col_workspace: direction is fwd, dgrad or wgrad, but came " + direction);
    }
    return {std::min(least, best), best};
}

void conv_im2col_fwd(const ConvShape& s, DType dtype, const void* x, const void* w, const void* bias, bool relu,
                     void* y, void* workspace, int64_t workspace_bytes, cudaStream_t stream) {
    require("conv_im2col_fwd", s, dtype, "fwd", workspace_bytes);
    if (s.N == 0) return;
    const int64_t image = int64_t(s.C) * s.H * s.W, out_image = s.K * pixels(s), group_rows = s.Cg() * taps(s);
    const int64_t room = workspace_bytes / (column_rows(s) * size_of(dtype)), whole = row_stride(pixels(s), dtype);
    const int chunk = pointwise(s) ? s.N : int(std::clamp<int64_t>(room / whole, 1, s.N));
    const int64_t band = pointwise(s) || room >= whole ? pixels(s) : positions_in(room, dtype);
    for (int n = 0; n < s.N; n += chunk) {
        const int images = std::min(chunk, s.N - n);
        const void* source = advance(x, n * image, dtype);
        for (int64_t first = 0; first < pixels(s); first += band) {
            const int64_t positions = std::min(band, pixels(s) - first);
            const int64_t row = pointwise(s) ? pixels(s) : row_stride(positions, dtype);
            const void* columns = source;
            if (!pointwise(s)) {
                im2col(s, dtype, {images, 0, s.C, first, positions, column_rows(s) * row, row}, source, workspace,
                       stream);
                columns = workspace;
            }
            void* out = advance(y, n * out_image + first, dtype);
            multiply({dtype,
                      stored(dtype),
                      s.Kg(),
                      positions,
                      group_rows,
                      {w, group_rows, false, 0, s.Kg() * group_rows},
                      {columns, row, false, column_rows(s) * row, group_rows * row},
                      {out, pixels(s), false, out_image, s.Kg() * pixels(s)},
                      images,
                      s.groups},
                     stream, "conv_im2col_fwd", s.text());
        }
    }
    if (bias || relu) add_bias(dtype, s.N, s.K, pixels(s), bias, relu, y, stream);
}

void conv_im2col_dgrad(const ConvShape& s, DType dtype, const void* dy, const void* w, void* dx, void* workspace,
                       int64_t workspace_bytes, cudaStream_t stream) {
    require("conv_im2col_dgrad", s, dtype, "dgrad", workspace_bytes);
    if (s.N == 0) return;
    const int64_t image = int64_t(s.C) * s.H * s.W, dy_image = s.K * pixels(s), group_rows = s.Cg() * taps(s);

    // The product for `images` images from dy, output rows p, and channels of every group, counted inside the group.
    const auto product = [&](const void* from, int images, Range p, int group, int groups, Range channels, void* out,
                             DType out_dtype) {
        const int64_t positions = int64_t(p.size()) * s.Q, rows = channels.size() * taps(s);
        const int64_t first_w = int64_t(group) * s.Kg() * group_rows + channels.begin * taps(s);
        const int64_t first_dy = int64_t(group) * s.Kg() * pixels(s) + int64_t(p.begin) * s.Q;
        multiply({dtype,
                  out_dtype,
                  rows,
                  positions,
                  s.Kg(),
                  {advance(w, first_w, dtype), group_rows, true, 0, s.Kg() * group_rows},
                  {advance(from, first_dy, dtype), pixels(s), false, dy_image, s.Kg() * pixels(s)},
                  {out, positions, false, groups * rows * positions, rows * positions},
                  images,
                  groups},
                 stream, "conv_im2col_dgrad", s.text());
    };

    if (pointwise(s)) return product(dy, s.N, {0, s.P}, 0, s.groups, {0, s.Cg()}, dx, stored(dtype));

    auto* columns = static_cast<float*>(workspace);
    const int64_t image_bytes = column_rows(s) * pixels(s) * int64_t(sizeof(float));
    const int chunk = int(std::min<int64_t>(s.N, workspace_bytes / image_bytes));
    for (int n = 0; chunk > 0 && n < s.N; n += chunk) {
        const int images = std::min(chunk, s.N - n);
        product(advance(dy, n * dy_image, dtype), images, {0, s.P}, 0, s.groups, {0, s.Cg()}, columns, DType::float32);
        col2im(s, dtype, {images, 0, s.C, 0, pixels(s), column_rows(s) * pixels(s), pixels(s)}, 0, s.H, columns,
               advance(dx, n * image, dtype), stream);
    }
    if (chunk > 0) return;

    // Not one image fits: whole planes of some channels of a group, or else some rows of one plane.
    const int channels = int(std::clamp<int64_t>(workspace_bytes / dgrad_band_bytes(s, 1, s.H), 1, s.Cg()));
    const int rows =
        largest_within(workspace_bytes, s.H, [&](int rows) { return dgrad_band_bytes(s, channels, rows); });
    for (int n = 0; n < s.N; ++n)
        for (int g = 0; g < s.groups; ++g)
            for (int c = 0; c < s.Cg(); c += channels)
                for (int h = 0; h < s.H; h += rows) {
                    const Range band{h, std::min(h + rows, s.H)}, part{c, std::min(c + channels, s.Cg())};
                    const Range p = output_rows(s, band);
                    product(advance(dy, n * dy_image, dtype), 1, p, g, 1, part, columns, DType::float32);
                    const int64_t positions = int64_t(p.size()) * s.Q;
                    col2im(s, dtype, {1, g * s.Cg() + c, part.size(), int64_t(p.begin) * s.Q, positions, 0, positions},
                           h, band.size(), columns, advance(dx, n * image, dtype), stream);
                }
}

void conv_im2col_wgrad(const ConvShape& s, DType dtype, const void* x, const void* dy, void* dw, void* workspace,
                       int64_t workspace_bytes, cudaStream_t stream) {
    const char* op = "conv_im2col_wgrad";
    require(op, s, dtype, "wgrad", workspace_bytes);
    if (s.N == 0) {
        if (cudaMemsetAsync(dw, 0, size_t(s.w_size() * size_of(dtype)), stream) != cudaSuccess)
            throw std::runtime_error(std::string(op) + ": CUDA should write zeros, but failed (" + s.text() + ")");
        return;
    }
    const int64_t image = int64_t(s.C) * s.H * s.W, dy_image = s.K * pixels(s);
    const auto bytes = [&](int images) { return wgrad_bytes(s, dtype, images); };

    // One chunk: the GEMM rounds its float32 sums once. Several: they are added up in float32 first.
    const bool one_chunk = workspace_bytes >= bytes(s.N);
    const bool sum_apart = !one_chunk && size_of(dtype) == 2;
    const int64_t sum_bytes = sum_apart ? wgrad_sum_bytes(s, dtype) : 0;
    const DType out_dtype = sum_apart ? DType::float32 : stored(dtype);
    void* const out = sum_apart ? workspace : dw;
    void* const columns = static_cast<char*>(workspace) + sum_bytes;
    const int64_t room = workspace_bytes - sum_bytes;
    const int chunk = std::max(1, largest_within(room, s.N, bytes));
    const int64_t elements = room / (column_rows(s) * size_of(dtype));
    const int64_t band = room >= bytes(1) ? pixels(s) : positions_in(elements, dtype);

    bool accumulate = false;
    for (int n = 0; n < s.N; n += chunk) {
        const int images = std::min(chunk, s.N - n);
        const void* source = advance(x, n * image, dtype);
        const void* gradient = advance(dy, n * dy_image, dtype);
        if (images > 1) {
            const int64_t length = images * pixels(s), row = row_stride(length, dtype);
            void* reordered = static_cast<char*>(columns) + wgrad_columns_bytes(s, dtype, images);
            im2col(s, dtype, {images, 0, s.C, 0, pixels(s), pixels(s), row}, source, columns, stream);
            // dy (n, K, PQ) to (K, n, PQ): the columns of a 1x1 filter over dy.
            const ConvShape as_image{images, s.K, s.P, s.Q, s.K, 1, 1, s.P, s.Q, 0, 0, 1, 1, 1, 1, 1, 0};
            im2col(as_image, dtype, {images, 0, s.K, 0, pixels(s), pixels(s), row}, gradient, reordered, stream);
            multiply(wgrad_product(s, dtype, reordered, row, columns, row, length, out, out_dtype, accumulate), stream,
                     op, s.text());
            accumulate = true;
            continue;
        }
        for (int64_t first = 0; first < pixels(s); first += band) {
            const int64_t positions = std::min(band, pixels(s) - first);
            const int64_t row = pointwise(s) ? positions : row_stride(positions, dtype);
            if (!pointwise(s)) im2col(s, dtype, {1, 0, s.C, first, positions, 0, row}, source, columns, stream);
            multiply(wgrad_product(s, dtype, advance(gradient, first, dtype), pixels(s),
                                   pointwise(s) ? source : columns, row, positions, out, out_dtype, accumulate),
                     stream, op, s.text());
            accumulate = true;
        }
    }
    if (sum_apart) sum_parts(dtype, s.w_size(), 1, static_cast<const float*>(workspace), dw, stream);
}
