// How the im2col convolutions cut their work so that its buffers fit the caller's workspace. A plan starts at what
// measured best and shrinks until it fits; where it can shrink no further it needs the least workspace that works.
//
// The cuts that decide in which order products are added (bands, channel blocks, slices) depend on the shape and the
// workspace, not on the number of threads or, for fwd and dgrad, on N: with the best workspace, results have the same
// bits for every number of threads, and a batch of n gives the bits of n batches of 1. Not so the batch where the
// filter is as large as the image: a product for each image would read all of w for one column, so there one product
// takes the whole batch, and needs no workspace.
#pragma once
#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "columns.h"
#include "conv_shape.h"
#include "cpu.h"
#include "element.h"
#include "threads.h"

// Every count is of elements of Acc<T> unless it says bytes.
struct Plan {
    static constexpr int64_t operations_per_ns = 32;  // of a product of small matrices, one thread

    const ConvShape& s;
    int acc_size;     // bytes
    bool narrow;      // storage is narrower than the sums
    bool no_columns;  // the image is its own column matrix
    int threads;
    int64_t positions;     // of a band
    int64_t channels = 0;  // of a block of input channels (dgrad, wgrad)
    int64_t chunk = 0;     // what is prepared at a time, see each direction
    int64_t slices = 1;    // wgrad: partial sums over parts of the batch

    Plan(const ConvShape& shape, DType dtype)
        : s(shape),
          acc_size(dtype == DType::float64 ? 8 : 4),
          narrow(dtype == DType::float16 || dtype == DType::bfloat16),
          no_columns(is_pointwise(shape) && !narrow),
          threads(threads_for(2 * shape.y_size() * shape.Cg() * shape.R * shape.S / operations_per_ns)) {}

    int64_t taps() const { return int64_t(s.R) * s.S; }
    int64_t plane() const { return int64_t(s.P) * s.Q; }

    // With room to begin at a cache line.
    int64_t bytes_of(int64_t count) const { return count == 0 ? 0 : 64 + acc_size * count; }

    // About 1 MB of columns, half of a typical L2; but at least 256 positions, else packing inside BLAS dominates.
    void choose_positions(int64_t rows) {
        positions = std::min(plane(), std::clamp<int64_t>((1 << 20) / (acc_size * rows), 256, 1024));
    }
    // About 512 rows of the column matrix.
    void choose_channels() { channels = std::clamp<int64_t>(512 / taps(), 1, s.Cg()); }
    int64_t channel_blocks() const { return (s.Cg() + channels - 1) / channels; }
};

// Buffers are rounded up to cache lines, so that no two threads write to one line.
inline int64_t padded(int64_t count) { return (count + 15) / 16 * 16; }

inline bool halve(int64_t& value, int64_t least) {
    if (value <= least) return false;
    value = std::max(least, (value + 1) / 2);
    return true;
}
inline bool halve(int& value, int least) {
    if (value <= least) return false;
    value = std::max(least, (value + 1) / 2);
    return true;
}

// fwd: columns of a band, then y band = w columns. chunk: rows of w of each group that are widened at a time.
struct FwdPlan : Plan {
    static constexpr int64_t row_block = 256;  // rows of y in one product; the same for every number of threads

    FwdPlan(const ConvShape& shape, DType dtype) : Plan(shape, dtype) {
        choose_positions(s.Cg() * taps());
        chunk = s.Kg();
    }
    int64_t columns() const { return no_columns ? 0 : padded(s.Cg() * taps() * positions); }
    int64_t tile() const { return narrow ? padded(std::min(chunk, row_block) * positions) : 0; }
    int64_t wide_w() const { return narrow ? padded(s.groups * chunk * s.Cg() * taps()) : 0; }
    int64_t bytes() const { return bytes_of(wide_w() + threads * (columns() + tile())); }
    bool shrink() {
        return halve(positions, std::min<int64_t>(positions, 128)) || halve(threads, 1) ||
               (narrow && halve(chunk, 1)) || halve(positions, std::min<int64_t>(positions, 16));
    }
};

// dgrad: columns of a band and a channel block = w^T dy band, then col2im. chunk: channels of w widened at a time.
struct DgradPlan : Plan {
    DgradPlan(const ConvShape& shape, DType dtype) : Plan(shape, dtype) {
        choose_channels();
        if (narrow) halve_to_fit();
        choose_positions(channels * taps());
        chunk = s.Cg();
    }
    // 16-bit storage needs the image in float: at most 2 MB of it.
    void halve_to_fit() {
        while (channels * s.H * s.W > (1 << 19) && halve(channels, 1)) continue;
    }
    int64_t columns() const { return no_columns ? 0 : padded(channels * taps() * positions); }
    int64_t wide_dx() const { return narrow ? padded(channels * s.H * s.W) : 0; }
    int64_t wide_dy() const { return narrow ? padded(s.Kg() * positions) : 0; }
    int64_t wide_w() const { return narrow ? padded(s.K * chunk * taps()) : 0; }
    int64_t bytes() const { return bytes_of(wide_w() + threads * (columns() + wide_dx() + wide_dy())); }
    bool shrink() {
        return halve(positions, std::min<int64_t>(positions, 128)) || halve(threads, 1) ||
               (narrow && halve(chunk, channels)) || halve(channels, 1) || (narrow && halve(chunk, 1)) ||
               halve(positions, std::min<int64_t>(positions, 16));
    }
};

// wgrad: dw^T of a channel block, summed over a slice of the (image, band) list = columns dy^T; then the slices are
// added in order. chunk: (group, channel block) pairs done at a time.
struct WgradPlan : Plan {
    WgradPlan(const ConvShape& shape, DType dtype) : Plan(shape, dtype) {
        choose_channels();
        choose_positions(channels * taps());
        chunk = blocks();
        // About 16 units of work, so that shapes with one channel block use several threads.
        slices = std::clamp<int64_t>(16 / blocks(), 1, std::max<int64_t>(1, s.N * Bands(s, positions).count));
    }
    int64_t blocks() const { return s.groups * channel_blocks(); }
    int64_t columns() const { return no_columns ? 0 : padded(channels * taps() * positions); }
    // A product is faster with dy^T than with dy, by more than turning dy costs, unless it has only a few rows.
    bool turns_dy() const { return narrow || s.Kg() > 8; }
    int64_t turned_dy() const { return turns_dy() ? padded(s.Kg() * positions) : 0; }
    int64_t tile() const { return padded(channels * taps() * s.Kg()); }
    int64_t bytes() const { return bytes_of(chunk * slices * tile() + threads * (columns() + turned_dy())); }
    bool shrink() {
        return halve(positions, std::min<int64_t>(positions, 128)) || halve(threads, 1) || halve(chunk, 1) ||
               halve(slices, 1) || halve(channels, 1) || halve(positions, std::min<int64_t>(positions, 16));
    }
};

template <class P>
P plan_within(const char* op, const ConvShape& shape, DType dtype, int64_t bytes) {
    P plan(shape, dtype);
    while (plan.bytes() > bytes)
        if (!plan.shrink())
            throw std::invalid_argument(std::string(op) + ": needs a workspace of at least " +
                                        std::to_string(plan.bytes()) + " bytes, but has " + std::to_string(bytes) +
                                        " (" + shape.text() + ")");
    return plan;
}

// Hands out the workspace piece by piece, from its first cache line on.
template <class A>
class Carver {
  public:
    explicit Carver(Address workspace) : next_(reinterpret_cast<A*>((workspace + 63) / 64 * 64)) {}
    A* take(int64_t count) {
        A* piece = next_;
        next_ += count;
        return piece;
    }

  private:
    A* next_;
};
