// The model behind fft_tiling: transforms, padding and cropping cost by the memory they touch, products by their flops,
// filters (wgrad: their sums) by both once a call, and by being read once for each 32 tiles.
#include "fft_tiling.h"

#include <algorithm>
#include <iterator>
#include <stdexcept>
#include <utility>

namespace {

// Even, and products of 2, 3, 5 and 7, for which cuFFT has kernels of its own.
constexpr int kLengths[] = {8,  12,  16,  20,  24,  28,  32,  36,  40,  48,  56,  60,  64,  72,  80, 84,
                            96, 100, 108, 112, 120, 128, 144, 160, 180, 192, 200, 216, 224, 240, 256};
constexpr int kLongestFilter = 128;

// Estimates for an H100, to be fitted to measurements: bytes and flops in a nanosecond, passes over a tile's memory
// (written by gather, twice read and written by a transform of two kernels or once by one, read by the product).
constexpr double kBandwidth = 2500, kFlops = 40000, kPasses = 5;
constexpr int kImages = 8;                        // of a batch, whatever it is: any batch gives one tile
constexpr int64_t kLargest = int64_t(160) << 20;  // bytes of filters and one tile, within the default workspace
constexpr int64_t kBlock = int64_t(64) << 20;     // bytes of tiles at a time: about the L2 of an H200
constexpr int64_t kBlockTiles = 32;               // and at least so many: one read of the filters
constexpr int64_t kArea = int64_t(16) << 20;      // bytes of work area

struct Cost {
    double excess;  // bytes beyond kLargest
    double time;

    bool operator<(const Cost& other) const {
        return excess != other.excess ? excess < other.excess : time < other.time;
    }
};

Cost cost_of(const ConvShape& s, const FftTiling& t) {
    const double bytes = double(t.spectrum_bytes()), channels = double(s.C) + s.K, filters = double(t.filter_size);
    const double tiles = kImages * double(t.in.of_image());
    const double products = 8 * filters * t.frequencies() / kFlops;
    const double time = tiles * (channels * bytes * kPasses / kBandwidth + products) +
                        filters * bytes * (kPasses + tiles / double(kBlockTiles)) / kBandwidth;
    const double needed = (filters + channels) * bytes;
    return {needed > double(kLargest) ? needed - double(kLargest) : 0, time};
}

// One axis of a convolution: sizes of x and y, taps, padding.
struct Axis {
    int x, y, taps, pad;
};

void cut(const Axis& a, int n, bool dgrad, bool wgrad, TileAxis& in, TileAxis& out, TileAxis& filters) {
    const int kept = n - a.taps + 1, outputs = dgrad ? a.x : a.y;  // of a tile; of an image
    const int tiles = (outputs + kept - 1) / kept;
    // dgrad is fwd of dy, with flipped filters and what is left of the padding.
    in = {n, tiles, dgrad ? a.pad - (a.taps - 1) : -a.pad, kept, n, dgrad ? a.y : a.x, false, 0};
    out = {n, tiles, 0, kept, kept, outputs, wgrad, 0};
    filters = {n, 1, 0, n, a.taps, a.taps, !dgrad, dgrad ? a.taps - 1 : 0};
}

// The lengths of kLengths for an axis: from the filter's size to the first that makes one tile do.
std::pair<const int*, const int*> lengths(const Axis& a, bool dgrad) {
    const int64_t whole = int64_t(dgrad ? a.x : a.y) + a.taps - 1;
    const int *const begin = std::begin(kLengths), *const end = std::end(kLengths);
    const int* const first = std::lower_bound(begin, end, a.taps);
    const int* const last = std::find_if(first, end, [&](int n) { return n >= whole; });
    return {first, last == end ? end : last + 1};
}

}  // namespace

FftTiling fft_tiling(const ConvShape& s, DType dtype, const std::string& direction) {
    const bool dgrad = direction == "dgrad", wgrad = direction == "wgrad";
    if (!dgrad && !wgrad && direction != "fwd")
        throw std::invalid_argument("conv_fft: direction is fwd, dgrad or wgrad, but came " + direction);
    if (s.stride_h != 1 || s.stride_w != 1 || s.dil_h != 1 || s.dil_w != 1 || s.R > kLongestFilter ||
        s.S > kLongestFilter || dtype == DType::float64)
        throw std::invalid_argument("conv_fft: takes stride 1, dilation 1, filters up to " +
                                    std::to_string(kLongestFilter) + " taps a side, no float64, but came " +
                                    name_of(dtype) + " (" + s.text() + ")");
    const Axis h{s.H, s.P, s.R, s.pad_h}, w{s.W, s.Q, s.S, s.pad_w};
    FftTiling best{}, tiling{};
    tiling.wgrad = wgrad;
    tiling.filter_size = int64_t(s.K) * s.Cg();
    tiling.in.planes = dgrad ? s.K : s.C;
    tiling.out.planes = dgrad ? s.C : s.K;
    Cost least{};
    const auto [first_h, last_h] = lengths(h, dgrad);
    const auto [first_w, last_w] = lengths(w, dgrad);
    for (const int* n_h = first_h; n_h != last_h; ++n_h)
        for (const int* n_w = first_w; n_w != last_w; ++n_w) {
            cut(h, *n_h, dgrad, wgrad, tiling.in.h, tiling.out.h, tiling.filters.h);
            cut(w, *n_w, dgrad, wgrad, tiling.in.w, tiling.out.w, tiling.filters.w);
            const Cost cost = cost_of(s, tiling);
            if (best.in.planes == 0 || cost < least) least = cost, best = tiling;
        }
    best.tiles = s.N * best.in.of_image();
    return best;
}

int64_t FftTiling::area_bytes(int64_t spectra) const {
    const int64_t one = 8 * spectrum_bytes();  // the most that cuFFT takes for one transform, says its manual
    return fft_aligned(std::max(one, std::min(kArea, spectra * spectrum_bytes() / 4)));
}

int64_t FftTiling::most_tiles() const {
    const int64_t fit = kBlock / ((int64_t(in.planes) + out.planes) * spectrum_bytes());
    const int64_t most = std::max<int64_t>(1, std::min(tiles, std::max(fit, kBlockTiles)));
    const int64_t blocks = std::max<int64_t>(1, (tiles + most - 1) / most);
    return std::max<int64_t>(1, (tiles + blocks - 1) / blocks);  // blocks of about the same size
}

int64_t FftTiling::area_bytes() const {
    const int64_t of_tiles = most_tiles() * std::max(in.planes, out.planes);
    return area_bytes(wgrad ? std::max(of_tiles, filter_size) : of_tiles);
}

int64_t FftTiling::workspace_bytes(int64_t count) const {
    return kFftAlign + area_bytes() + fft_aligned(count * in.planes * spectrum_bytes()) +
           fft_aligned(count * out.planes * spectrum_bytes()) + (wgrad ? filter_size * spectrum_bytes() : 0);
}
