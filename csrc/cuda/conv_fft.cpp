// Convolution by FFT of tiles (overlap-save; Vasilache et al. 2015): cuFFT transforms, kernels/fft_*.cu do the rest.
//
//   fwd     Y (tiles, K)  = X (tiles, C)  conj W (C, K)      per group and frequency
//   dgrad   DX (tiles, C) = DY (tiles, K) W' (K, C)          W' of the flipped filters, with their shift
//   wgrad   DW (K, C)     = conj DY (K, tiles) X (tiles, C)  summed over tiles and images in order
//
// A spectrum is conjugated by where its pixels are put: element e holds pixel -e. Images, filters and results of 16
// bits are widened as they are gathered and rounded once as they are put back, after bias and ReLU. The workspace holds
// the work area of cuFFT and the spectra of as many tiles as fit: those of x, of y, and DW for wgrad.
#include <algorithm>
#include <stdexcept>

#include "fft_tiling.h"
#include "functions.h"
#include "handles.h"
#include "kernels.h"

namespace {

constexpr int64_t kMostElements = int64_t(1) << 30;  // of one call of cuFFT: it counts in 32 bits

struct Area {
    void* data;
    int64_t bytes;
};

// Transforms spectra (count, n_h, n_w / 2 + 1) in place, in as many calls as their work area makes necessary.
void transform(const FftTiling& t, float* spectra, int64_t count, bool inverse, Area area, cudaStream_t stream,
               const ConvShape& s) {
    if (count == 0) return;
    const int64_t most = std::min({count, area.bytes / t.spectrum_bytes(), kMostElements / t.spectrum()});
    const int64_t calls = (count + most - 1) / most;
    int64_t batch = (count + calls - 1) / calls;
    while (count > 0) {
        batch = std::min(batch, count);
        FftPlan plan(t.n_h(), t.n_w(), int(batch), inverse);
        if (plan.work_bytes() > size_t(area.bytes)) {
            if (batch == 1)
                throw std::runtime_error("conv_fft: cuFFT should need a work area of at most " +
                                         std::to_string(area.bytes) + " bytes, but says " +
                                         std::to_string(plan.work_bytes()) + " (" + s.text() + ")");
            batch = (batch + 1) / 2;
            continue;
        }
        plan.run(spectra, area.data, stream);
        spectra += batch * t.spectrum();
        count -= batch;
    }
}

// Arrays one after another in memory that Python gave.
class Arena {
  public:
    explicit Arena(void* memory)
        : next_(reinterpret_cast<char*>(fft_aligned(int64_t(reinterpret_cast<std::uintptr_t>(memory))))) {}

    void* take(int64_t bytes) {
        char* const array = next_;
        next_ += fft_aligned(bytes);
        return array;
    }

  private:
    char* next_;
};

// What the three directions share: the tiling, the number of tiles at a time, and the parts of the workspace.
struct Run {
    const ConvShape& s;
    DType dtype;
    FftTiling t;
    cudaStream_t stream;
    int64_t at_once;
    Area area;
    float *in, *out, *sums;

    Run(const char* op, const ConvShape& shape, DType dtype, const char* direction, void* workspace,
        int64_t workspace_bytes, cudaStream_t stream)
        : s(shape), dtype(dtype), t(fft_tiling(shape, dtype, direction)), stream(stream) {
        const auto [least, best] = conv_fft_workspace(shape, dtype, direction);
        if (workspace_bytes < least)
            throw std::invalid_argument(std::string(op) + ": needs a workspace of at least " + std::to_string(least) +
                                        " bytes, but has " + std::to_string(workspace_bytes) + " (" + s.text() + ")");
        int64_t more = t.most_tiles();
        for (at_once = 1; more > at_once;) {  // the most that fit
            const int64_t middle = at_once + (more - at_once + 1) / 2;
            if (t.workspace_bytes(middle) <= workspace_bytes)
                at_once = middle;
            else
                more = middle - 1;
        }
        Arena arena(workspace);
        area = {arena.take(t.area_bytes()), t.area_bytes()};
        in = static_cast<float*>(arena.take(at_once * t.in.planes * t.spectrum_bytes()));
        out = static_cast<float*>(arena.take(at_once * t.out.planes * t.spectrum_bytes()));
        sums = t.wgrad ? static_cast<float*>(arena.take(t.filter_size * t.spectrum_bytes())) : nullptr;
    }

    // The spectra of tiles first .. first + count.
    void read(const TileGrid& grid, const void* images, int64_t first, int64_t count, float* spectra) const {
        gather_tiles(grid, dtype, first, count, images, spectra, stream);
        transform(t, spectra, count * grid.planes, false, area, stream, s);
    }

