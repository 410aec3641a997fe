// Where the FFT convolution keeps its complex vectors (kPair floats each).
//
//   filters  (u, vector of K, v, C of a group, pair)        depthwise: (u, vector of channels, v, pair)
//   block    (u, tile, vector of channels, column, pair)    columns transformed; products overwrite their tiles
//   sums     (u, k, vector of C, column s, pair)            wgrad; depthwise: (u, vector of channels, column s, pair)
//
// u < n_h / 2 + 1 and v < n_w are the row and column of a spectrum. Strides that would be a large power of two have a
// pair more, so that neighbours do not meet in one set of the cache.
#pragma once
#include "fft_tiles.h"

namespace {

#if defined(__AVX512F__)
constexpr int kTileRows = 12;  // tiles of one register-blocked complex product: 24 sums in registers of 32
#else
constexpr int kTileRows = 6;  // 12 of 16
#endif
constexpr int kGradientRows = kLanes < 8 ? kLanes : kLanes / 2;  // output channels of one product of wgrad
constexpr int64_t kFilterScratch = 512 << 10;                    // bytes of one unit's filters between the two passes

INLINE int64_t vectors(int64_t channels) { return (channels + kLanes - 1) / kLanes; }

struct FftLayout {
    int64_t x_vectors, y_vectors, group_vectors;            // of channels; y of fwd has whole vectors for each group
    int64_t filter_channels, filter_v, filter_k, filter_u;  // strides in floats
    int64_t unit_channels, units_of_vector;                 // of fft_filters
    int64_t tile, row;                                      // block: strides
    int64_t dy_tile, dy_row;                                // wgrad: of the second block, that of dy
    int64_t sum_vectors, sum_rows, sum_k, sum_u;            // wgrad
    int64_t x_v, y_tile;                                    // scratch of fft_multiply: strides
    Images in, out;

    explicit FftLayout(const FftJob& job, bool wgrad) : in(inputs(job)), out(outputs(job)) {
        const bool depthwise = job.depthwise();
        x_vectors = vectors(job.C);
        group_vectors = depthwise ? 1 : vectors(job.Kg());
        y_vectors = wgrad || depthwise ? vectors(job.K) : job.groups * group_vectors;

        filter_channels = job.Cg();
        filter_v = (filter_channels + (filter_channels % 16 == 0)) * kPair;
        filter_k = job.n_w * filter_v;
        filter_u = y_vectors * filter_k;
        const int64_t one = job.half() * job.S * kPair * 4;
        unit_channels = most(1, least(least(8, filter_channels), kFilterScratch / one));
        units_of_vector = (filter_channels + unit_channels - 1) / unit_channels;

        const int64_t x_tile = x_vectors * in.columns * kPair, y_size = y_vectors * out.columns * kPair;
        tile = wgrad ? x_tile : most(x_tile, y_size);  // of a tile: x, then y in its place
        row = job.tiles * tile + kPair;
        dy_tile = y_size;
        dy_row = job.tiles * dy_tile + kPair;

        // Vectors of input channels that a group's may lie in; a group need not start with a vector.
        sum_vectors = job.Cg() % kLanes == 0   ? job.Cg() / kLanes
                      : kLanes % job.Cg() == 0 ? 1
                                               : (job.Cg() + kLanes - 2) / kLanes + 1;
        sum_rows = depthwise ? x_vectors : job.K;
        sum_k = sum_vectors * job.S * kPair;
        sum_u = sum_rows * sum_k + kPair;

        x_v = (x_vectors * kTileRows + 1) * kPair;
        y_tile = (job.n_w + 1) * kPair;
    }

    int64_t tile_blocks(int64_t tiles) const { return (tiles + kTileRows - 1) / kTileRows; }
};

// The channels of a vector.
INLINE Channels x_channels(const FftJob& job, int64_t vector) {
    return {vector * kLanes, least(kLanes, job.C - vector * kLanes)};
}

INLINE Channels y_channels(const FftJob& job, const FftLayout& layout, int64_t vector) {
    if (job.depthwise()) return x_channels(job, vector);
    const int64_t group = vector / layout.group_vectors, k = vector % layout.group_vectors * kLanes;
    return {group * job.Kg() + k, least(kLanes, job.Kg() - k)};
}

}  // namespace
