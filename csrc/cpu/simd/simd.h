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

struct SimdTable {
    const char* name;        // avx512, avx2 or portable
    int lanes, rows, panel;  // of a register-blocked product

    // fwd form. filters (planes, row blocks, C, rows): one unit transforms the filters of a block of `rows` outputs.
    void (*winograd_filters)(const WinogradJob&, int64_t row_block, float* filters);
    // One unit makes the outputs of a block of tiles.
    void (*winograd_block)(const WinogradJob&, int64_t block, const float* filters, float* scratch);
    int64_t (*winograd_scratch)(const WinogradJob&);  // floats

    // wgrad: sums (planes, row blocks, panels, rows, panel) += products of the tile blocks [first, last); here y is dy.
    void (*winograd_products)(const WinogradJob&, int64_t first, int64_t last, float* sums, float* scratch);
    int64_t (*winograd_products_scratch)(const WinogradJob&);  // floats
    // One unit transforms the sums of a block of `rows` outputs, added over `slices` arrays of sums, into w.
    void (*winograd_gradient)(const WinogradJob&, int64_t row_block, int slices, const float* sums);
    int64_t (*winograd_sums)(const WinogradJob&);  // floats of one slice

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
};

// The table of the widest instruction set that this CPU has, or of the one that set_isa chose.
const SimdTable& simd();
void set_isa(const std::string& name);  // "auto", "avx512", "avx2" or "portable"; one that the CPU lacks is an error
