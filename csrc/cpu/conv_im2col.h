// How the im2col convolutions cut their work so that its buffers fit the caller's workspace. A plan starts at what
// measured best and shrinks until it fits; where it can shrink no further it needs the least workspace that works.
//
// The cuts that decide in which order products are added (channels and, for wgrad, bands and slices) depend on the
// shape and the workspace, not on the number of threads or, for fwd and dgrad, on N: with the best workspace, results
// have the same bits for every number of threads, and a batch of n gives the bits of n batches of 1. Not so the batch
// where the filter is as large as the image: a product for each image would read all of w for one column, so there one
// product takes the whole batch, and needs no workspace.
#pragma once
#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>

#include "columns.h"
#include "conv_shape.h"
#include "cpu.h"
#include "element.h"
#include "gemm.h"
#include "simd/simd.h"
#include "threads.h"

// Buffers are rounded up to cache lines, so that no two threads write to one line.
inline int64_t padded(int64_t count) { return (count + 15) / 16 * 16; }
inline int64_t parts_of(int64_t size, int64_t part) { return (size + part - 1) / part; }

inline bool halve(int64_t& value, int64_t least) {
    if (value <= least) return false;
    value = std::max(least, (value + 1) / 2);
    return true;
}

// The convolution of one group; turned: that of dgrad with stride 1, a convolution of dy with the filters turned.
inline ConvJob conv_job(const ConvShape& s, DType dtype, bool turned) {
    const int64_t taps = int64_t(s.R) * s.S;
    ConvJob job{};
    job.dtype = dtype;
    job.C = s.Cg(), job.H = s.H, job.W = s.W, job.K = s.Kg(), job.R = s.R, job.S = s.S, job.P = s.P, job.Q = s.Q;
    job.pad_h = s.pad_h, job.pad_w = s.pad_w;
    job.stride_h = s.stride_h, job.stride_w = s.stride_w, job.dil_h = s.dil_h, job.dil_w = s.dil_w;
    job.w_k = job.C * taps, job.w_c = taps;
    if (turned) {
        std::swap(job.C, job.K), std::swap(job.H, job.P), std::swap(job.W, job.Q), std::swap(job.w_k, job.w_c);
        job.pad_h = s.dil_h * (s.R - 1) - s.pad_h, job.pad_w = s.dil_w * (s.S - 1) - s.pad_w;
        job.turned = true;
    }
    return job;
}

// Every count is of elements of Acc<T> unless it says bytes.
struct Im2colPlan {
    static constexpr int64_t operations_per_ns = 128;  // of one thread
    static constexpr int64_t in_cache = 1 << 17;       // half a megabyte of float, a quarter of a typical L2

    const ConvShape& s;
    DType dtype;
    int acc_size;  // bytes
    int64_t threads;

    Im2colPlan(const ConvShape& shape, DType type)
        : s(shape),
          dtype(type),
          acc_size(type == DType::float64 ? 8 : 4),
          threads(threads_for(2 * shape.y_size() * shape.Cg() * shape.R * shape.S / operations_per_ns)) {}
    int64_t taps() const { return int64_t(s.R) * s.S; }
    // With room to begin at a cache line.
    int64_t bytes_of(int64_t count) const { return 64 + acc_size * count; }
};

// A ConvJob, its bands, and its panels of K.
struct BandPlan : Im2colPlan {
    ConvJob job;
    ConvCut cut;
    int64_t panel, panels;

    BandPlan(const ConvShape& shape, DType type, bool turned)
        : Im2colPlan(shape, type),
          job(conv_job(shape, type, turned)),
          cut{},
          panel(simd().wide_panel(type)),
          panels(parts_of(job.K, panel)) {
        cut.channels = job.C, cut.panels = panels;
    }
    Bands bands() const { return {job.P, job.Q, cut.positions}; }
    void set_positions(int64_t positions) {
        cut.positions = std::min(positions, int64_t(job.P) * job.Q);
        const Bands all = bands();
        cut.positions = int64_t(all.rows) * all.cols;
        cut.pixels = (int64_t(all.rows - 1) * job.stride_h + int64_t(job.R - 1) * job.dil_h + 1) *
                     (int64_t(all.cols - 1) * job.stride_w + int64_t(job.S - 1) * job.dil_w + 1);
    }
    bool halve_positions(int64_t least) {
        const int64_t before = cut.positions;
        if (before > least) set_positions(std::max(least, before / 2));
        return cut.positions < before;
    }
    int64_t channel_blocks() const { return parts_of(job.C, cut.channels); }
    bool halve_channels() {
        if (cut.channels == 1) return false;
        cut.channels = parts_of(job.C, parts_of(job.C, cut.channels) * 2);
        return true;
    }
};

