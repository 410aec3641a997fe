// What the sources of simd/ offer to the rest of csrc/cpu: one table of functions per instruction set.
#pragma once
#include <cstdint>
#include <string>

#include "dtype.h"

// One group of a 3x3 stride-1 convolution in the form y = x * w: dgrad is written so by its caller, with the roles of
// x and y swapped and the filter turned. Strides are in elements.
struct WinogradJob {
    int tile;  // m: outputs of a tile are m x m
    DType dtype;
    int N, C, H, W, K, P, Q;   // of the group
    int pad_h, pad_w;          // may be negative: rows of x that are left out
    int64_t x_image, y_image;  // from one image to the next
    int64_t w_k, w_c;          // from one filter to the next, from one channel to the next
    bool turned;               // the filter is read from its last tap to its first
    int64_t tiles;             // of a block: what is transformed, multiplied and transformed back in cache
    int64_t first_k, end_k;    // the outputs that a unit makes, from a multiple of `lanes` on
    const void* x;
    void* w;           // wgrad writes it
    void* y;           // wgrad reads it: dy
    const void* bias;  // (K,) or null
    bool relu;

    int64_t tile_rows() const { return (P + tile - 1) / tile; }
    int64_t tile_columns() const { return (Q + tile - 1) / tile; }
    int64_t all_tiles() const { return int64_t(N) * tile_rows() * tile_columns(); }
    int64_t blocks() const { return (all_tiles() + tiles - 1) / tiles; }
    int planes() const { return (tile + 2) * (tile + 2); }
};

// A convolution whose groups have one input channel, as sums of shifted rows. fwd and wgrad: a plane of x, the source,
// meets `results` planes of y. dgrad: `sources` planes of dy make one plane of dx.
//
// Kernels read sources from a copy that is padded with zeros: (planes, sources, rows, phases, segment) floats, column u
// of a row at [u % phases][u / phases]. The zeros behind a segment are also those before the next.
struct DepthwiseRun {     // taps below each other, each a row step after the one above
    int64_t offset;       // in the copy of a plane, of the pixel that the first tap reads for the result (0, 0)
    int first, tap_step;  // the first tap, and from one to the next
    int length;
};

constexpr int kLongestRun = 7;

struct DepthwiseRuns {  // those that make one phase of the result, the longest first
    const DepthwiseRun* runs;
    int end[kLongestRun + 2];  // runs of length n are [end[n + 1], end[n])
};

struct DepthwiseJob {
    DType dtype;
    int64_t planes;  // images times channels
    int channels, sources, results;
    int taps;           // of one result plane: R S, times the sources
    int height, width;  // of a source plane
    int row_step;       // source rows from one result row to the next
    int phases;         // source columns from one result column to the next
    int above;          // the first source row that result row 0 reads; negative in the padding
    int H, W;           // of a result plane
    int phases_h, phases_w, stride_h, stride_w;  // result (i stride_h + a, j stride_w + b) is (i, j) of phase (a, b)
    int P, Q;                                    // rows and columns of a phase of the result
    int band, block;        // rows of a phase in a band of a plane, in a block that is summed in registers
    int64_t lead, segment;  // floats of zeros before the first row of the copy, of one phase of a row
    int64_t rows;           // of the copy: what a band reads
    int64_t group;          // planes that are copied together
    bool relu;
    const DepthwiseRuns* runs;  // by phase of the result
    const void *x, *w, *bias;
    void* y;

    int64_t bands() const { return (P + band - 1) / band; }
    int64_t units() const { return (planes + group - 1) / group * bands(); }
    int64_t pitch() const { return phases * segment; }
    int64_t plane() const { return sources * rows * pitch(); }
};

constexpr int kLongestFft = 128;

