// What implicit_hopper.cu and csrc/cuda/conv_implicit_hopper.cpp share: the size of a tile, and one product.
#pragma once
#include <cstdint>

#include "conv_shape.h"

struct CUtensorMap_st;  // of cuda.h: what the TMA knows about an array

// The box of a load: so many channels of so many positions, or of so many filters, of which a tile has one box or two;
// for the weight gradient, of so many terms, which are positions.
constexpr int kHopperChannels = 64, kHopperPositions = 128, kHopperFilters = 128, kHopperTerms = 64;
// The box of a store: so many positions of so many filters.
constexpr int kHopperStoredRows = 8, kHopperStored = 64;

// out (positions, filters) = pixels (positions, taps x channels)  filters^T, both with channels side by side. Position
// (p, q) reads, through tap (r, s) of the product, the pixel (lower + p stride + r offset); outside of the image are
// zeros. No tap: out is 0.
struct HopperProduct {
    int images, rows, columns;                                     // of positions
    int filters, channels;                                         // channels: of a pixel
    int taps_h, taps_w;                                            // of the product
    int first_tap, tap_apart_h, tap_apart_w;                       // which taps of the filter these are
    int lower_h, lower_w, stride_h, stride_w, offset_h, offset_w;  // in pixels
    int64_t image_apart, row_apart, column_apart, filter_apart;    // of out, in elements

    HOST_DEVICE int64_t positions() const { return int64_t(images) * rows * columns; }
};

// sums (splits, filters, channels, taps) = dy^T (filters, positions)  pixels (positions, channels x taps): each split
// sums over a part of the positions. Pixels are read as above.
struct HopperGradient {
    int images, rows, columns;  // of positions
    int filters, channels, taps_h, taps_w;
    int lower_h, lower_w, stride_h, stride_w, offset_h, offset_w;  // in pixels
    int splits;
    bool accumulate;  // onto what sums hold
};
