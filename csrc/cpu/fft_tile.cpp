#include "fft_tile.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstdio>

namespace {

constexpr double kFiltersLimit = 128 << 20;  // bytes of transformed filters

double fft_time(int n) { return n * (6 + 2.5 * std::log2(n)); }

double time_of(const FftJob& job, bool wgrad) {
    const double lanes = 16, C = std::ceil(job.C / lanes), K = job.groups * std::ceil(job.Kg() / lanes);
    const double in = std::min(job.n_w, job.Q + job.S - 1), out = std::min(job.m_w(), job.Q);
    auto item = [&](double columns) { return columns * fft_time(job.n_h) / 2 + job.half() * fft_time(job.n_w); };
    const double tiles = double(job.tile_rows() * job.tile_columns());
    const double spectrum = double(job.half()) * job.n_w;
    const double images = wgrad ? std::max(1, job.N) : 4;
    const double filters = K * job.Cg() * (item(job.S) + 3 * spectrum);
    return images * tiles * (C * item(in) + K * item(out) + K * job.Cg() * spectrum * 3) + filters;
}

}  // namespace

std::pair<int, int> fft_tile(const FftJob& shape, bool wgrad) {
    FftJob job = shape;
    if (const char* forced = std::getenv("FFT_TILE")) {
        int a, b;
        std::sscanf(forced, "%d,%d", &a, &b);
        return {a, b};
    }
    std::pair<int, int> best{};
    double least = HUGE_VAL;
    for (int n_h : kFftLengths)
        for (int n_w : kFftLengths) {
            if (n_h < job.R || n_w < job.S) continue;
            job.n_h = n_h, job.n_w = n_w;
            double time = time_of(job, wgrad);
            const double bytes = 8.0 * job.half() * n_w * job.K * job.Cg();
            if (bytes > kFiltersLimit) time *= 1e3 * bytes / kFiltersLimit;
            if (time < least) least = time, best = {n_h, n_w};
        }
    return best;
}