    void write(const TileGrid& grid, float* spectra, int64_t first, int64_t count, const void* bias, bool relu,
               void* images) const {
        transform(t, spectra, count * grid.planes, true, area, stream, s);
        const float scale = 1.f / float(t.n_h() * t.n_w());
        scatter_tiles(grid, dtype, first, count, spectra, scale, bias, relu, images, stream);
    }
};

// The filters (K, C / groups) as images of one tile each.
TileGrid filter_grid(const FftTiling& t) {
    TileGrid grid = t.filters;
    grid.planes = 1;
    return grid;
}

// fwd and dgrad; filters are spectra (K, C / groups).
void forward(const char* op, const ConvShape& s, DType dtype, bool dgrad, const void* x, const void* filters,
             const void* bias, bool relu, void* y, void* workspace, int64_t workspace_bytes, cudaStream_t stream) {
    const Run run(op, s, dtype, dgrad ? "dgrad" : "fwd", workspace, workspace_bytes, stream);
    const FftTiling& t = run.t;
    const int64_t in = t.in.planes / s.groups, out = t.out.planes / s.groups, Cg = s.Cg(), filters_of_group = in * out;
    float* const weights = static_cast<float*>(const_cast<void*>(filters));
    for (int64_t first = 0; first < t.tiles; first += run.at_once) {
        const int64_t count = std::min(run.at_once, t.tiles - first);
        run.read(t.in, x, first, count, run.in);
        multiply_spectra({t.frequencies(),
                          count,
                          out,
                          in,
                          s.groups,
                          {run.in, t.in.planes, 1, in},
                          {weights, dgrad ? Cg : 1, dgrad ? 1 : Cg, filters_of_group},
                          {run.out, t.out.planes, 1, out},
                          false},
                         stream);
        run.write(t.out, run.out, first, count, bias, relu, y);
    }
}

}  // namespace

std::pair<int, int> conv_fft_tile(const ConvShape& s, DType dtype, const std::string& direction) {
    const FftTiling t = fft_tiling(s, dtype, direction);
    return {t.n_h(), t.n_w()};
}

std::pair<int64_t, int64_t> conv_fft_workspace(const ConvShape& s, DType dtype, const std::string& direction) {
    const FftTiling t = fft_tiling(s, dtype, direction);
    return {t.workspace_bytes(1), t.workspace_bytes(t.most_tiles())};
}

// The spectra, and behind them the work area in which cuFFT makes them.
int64_t conv_fft_filters_bytes(const ConvShape& s, DType dtype, const std::string& direction) {
    const FftTiling t = fft_tiling(s, dtype, direction);
    return t.filter_size * t.spectrum_bytes() + kFftAlign + t.area_bytes(t.filter_size);
}

void conv_fft_filters(const ConvShape& s, DType dtype, const std::string& direction, const void* w, void* filters,
                      cudaStream_t stream) {
    const FftTiling t = fft_tiling(s, dtype, direction);
    const int64_t area_bytes = t.area_bytes(t.filter_size);
    Arena behind(static_cast<char*>(filters) + t.filter_size * t.spectrum_bytes());
    float* const spectra = static_cast<float*>(filters);
    gather_tiles(filter_grid(t), dtype, 0, t.filter_size, w, spectra, stream);
    transform(t, spectra, t.filter_size, false, {behind.take(area_bytes), area_bytes}, stream, s);
}

void conv_fft_fwd(const ConvShape& s, DType dtype, const void* x, const void* filters, const void* bias, bool relu,
                  void* y, void* workspace, int64_t workspace_bytes, cudaStream_t stream) {
    forward("conv_fft_fwd", s, dtype, false, x, filters, bias, relu, y, workspace, workspace_bytes, stream);
}

void conv_fft_dgrad(const ConvShape& s, DType dtype, const void* dy, const void* filters, void* dx, void* workspace,
                    int64_t workspace_bytes, cudaStream_t stream) {
    forward("conv_fft_dgrad", s, dtype, true, dy, filters, nullptr, false, dx, workspace, workspace_bytes, stream);
}

void conv_fft_wgrad(const ConvShape& s, DType dtype, const void* x, const void* dy, void* dw, void* workspace,
                    int64_t workspace_bytes, cudaStream_t stream) {
    const Run run("conv_fft_wgrad", s, dtype, "wgrad", workspace, workspace_bytes, stream);
    const FftTiling& t = run.t;
    const int64_t Cg = s.Cg(), Kg = s.Kg();
    int64_t first = 0;
    do {  // without an image once, for sums of nothing
        const int64_t count = std::min(run.at_once, t.tiles - first);
        run.read(t.in, x, first, count, run.in);
        run.read(t.out, dy, first, count, run.out);
        multiply_spectra({t.frequencies(),
                          Kg,
                          Cg,
                          count,
                          s.groups,
                          {run.out, 1, s.K, Kg},
                          {run.in, s.C, 1, Cg},
                          {run.sums, Cg, 1, Kg * Cg},
                          first > 0},
                         stream);
        first += run.at_once;
    } while (first < t.tiles);
    run.write(filter_grid(t), run.sums, 0, t.filter_size, nullptr, false, dw);
}
