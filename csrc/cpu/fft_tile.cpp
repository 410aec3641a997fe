// A model of the time of an FFT convolution, in nanoseconds of one core: transforms cost by the vectors they touch,
// products by their multiply-adds, and filters (wgrad: sums), which are used once a block, by their memory.
#include "fft_tile.h"

#include <algorithm>

namespace {

// Fitted to single-thread times of 13 layers with all tiles that suit them, on a CPU with AVX-512: of the tiles that
// the model picks, the mean is 1.3 % slower than the best, the worst 9 %.
constexpr double kTransform = 16, kProduct = 1.1, kFilter = 9;
constexpr int kImages = 4;                        // for which fwd and dgrad reuse the filters: any batch gives one tile
constexpr int64_t kLargest = int64_t(192) << 20;  // bytes of transformed filters, within the default workspace

int64_t vectors(int64_t channels) { return (channels + 15) / 16; }

struct Cost {
    int64_t excess;  // bytes beyond kLargest
    double time;

    bool operator<(const Cost& other) const {
        return excess != other.excess ? excess < other.excess : time < other.time;
    }
};

Cost cost_of(const FftJob& job, bool wgrad) {
    const int64_t in = std::min(job.n_w, job.Q + job.S - 1), out = std::min(job.m_w(), job.Q);
    const int64_t x = vectors(job.C), y = job.depthwise() ? x : job.groups * vectors(job.Kg()), filters = y * job.Cg();
    auto transform = [&](int64_t columns) { return columns * job.n_h / 2.0 + double(job.half()) * job.n_w; };
    const double spectrum = double(job.half()) * job.n_w;
    const double tiles = double(job.tile_rows()) * job.tile_columns() * (wgrad ? job.N : kImages);
    const double time =
        tiles * (kTransform * (x * transform(in) + y * transform(out)) + kProduct * filters * spectrum) +
        kFilter * filters * (transform(job.S) + spectrum);
    const int64_t bytes = int64_t(job.half()) * (wgrad ? job.S : job.n_w) * filters * 2 * 16 * 4;
    return {std::max<int64_t>(0, bytes - kLargest), time};
}

}  // namespace

std::pair<int, int> fft_tile(FftJob job, bool wgrad) {
    std::pair<int, int> best{};
    Cost least{};
    for (int n_h : kFftLengths)
        for (int n_w : kFftLengths) {
            if (n_h < job.R || n_w < job.S) continue;
            job.n_h = n_h, job.n_w = n_w;
            const Cost cost = cost_of(job, wgrad);
            if (best.first == 0 || cost < least) least = cost, best = {n_h, n_w};
        }
    return best;
}
