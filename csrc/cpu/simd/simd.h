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

    // fwd and dgrad: a band of a group of planes.
    void (*depthwise_unit)(const DepthwiseJob&, int64_t unit, float* scratch);
    int64_t (*depthwise_scratch)(const DepthwiseJob&);  // floats
    // wgrad: sums (results, taps) of one channel over the images [first, last); y is dy.
    void (*depthwise_gradient)(const DepthwiseJob&, int64_t channel, int64_t first, int64_t last, float* sums,
                               float* scratch);
    int64_t (*depthwise_gradient_scratch)(const DepthwiseJob&);
};

// The table of the widest instruction set that this CPU has, or of the one that set_isa chose.
const SimdTable& simd();
void set_isa(const std::string& name);  // "auto", "avx512", "avx2" or "portable"; one that the CPU lacks is an error
