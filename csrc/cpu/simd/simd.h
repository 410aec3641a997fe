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
};

// The table of the widest instruction set that this CPU has, or of the one that set_isa chose.
const SimdTable& simd();
void set_isa(const std::string& name);  // "auto", "avx512", "avx2" or "portable"; one that the CPU lacks is an error
