// Convolutions by FFT of tiles: picks the size of the tiles, cuts a stride-1 convolution into the jobs of simd/fft*.cpp
// and runs them on the threads. dgrad is fwd of dy with flipped filters and the roles of C and K swapped.
#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "cpu.h"
#include "element.h"
#include "fft_tile.h"
#include "simd/simd.h"
#include "threads.h"

namespace {

constexpr int64_t kBlock = 32 << 20;  // bytes of transformed tiles: enough to reuse what is read of the filters
constexpr int64_t kChunk = 1 << 20;   // bytes of one row of the spectra of x that a thread has at a time
constexpr int64_t kRow = 4 << 20;     // the same of x and dy in wgrad

int64_t padded(int64_t floats) { return (floats + 15) / 16 * 16; }

FftJob job_of(const ConvShape& s, DType dtype, const std::string& direction) {
    if (s.stride_h != 1 || s.stride_w != 1 || s.dil_h != 1 || s.dil_w != 1 || s.R > kLongestFft || s.S > kLongestFft ||
        dtype == DType::float64)
        throw std::invalid_argument("conv_fft: takes stride 1, dilation 1, filters up to " +
                                    std::to_string(kLongestFft) + " taps a side, no float64, but came " + s.text());
    FftJob job{};
    job.dtype = dtype;
    job.N = s.N, job.R = s.R, job.S = s.S, job.groups = s.groups;
    job.w_k = int64_t(s.Cg()) * s.R * s.S, job.w_c = int64_t(s.R) * s.S;
    if (direction == "dgrad") {
        job.C = s.K, job.H = s.P, job.W = s.Q;
        job.K = s.C, job.P = s.H, job.Q = s.W;
        job.pad_h = s.R - 1 - s.pad_h, job.pad_w = s.S - 1 - s.pad_w;
        std::swap(job.w_k, job.w_c);
    } else {
        job.C = s.C, job.H = s.H, job.W = s.W;
        job.K = s.K, job.P = s.P, job.Q = s.Q;
        job.pad_h = s.pad_h, job.pad_w = s.pad_w;
        job.flipped = true;  // correlation is convolution with the flipped filter
    }
    std::tie(job.n_h, job.n_w) = fft_tile(job, direction == "wgrad");
    return job;
}

// How a job is cut so that it fits a workspace. Results of wgrad depend on `tiles`, so that does not depend on threads.
struct Plan {
    FftJob job;
    bool wgrad;
    int threads;

    Plan(const ConvShape& s, DType dtype, const std::string& direction)
        : job(job_of(s, dtype, direction)), wgrad(direction == "wgrad"), threads(threads_for(s.y_size() * s.Cg())) {
        const int64_t all = std::max<int64_t>(1, job.all_tiles());
        job.tiles = 1;
        const int64_t one = wgrad ? (job.C + job.K) * column() : 4 * sizes().block;
        cut(std::clamp<int64_t>((wgrad ? kRow : kBlock) / one, 1, all));
    }

    int64_t column() const { return int64_t(job.n_w) * 8; }  // bytes of a row of one channel's spectrum
    // Blocks of this many tiles, in chunks that fit L2 and are many enough for the threads.
    void cut(int64_t tiles) {
        const int64_t fit = std::max<int64_t>(1, kChunk / (job.C * column()));
        const int64_t chunks = std::max((tiles + fit - 1) / fit, (8 * int64_t(threads) + job.half() - 1) / job.half());
        job.tiles = tiles;
        job.chunk = (tiles + chunks - 1) / chunks;
    }
    FftSizes sizes() const { return wgrad ? simd().fft_gradient_sizes(job) : simd().fft_sizes(job); }
    int64_t bytes() const {
        const FftSizes need = sizes();
        return 64 + 4 * (padded(need.block) + padded(need.sums) + threads * padded(need.scratch));
    }
    bool shrink() {
        if (threads > 1 && (wgrad || job.tiles == 1)) return threads /= 2, true;
        if (job.tiles > 1) return cut(job.tiles / 2), true;
        return false;
    }
};

Plan plan_within(const ConvShape& s, DType dtype, const std::string& direction, int64_t bytes) {
    Plan plan(s, dtype, direction);
    while (plan.bytes() > bytes)
        if (!plan.shrink())
            throw std::invalid_argument("conv_fft: takes a workspace of at least " + std::to_string(plan.bytes()) +
                                        " bytes, but came " + std::to_string(bytes) + " (" + s.text() + ")");
    return plan;
}

float* aligned(Address workspace) { return reinterpret_cast<float*>((workspace + 63) / 64 * 64); }

void forward(Plan plan, Address x, Address filters, Address bias, bool relu, Address y, Address workspace) {
    FftJob& job = plan.job;
    job.x = reinterpret_cast<const void*>(x);
    job.y = reinterpret_cast<void*>(y);
    job.bias = reinterpret_cast<const void*>(bias);
    job.relu = relu;
    const FftSizes sizes = plan.sizes();
    float* block = aligned(workspace);
    float* scratch = block + padded(sizes.block);
    auto mine = [&](int thread) { return scratch + thread * padded(sizes.scratch); };
    for (int64_t first = 0, all = job.all_tiles(); first < all; first += job.tiles) {
        const int64_t count = std::min(job.tiles, all - first), chunks = (count + job.chunk - 1) / job.chunk;
        parallel_for(count * sizes.x_units, plan.threads,
                     [&](int64_t unit, int thread) { simd().fft_columns(job, first, unit, block, mine(thread)); });
        parallel_for(job.half() * chunks, plan.threads, [&](int64_t unit, int thread) {
            const int64_t begin = unit % chunks * job.chunk;
            simd().fft_multiply(job, first, begin, std::min(begin + job.chunk, count), int(unit / chunks),
                                reinterpret_cast<const float*>(filters), block, mine(thread));
        });
        parallel_for(count * sizes.y_units, plan.threads,
                     [&](int64_t unit, int thread) { simd().fft_outputs(job, first, unit, block, mine(thread)); });
    }
}

}  // namespace

