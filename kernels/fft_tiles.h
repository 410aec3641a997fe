// Where the tiles of an image lie, and their spectra: what csrc/cuda/conv_fft.cpp says to fft_tiles.cu,
// fft_pointwise.cu.
#pragma once
#include <cstdint>
#include <string>

#include "conv_shape.h"

// One axis of a grid of tiles. Tile t covers the pixels from `first` + t `apart` on; those outside of the image are 0.
struct TileAxis {
    int n;      // elements of a tile: the length of the transform
    int tiles;  // of an image
    int first, apart;
    int size;   // pixels of a tile that are read, 0 behind them; or written, of its first elements
    int image;  // pixels
    // gather: element e holds pixel (e + shift) mod n of the tile, or ((n - e) mod n + shift) mod n if reversed
    bool reversed;
    int shift;
};

struct TileGrid {
    int planes;  // of an image
    TileAxis h, w;

    int64_t of_image() const { return int64_t(h.tiles) * w.tiles; }
    std::string text() const {
        return std::to_string(planes) + " planes " + std::to_string(h.image) + "x" + std::to_string(w.image) +
               " in tiles " + std::to_string(h.n) + "x" + std::to_string(w.n);
    }
};

// Elements from row to row of a tile, so that its spectrum, n_w / 2 + 1 complex numbers a row, fits in its place.
HOST_DEVICE constexpr int tile_row(int n_w) { return 2 * (n_w / 2 + 1); }

// A matrix of spectra: their number from one row to the next, and so on.
struct SpectrumMatrix {
    float* data;  // at a multiple of 16 bytes
    int64_t row, column, group;
};

// out (rows, columns) (+)= a (rows, depth) b (depth, columns), for each frequency of the spectra and each group.
struct SpectrumProduct {
    int frequencies;  // of a spectrum, an even number; they lie side by side
    int64_t rows, columns, depth, groups;
    SpectrumMatrix a, b, out;
    bool accumulate;
};