// A stride-1 convolution by tiles of n_h x n_w pixels that are transformed by FFT. In the form y = x * w: dgrad is
// written so by its caller. All groups together; strides are in elements.
struct FftJob {
    DType dtype;
    int n_h, n_w;  // of kFftLengths
    int N, C, H, W, K, P, Q, R, S, groups;
    int pad_h, pad_w;  // may be negative: rows of x that are left out
    int64_t w_k, w_c;  // from one filter of a group to the next, from one of its channels to the next
    bool flipped;      // the filter is read from its last tap to its first
    bool relu;
    int64_t tiles;  // of a block: what lies transformed in the workspace at a time
    int64_t chunk;  // tiles of one unit of fft_multiply
    const void* x;
    void* w;  // wgrad writes it
    void* y;  // wgrad reads it: dy
    const void* bias;

    int m_h() const { return n_h - R + 1; }  // outputs of a tile
    int m_w() const { return n_w - S + 1; }
    int half() const { return n_h / 2 + 1; }  // rows of a spectrum; the others are their conjugates
    int64_t tile_rows() const { return (P + m_h() - 1) / m_h(); }
    int64_t tile_columns() const { return (Q + m_w() - 1) / m_w(); }
    int64_t all_tiles() const { return N * tile_rows() * tile_columns(); }
    int Cg() const { return C / groups; }
    int Kg() const { return K / groups; }
    bool depthwise() const { return C == groups && K == groups; }
};

// What an FftJob needs, in floats, and its units of work.
struct FftSizes {
    int64_t x_units, y_units;      // for each tile: vectors of channels of x, and of y
    int64_t filters, block;        // arrays of fft_layout.h; wgrad's block holds x and dy
    int64_t filter_units;          // of fft_filters
    int64_t filter_scratch;        // of one thread
    int64_t scratch;               // of one thread
    int64_t sums, gradient_units;  // wgrad
};

// out (M, N) = A (M, K) B (K, N) + bias, then ReLU. Strides are in elements; of a_row and a_depth one is 1, and so of
// b_depth and b_column. The columns may come in images of `image` columns each, that lie apart in B and out.
struct GemmJob {
    DType dtype;
    bool wide_out;  // out is in the type of the sums
    int64_t M, N, K;
    const void* a;
    int64_t a_row, a_depth;
    const void* b;
    int64_t b_depth, b_column, b_image;
    void* out;
    int64_t out_row, out_column, out_image;
    int64_t image;     // columns of an image; without images N, and b_image = out_image = 0
    const void* bias;  // null, or a value for each row (bias_row) or for each column
    bool bias_row, relu;
};

// One group of a convolution in the form y = x * w (see WinogradJob), of one image.
struct ConvJob {
    DType dtype;
    int C, H, W, K, R, S, P, Q;  // of the group
    int pad_h, pad_w;            // may be negative
    int stride_h, stride_w, dil_h, dil_w;
    int64_t w_k, w_c;
    bool turned;
};

// Output positions [p0, p1) x [q0, q1): whole rows of the output, or a part of one row, so that the band is contiguous
// in a plane of y.
struct Band {
    int p0, p1, q0, q1;
    int64_t size;   // positions
    int64_t first;  // of them in a plane of y
};

// How a ConvJob is cut: at most so much is done at a time.
struct ConvCut {
    int64_t positions, pixels;  // of a band: outputs, and the pixels of a channel under them
    int64_t channels;
    int64_t panels;  // of filters, in fwd
};

struct SimdTable {
    const char* name;        // avx512, avx2 or portable
    int lanes, rows, panel;  // of a register-blocked product

    // fwd form. filters (planes, row blocks, C, rows): one unit transforms the filters of a block of `rows` outputs.
    void (*winograd_filters)(const WinogradJob&, int64_t row_block, float* filters);
    // One unit makes the outputs [first_k, end_k) of a block of tiles.
    void (*winograd_block)(const WinogradJob&, int64_t block, const float* filters, float* scratch);
    int64_t (*winograd_scratch)(const WinogradJob&);  // floats

    // wgrad: sums (planes, row blocks, panels, rows, panel) of the tile blocks [first, last) for the outputs
    // [first_k, end_k); here y is dy.
    void (*winograd_products)(const WinogradJob&, int64_t first, int64_t last, float* sums, float* scratch);
    int64_t (*winograd_products_scratch)(const WinogradJob&);  // floats
    // One unit transforms the sums of a block of `rows` outputs, added over `slices` arrays of sums, into w.
    void (*winograd_gradient)(const WinogradJob&, int64_t row_block, int slices, const float* sums);
    int64_t (*winograd_sums)(const WinogradJob&);  // floats of one slice