// fwd, and dgrad with stride 1. Filters are packed for cut.panels panels of each group at a time.
struct FwdPlan : BandPlan {
    FwdPlan(const ConvShape& shape, DType type, bool turned) : BandPlan(shape, type, turned) {
        set_positions(std::clamp<int64_t>(in_cache / (panels * panel), 64, 1024));
        while (cut.channels * cut.pixels > in_cache && halve_positions(64)) continue;
        while (cut.channels * cut.pixels > 2 * in_cache && halve_channels()) continue;
        while (s.N * s.groups * bands().count < 4 * threads && halve_positions(64)) continue;
    }
    int64_t filters() const { return cut.panels * panel * job.C * taps(); }  // of a group
    int64_t slot() const { return padded(simd().conv_scratch(job, cut, false)); }
    int64_t bytes() const { return bytes_of(s.groups * filters() + threads * slot()); }
    bool shrink() {
        return halve_positions(64) || halve(threads, 1) || halve(cut.panels, 1) || halve_positions(16) ||
               halve_channels();
    }
};

// wgrad: sums over a slice of the (image, band) list for a block of channels, then the slices are added in order.
// chunk: (group, channel block) pairs done at a time.
struct WgradPlan : BandPlan {
    int64_t chunk, slices;

    WgradPlan(const ConvShape& shape, DType type) : BandPlan(shape, type, false) {
        set_positions(std::clamp<int64_t>(in_cache / 2 / (panels * panel), 128, 512));
        while (cut.channels * std::max(taps() * panels * panel, cut.pixels) > in_cache && halve_channels()) continue;
        chunk = blocks();
        // About 16 units of work, so that shapes with one channel block use several threads.
        slices = std::clamp<int64_t>(16 / blocks(), 1, std::max<int64_t>(1, s.N * bands().count));
    }
    int64_t blocks() const { return s.groups * channel_blocks(); }
    int64_t tiles() const { return parts_of(cut.channels * taps(), simd().rows); }
    int64_t sums() const { return padded(tiles() * simd().rows * panels * panel); }
    int64_t slot() const { return padded(simd().conv_scratch(job, cut, true)); }
    int64_t bytes() const { return bytes_of(chunk * slices * sums() + threads * slot()); }
    bool shrink() {
        return halve_positions(128) || halve(threads, 1) || halve(chunk, 1) || halve(slices, 1) || halve_channels() ||
               halve_positions(16);
    }
};

// Whether dgrad is a convolution of dy. With fewer channels than lanes of a vector, scattering columns is faster.
inline bool turns(const ConvShape& s) { return s.stride_h == 1 && s.stride_w == 1 && s.Cg() >= 8; }

// Other dgrads: columns of a band and a channel block = w^T dy band, then col2im. 16-bit storage needs
// the image in float.
struct ScatterPlan : Im2colPlan {
    int64_t positions, channels;

    ScatterPlan(const ConvShape& shape, DType type) : Im2colPlan(shape, type) {
        channels = std::clamp<int64_t>(256 / taps(), 1, s.Cg());
        while (narrow() && channels * s.H * s.W > 1 << 19 && halve(channels, 1)) continue;
        positions = std::min<int64_t>(int64_t(s.P) * s.Q, 384);
    }
    bool narrow() const { return size_of(dtype) < acc_size; }
    int64_t columns() const { return padded(channels * taps() * positions); }
    int64_t wide_dx() const { return narrow() ? padded(channels * s.H * s.W) : 0; }
    int64_t gemm() const { return padded(simd().gemm_scratch(dtype, channels * taps(), positions, s.Kg())); }
    int64_t slot() const { return columns() + wide_dx() + gemm(); }
    int64_t bytes() const { return bytes_of(threads * slot()); }
    bool shrink() {
        return halve(positions, std::min<int64_t>(positions, 128)) || halve(threads, 1) || halve(channels, 1) ||
               halve(positions, std::min<int64_t>(positions, 16));
    }
};

// fwd and dgrad of a shape that is_pointwise.
GemmBatch pointwise_products(const ConvShape&, DType, bool dgrad);
struct PointwisePlan {
    const ConvShape& s;
    GemmBatch batch;
    GemmPlan blocks;

    PointwisePlan(const ConvShape& shape, DType type, bool dgrad)
        : s(shape), batch(pointwise_products(shape, type, dgrad)), blocks(batch) {}
    int64_t bytes() const { return 64 + blocks.threads * blocks.scratch(batch.job); }
    bool shrink() { return blocks.shrink(); }
};

// (least, best) bytes. A smaller cut may need more, so the least is that of any.
template <class P>
std::pair<int64_t, int64_t> limits(P plan) {
    const int64_t best = plan.bytes();
    int64_t least = best;
    while (plan.shrink()) least = std::min(least, plan.bytes());
    return {least, best};
}

template <class P>
P within(P plan, const char* op, int64_t bytes) {
    const P whole = plan;
    while (plan.bytes() > bytes)
        if (!plan.shrink())
            throw std::invalid_argument(std::string(op) + ": needs a workspace of at least " +
                                        std::to_string(limits(whole).first) + " bytes, but has " +
                                        std::to_string(bytes) + " (" + plan.s.text() + ")");
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

// What the functions of both directions come to. b is x or dy, and a the filters, in y = x * w and dx = dy * w.
void pointwise_multiply(const PointwisePlan&, Address a, Address b, Address bias, bool relu, Address out,
                        Address workspace);
void convolve(const FwdPlan&, Address x, Address w, Address bias, bool relu, Address y, Address workspace);
