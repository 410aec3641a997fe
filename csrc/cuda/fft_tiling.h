// How an FFT convolution is cut into tiles, and what memory they take.
#pragma once
#include <cstdint>
#include <string>

#include "conv_shape.h"
#include "dtype.h"
#include "fft_tiles.h"

// fwd: y from x; dgrad: dx from dy; wgrad: dw from x and dy, which is the `out` of this struct all the same.
struct FftTiling {
    TileGrid in, out, filters;
    int64_t tiles;        // of the whole batch
    int64_t filter_size;  // K C / groups
    bool wgrad;

    int n_h() const { return in.h.n; }
    int n_w() const { return in.w.n; }
    int frequencies() const { return n_h() * (n_w() / 2 + 1); }
    int64_t spectrum() const { return 2 * int64_t(frequencies()); }  // floats
    int64_t spectrum_bytes() const { return spectrum() * int64_t(sizeof(float)); }

    // Bytes of a work area for cuFFT that transforms `spectra` at a time or in a few parts.
    int64_t area_bytes(int64_t spectra) const;
    int64_t most_tiles() const;                    // that are worth having at once
    int64_t area_bytes() const;                    // of the workspace
    int64_t workspace_bytes(int64_t tiles) const;  // that holds so many
};

// The tiling whose time a model says is least, of sizes that cuFFT does well. It depends on the shape of one image
// only. Throws std::invalid_argument for what FFT convolution does not take.
FftTiling fft_tiling(const ConvShape& shape, DType dtype, const std::string& direction);

constexpr int64_t kFftAlign = 256;  // bytes, of each array in the workspace
inline int64_t fft_aligned(int64_t bytes) { return (bytes + kFftAlign - 1) / kFftAlign * kFftAlign; }