    // fwd and dgrad: a band of a group of planes.
    void (*depthwise_unit)(const DepthwiseJob&, int64_t unit, float* scratch);
    int64_t (*depthwise_scratch)(const DepthwiseJob&);  // floats
    // wgrad: sums (results, taps) of one channel over the images [first, last); y is dy.
    void (*depthwise_gradient)(const DepthwiseJob&, int64_t channel, int64_t first, int64_t last, float* sums,
                               float* scratch);
    int64_t (*depthwise_gradient_scratch)(const DepthwiseJob&);

    // FFT of tiles, fwd form. A unit transforms some filters.
    void (*fft_filters)(const FftJob&, int64_t unit, float* filters, float* scratch);
    // Then for a block of tiles from `first` on: columns, of one tile and vector of channels of x a unit;
    void (*fft_columns)(const FftJob&, int64_t first, int64_t unit, float* block, float* scratch);
    // rows, products over the channels, rows back, of one row of the spectra and tiles [begin, end) of the block;
    void (*fft_multiply)(const FftJob&, int64_t first, int64_t begin, int64_t end, int row, const float* filters,
                         float* block, float* scratch);
    // columns back, bias, ReLU and rounding, of one tile and vector of channels of y a unit.
    void (*fft_outputs)(const FftJob&, int64_t first, int64_t unit, const float* block, float* scratch);
    FftSizes (*fft_sizes)(const FftJob&);

    // wgrad. Columns, of x in the first units of the `count` tiles, of dy in the others;
    void (*fft_gradient_columns)(const FftJob&, int64_t first, int64_t count, int64_t unit, float* block,
                                 float* scratch);
    // rows, products over the tiles of the block, rows back: sums = (where first is 0) or +=;
    void (*fft_gradient_multiply)(const FftJob&, int64_t first, int64_t count, int row, const float* block, float* sums,
                                  float* scratch);
    // and at the end columns back and rounding: a unit makes one filter's taps for one vector of channels.
    void (*fft_gradient)(const FftJob&, int64_t unit, const float* sums, float* scratch);
    FftSizes (*fft_gradient_sizes)(const FftJob&);

    // Sums are in Acc of the job's dtype, as are filters, sums and scratch; so are all counts.
    int (*wide_panel)(DType);
    // One unit makes rows [m0, m1) of columns [n0, n1) of out.
    void (*gemm_block)(const GemmJob&, int64_t m0, int64_t m1, int64_t n0, int64_t n1, void* scratch);
    int64_t (*gemm_scratch)(DType, int64_t M, int64_t N, int64_t K);  // of a block of M x N

    // filters (panel, C taps, wide_panel): one unit packs the filters of one panel of K.
    void (*conv_filters)(const ConvJob&, int64_t panel, const void* w, void* filters);
    // One unit makes a band of the planes of y that belong to `panels` panels of K; `filters` begins with the first.
    void (*conv_forward)(const ConvJob&, const ConvCut&, const Band&, const void* x, const void* filters,
                         int64_t panel0, int64_t panels, const void* bias, bool relu, void* y, void* scratch);
    // wgrad of `channels` channels from x on: sums (panel of K, tile of `rows` taps, rows, wide_panel) += one band's.
    void (*conv_products)(const ConvJob&, const ConvCut&, const Band&, const void* x, int64_t channels, const void* dy,
                          void* sums, void* scratch);
    // One unit adds up a tile of `slices` arrays of sums that lie `slice` apart, and writes it to dw.
    void (*conv_gradient)(const ConvJob&, int64_t channels, int64_t tile, int64_t slices, int64_t slice, void* sums,
                          void* dw);
    int64_t (*conv_scratch)(const ConvJob&, const ConvCut&, bool gradient);
};

// The table of the widest instruction set that this CPU has, or of the one that set_isa chose.
const SimdTable& simd();
void set_isa(const std::string& name);  // "auto", "avx512", "avx2" or "portable"; one that the CPU lacks is an error
