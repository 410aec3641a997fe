// Convolutions by FFT of tiles: picks the size of the tiles, cuts a stride-1 convolution into the jobs of simd/fft*.cpp
// and runs them on the threads. dgrad is fwd of dy with flipped filters and the roles of C and K swapped.
#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include "cpu.h"
#include "element.h"
#include "fft_tile.h"
#include "simd/simd.h"
#include "threads.h"

#include <chrono>
#include <cstdio>
namespace {
double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

constexpr int64_t kBlock = 32 << 20;  // bytes of transformed tiles: enough to reuse what is read of the filters
constexpr int64_t kChunk = 1 << 20;   // bytes of a row of the spectra that a thread keeps in its L2
constexpr int64_t kAlignment = 16;    // floats

int64_t padded(int64_t floats) { return (floats + kAlignment - 1) / kAlignment * kAlignment; }

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
    const auto [n_h, n_w] = fft_tile(job, direction == "wgrad");
    job.n_h = n_h, job.n_w = n_w;
    return job;
}

// How a job is cut so that it fits a workspace. Results of wgrad depend on `tiles`, so that does not depend on threads.
struct Plan {
    FftJob job;
    bool wgrad;
    int threads;

    Plan(const ConvShape& s, DType dtype, const std::string& direction)
        : job(job_of(s, dtype, direction)), wgrad(direction == "wgrad") {
        const int64_t column = int64_t(job.n_w) * 8, all = std::max<int64_t>(1, job.all_tiles());
        job.chunk = std::clamp<int64_t>(kChunk / (job.C * column), 1, all);
        job.tiles = 1;
        const int64_t one = 4 * sizes().block;
        job.tiles = std::clamp<int64_t>(wgrad ? 4 * kChunk / ((job.C + job.K) * column) : kBlock / one, 1, all);
        job.chunk = std::min(job.chunk, job.tiles);
        threads = threads_for(s.y_size() * s.Cg());
    }

    FftSizes sizes() const { return wgrad ? simd().fft_gradient_sizes(job) : simd().fft_sizes(job); }
    int64_t bytes() const {
        const FftSizes need = sizes();
        return 64 + 4 * (padded(need.block) + padded(need.sums) + threads * padded(need.scratch));
    }
    bool shrink() {
        if (threads > 1 && (wgrad || job.tiles == 1)) return threads /= 2, true;
        if (job.tiles == 1) return false;
        job.tiles /= 2;
        job.chunk = std::min(job.chunk, job.tiles);
        return true;
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
        double t0 = now();
        parallel_for(count * sizes.x_units, plan.threads, [&](int64_t unit, int thread) {
            simd().fft_columns(job, first, unit, block, mine(thread));
        });
        double t1 = now();
        parallel_for(job.half() * chunks, plan.threads, [&](int64_t unit, int thread) {
            const int64_t begin = unit % chunks * job.chunk;
            simd().fft_multiply(job, first, begin, std::min(begin + job.chunk, count), int(unit / chunks),
                                reinterpret_cast<const float*>(filters), block, mine(thread));
        });
        double t2 = now();
        parallel_for(count * sizes.y_units, plan.threads, [&](int64_t unit, int thread) {
            simd().fft_outputs(job, first, unit, block, mine(thread));
        });
        double t3 = now();
        if (std::getenv("FFT_TIME")) std::printf("tile %dx%d tiles %ld/%ld chunk %ld: columns %.2f multiply %.2f outputs %.2f\n", job.n_h, job.n_w, (long)count, (long)all, (long)job.chunk, 1e3*(t1-t0), 1e3*(t2-t1), 1e3*(t3-t2));
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
    if (s.N == 0) return std::fill_n(reinterpret_cast<char*>(dw), s.w_size() * size_of(dtype), 0), void();
    Plan plan = plan_within(s, dtype, "wgrad", bytes);
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
        double t0 = now();
        parallel_for(count * (sizes.x_units + sizes.y_units), plan.threads, [&](int64_t unit, int thread) {
            simd().fft_gradient_columns(job, first, count, unit, block, mine(thread));
        });
        double t1 = now();
        parallel_for(job.half(), plan.threads, [&](int64_t row, int thread) {
            simd().fft_gradient_multiply(job, first, count, int(row), block, sums, mine(thread));
        });
        double t2 = now();
        if (std::getenv("FFT_TIME")) std::printf("tile %dx%d tiles %ld/%ld: columns %.2f multiply %.2f\n", job.n_h, job.n_w, (long)count, (long)all, 1e3*(t1-t0), 1e3*(t2-t1));
    }
    double t3 = now();
    struct End { double t; ~End() { if (std::getenv("FFT_TIME")) std::printf("gradient %.2f\n", 1e3*(now()-t)); } } end{t3};
    parallel_for(sizes.gradient_units, plan.threads,
                 [&](int64_t unit, int thread) { simd().fft_gradient(job, unit, sums, mine(thread)); });
}

std::pair<int64_t, int64_t> conv_fft_workspace(const ConvShape& s, DType dtype, const std::string& direction) {
    Plan plan(s, dtype, direction);
    const int64_t best = plan.bytes();
    while (plan.shrink()) continue;
    return {plan.bytes(), best};
}