int64_t conv_fft_filters_bytes(const ConvShape& s, DType dtype, const std::string& direction) {
    return 4 * Plan(s, dtype, direction).sizes().filters;
}

void conv_fft_filters(const ConvShape& s, DType dtype, const std::string& direction, Address w, Address filters) {
    Plan plan(s, dtype, direction);
    plan.job.w = reinterpret_cast<void*>(w);
    const FftSizes sizes = plan.sizes();
    const int threads = threads_for(sizes.filters);
    std::vector<float> scratch(threads * sizes.filter_scratch);
    parallel_for(sizes.filter_units, threads, [&](int64_t unit, int thread) {
        simd().fft_filters(plan.job, unit, reinterpret_cast<float*>(filters),
                           scratch.data() + thread * sizes.filter_scratch);
    });
}

void conv_fft_fwd(const ConvShape& s, DType dtype, Address x, Address filters, Address bias, bool relu, Address y,
                  Address workspace, int64_t bytes) {
    forward(plan_within(s, dtype, "fwd", bytes), x, filters, bias, relu, y, workspace);
}

void conv_fft_dgrad(const ConvShape& s, DType dtype, Address dy, Address filters, Address dx, Address workspace,
                    int64_t bytes) {
    forward(plan_within(s, dtype, "dgrad", bytes), dy, filters, 0, false, dx, workspace);
}

void conv_fft_wgrad(const ConvShape& s, DType dtype, Address x, Address dy, Address dw, Address workspace,
                    int64_t bytes) {
    Plan plan = plan_within(s, dtype, "wgrad", bytes);
    if (s.N == 0) std::memset(reinterpret_cast<void*>(dw), 0, s.w_size() * size_of(dtype));
    if (s.N == 0) return;
    FftJob& job = plan.job;
    job.x = reinterpret_cast<const void*>(x);
    job.y = reinterpret_cast<void*>(dy);
    job.w = reinterpret_cast<void*>(dw);
    const FftSizes sizes = plan.sizes();
    float* block = aligned(workspace);
    float* sums = block + padded(sizes.block);
    float* scratch = sums + padded(sizes.sums);
    auto mine = [&](int thread) { return scratch + thread * padded(sizes.scratch); };
    for (int64_t first = 0, all = job.all_tiles(); first < all; first += job.tiles) {
        const int64_t count = std::min(job.tiles, all - first);
        parallel_for(count * (sizes.x_units + sizes.y_units), plan.threads, [&](int64_t unit, int thread) {
            simd().fft_gradient_columns(job, first, count, unit, block, mine(thread));
        });
        parallel_for(job.half(), plan.threads, [&](int64_t row, int thread) {
            simd().fft_gradient_multiply(job, first, count, int(row), block, sums, mine(thread));
        });
    }
    parallel_for(sizes.gradient_units, plan.threads,
                 [&](int64_t unit, int thread) { simd().fft_gradient(job, unit, sums, mine(thread)); });
}

std::pair<int, int> conv_fft_tile(const ConvShape& s, DType dtype, const std::string& direction) {
    const FftJob job = job_of(s, dtype, direction);
    return {job.n_h, job.n_w};
}

std::pair<int64_t, int64_t> conv_fft_workspace(const ConvShape& s, DType dtype, const std::string& direction) {
    Plan plan(s, dtype, direction);
    const int64_t best = plan.bytes();
    while (plan.shrink()) continue;
    return {plan.bytes(), best};
}
