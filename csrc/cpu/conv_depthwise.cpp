// Depthwise convolutions (C / groups = 1): says where each tap finds its pixels in a band of a padded plane, cuts
// planes into bands that stay in L1, and runs simd/depthwise*.cpp on the threads.
#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include "cpu.h"
#include "element.h"
#include "simd/simd.h"
#include "threads.h"

namespace {

constexpr int64_t kCached = 8192;       // floats of scratch that leave room in L1 for a row of results
constexpr int64_t kWork = 1 << 16;      // multiply-adds that make a unit worth its start
constexpr int64_t kGradientUnits = 64;  // units of wgrad, where images allow

int64_t round_up(int64_t count, int64_t step) { return (count + step - 1) / step * step; }
int64_t floor_div(int64_t a, int64_t b) { return (a - (a % b + b) % b) / b; }

// One axis of dgrad: result pixel i stride + phase meets through `tap` the pixel i + shift of dy.
struct Shift {
    int tap, shift;
};

std::vector<Shift> shifts_of(int phase, int taps, int pad, int stride, int dil) {
    std::vector<Shift> found;
    for (int tap = taps - 1; tap >= 0; --tap) {  // ascending shifts
        const int64_t distance = int64_t(phase) + pad - int64_t(tap) * dil;
        if (distance % stride == 0) found.push_back({tap, int(floor_div(distance, stride))});
    }
    return found;
}

// The least and the largest shift over the phases that have any; (0, 0) where none has.
std::pair<int, int> range_of(int taps, int pad, int stride, int dil) {
    std::pair<int, int> range{0, 0};
    bool any = false;
    for (int phase = 0; phase < stride; ++phase)
        for (const Shift& s : shifts_of(phase, taps, pad, stride, dil)) {
            range = any ? std::pair(std::min(range.first, s.shift), std::max(range.second, s.shift))
                        : std::pair(s.shift, s.shift);
            any = true;
        }
    return range;
}

struct Plan {
    DepthwiseJob job{};
    bool wgrad;
    int images, threads, slices = 1;
    std::vector<int> order;
    std::vector<std::vector<DepthwiseRun>> runs;  // by phase
    std::vector<DepthwiseRuns> phases;

    Plan(const ConvShape& s, DType dtype, const std::string& direction) : wgrad(direction == "wgrad"), images(s.N) {
        constexpr int64_t longest = 1 << 20;
        if (s.Cg() != 1 || dtype == DType::float64 || s.H + 2 * int64_t(s.pad_h) > longest ||
            s.W + 2 * int64_t(s.pad_w) > longest)
            throw std::invalid_argument(
                "conv_depthwise: takes one input channel a group, images of at most 2^20 padded pixels along an axis, "
                "no float64, but came " +
                s.text());
        if (direction != "fwd" && direction != "dgrad" && !wgrad)
            throw std::invalid_argument("conv_depthwise_workspace: direction is fwd, dgrad or wgrad, but came " +
                                        direction);
        job.dtype = dtype;
        job.planes = int64_t(s.N) * s.C;
        job.channels = s.C;
        job.sources = job.results = 1;
        job.taps = s.R * s.S;
        job.stride_h = job.stride_w = 1;
        if (direction == "dgrad")
            plan_dgrad(s);
        else
            plan_fwd(s);
        for (auto& phase : runs) {
            DepthwiseRuns& made = phases.emplace_back();
            std::stable_sort(phase.begin(), phase.end(), [](auto& a, auto& b) { return a.length > b.length; });
            made.runs = phase.data();
            for (int n = kLongestRun; n >= 1; --n)
                made.end[n] =
                    int(std::count_if(phase.begin(), phase.end(), [n](auto& run) { return run.length >= n; }));
        }
        job.runs = phases.data();
        job.order = order.data();
        const int64_t rows_of_unit = int64_t(job.band) * job.Q * job.taps * job.results;
        job.planes_of_unit = std::clamp<int64_t>(kWork / std::max<int64_t>(1, rows_of_unit), 1, job.channels);
        threads = threads_for((s.x_size() + s.y_size()) / 8 + s.y_size() * s.R * s.S / 32);
        if (wgrad) slices = int(std::clamp<int64_t>(kGradientUnits / s.C, 1, std::max(s.N, 1)));
    }
    Plan(const Plan&) = delete;  // the job points into it

    // Column u = q stride_w + t dil_w of x, with its padding, is that of output q and tap t.
    void plan_fwd(const ConvShape& s) {
        job.results = s.Kg();
        job.H = job.P = s.P, job.W = job.Q = s.Q;
        DepthwiseWindow& in = job.source;
        in.height = s.H, in.width = s.W;
        in.top = -s.pad_h, in.left = -s.pad_w;
        in.phases = s.stride_w, in.row_step = s.stride_h;
        const int64_t right = int64_t(s.S - 1) * s.dil_w;
        in.columns = int64_t(s.Q - 1) * s.stride_w + right + 1;
        in.rows = int64_t(s.R - 1) * s.dil_h + 1;
        cut(right / s.stride_w);
        auto& phase = runs.emplace_back();
        const int apart = taps_apart(s);
        for (int t = 0; t < s.S; ++t)
            for (int r0 = 0; r0 < std::min(apart, s.R); ++r0) {
                const int64_t u = int64_t(t) * s.dil_w;
                const int64_t column = u % s.stride_w * in.phase + u / s.stride_w;
                std::vector<int> taps;
                for (int r = r0; r < s.R; r += apart) taps.push_back(r * s.S + t);
                add_taps(phase, int64_t(r0) * s.dil_h * in.pitch + column, taps);
            }
    }

    // Result pixel i stride + phase is the sum over taps, and over the planes of dy, of dy[i + shift].
    void plan_dgrad(const ConvShape& s) {
        job.sources = s.Kg();
        job.taps *= job.sources;
        job.stride_h = s.stride_h, job.stride_w = s.stride_w;
        job.H = s.H, job.W = s.W;
        job.P = int(round_up(s.H, s.stride_h) / s.stride_h), job.Q = int(round_up(s.W, s.stride_w) / s.stride_w);
        const auto down = range_of(s.R, s.pad_h, s.stride_h, s.dil_h);
        const auto right = range_of(s.S, s.pad_w, s.stride_w, s.dil_w);
        DepthwiseWindow& in = job.source;
        in.height = s.P, in.width = s.Q;
        in.top = down.first, in.left = right.first;
        in.phases = in.row_step = 1;
        in.columns = job.Q + right.second - right.first;
        in.rows = down.second - down.first + 1;
        cut(right.second - right.first);
        const int apart = taps_apart(s);
        for (int a = 0; a < s.stride_h; ++a)
            for (int b = 0; b < s.stride_w; ++b) {
                auto& phase = runs.emplace_back();
                const auto rows = shifts_of(a, s.R, s.pad_h, s.stride_h, s.dil_h);
                for (int j = 0; j < job.sources; ++j)
                    for (const Shift& column : shifts_of(b, s.S, s.pad_w, s.stride_w, s.dil_w))
                        for (size_t i = 0; i < rows.size();) {
                            const int64_t offset =
                                j * in.floats() + (rows[i].shift - down.first) * in.pitch + column.shift - right.first;
                            std::vector<int> taps;
                            do taps.push_back((j * s.R + rows[i].tap) * s.S + column.tap);
                            while (++i < rows.size() && rows[i].tap + apart == rows[i - 1].tap);
                            add_taps(phase, offset, taps);
                        }
            }
    }

    // Taps in a column that are a row step apart; R where none are.
    static int taps_apart(const ConvShape& s) { return s.stride_h % s.dil_h ? s.R : s.stride_h / s.dil_h; }

    void add_taps(std::vector<DepthwiseRun>& phase, int64_t offset, const std::vector<int>& taps) {
        const int64_t step = job.source.row_step * job.source.pitch;
        for (int i = 0; i < int(taps.size()); i += kLongestRun) {
            phase.push_back({offset + i * step, int(order.size()) + i, std::min<int>(kLongestRun, taps.size() - i)});
        }
        order.insert(order.end(), taps.begin(), taps.end());
    }

    // The layout of scratch, where vectors reach `right` columns beyond the last output, and the bands.
    void cut(int64_t right) {
        const int64_t lanes = simd().lanes;
        DepthwiseWindow& in = job.source;
        in.phase = round_up(job.Q, lanes) + right;
        if (in.phases > 1) in.phase = round_up(in.phase, lanes);
        in.pitch = in.phases * in.phase;
        job.block = wgrad ? kGradientRows : round_up(job.P, 7) < round_up(job.P, 8) ? 7 : 8;
        int64_t of_row = job.sources * in.row_step * in.pitch;
        if (wgrad) of_row += round_up(job.Q, lanes);
        if (job.stride_h * job.stride_w > 1) of_row += job.stride_h * job.stride_w * (round_up(job.Q, lanes) + lanes);
        // Bands share in.rows - in.row_step rows of the source, so they are much longer than that.
        const int64_t shared = in.rows / in.row_step;
        const int64_t wanted = std::max(kCached / of_row - shared, 2 * shared);
        const int64_t bands = (job.P + std::max<int64_t>(wanted, 1) - 1) / std::max<int64_t>(wanted, 1);
        job.band = int(round_up((job.P + bands - 1) / bands, job.block));
        job.bands = int((job.P + job.band - 1) / job.band);
        in.all_rows = (job.band - 1) * int64_t(in.row_step) + in.rows;
        DepthwiseWindow& dy = job.gradient;
        dy.height = job.P, dy.width = job.Q;
        dy.columns = job.Q;
        dy.phases = dy.row_step = 1;
        dy.phase = dy.pitch = round_up(job.Q, lanes);
        dy.rows = 1, dy.all_rows = job.band;
    }

    int64_t scratch() const {
        return round_up(wgrad ? simd().depthwise_gradient_scratch(job) : simd().depthwise_scratch(job), 16);
    }
    int64_t sums() const { return wgrad ? round_up(int64_t(job.channels) * job.results * job.taps, 16) : 0; }
    int64_t bytes() const { return 64 + 4 * (slices * sums() + threads * scratch()); }
    bool shrink() {
        if (slices > 1) return slices = 1, true;
        if (threads > 1) return threads /= 2, true;
        return false;
    }
    void fit(int64_t bytes_given, const ConvShape& s) {
        while (bytes() > bytes_given)
            if (!shrink())
                throw std::invalid_argument("conv_depthwise: takes a workspace of at least " + std::to_string(bytes()) +
                                            " bytes, but came " + std::to_string(bytes_given) + " (" + s.text() + ")");
    }
};

float* aligned(Address workspace) { return reinterpret_cast<float*>((workspace + 63) / 64 * 64); }

void forward(Plan& plan, Address x, Address w, Address bias, bool relu, Address y, Address workspace) {
    DepthwiseJob& job = plan.job;
    job.x = reinterpret_cast<const void*>(x);
    job.w = reinterpret_cast<const void*>(w);
    job.bias = reinterpret_cast<const void*>(bias);
    job.relu = relu;
    job.y = reinterpret_cast<void*>(y);
    float* scratch = aligned(workspace);
    std::fill_n(scratch, plan.threads * plan.scratch(), 0.0f);
    parallel_for(job.units(), plan.threads, [&](int64_t unit, int thread) {
        simd().depthwise_unit(job, unit, scratch + thread * plan.scratch());
    });
}

}  // namespace

void conv_depthwise_fwd(const ConvShape& s, DType dtype, Address x, Address w, Address bias, bool relu, Address y,
                        Address workspace, int64_t bytes) {
    Plan plan(s, dtype, "fwd");
    plan.fit(bytes, s);
    forward(plan, x, w, bias, relu, y, workspace);
}

void conv_depthwise_dgrad(const ConvShape& s, DType dtype, Address dy, Address w, Address dx, Address workspace,
                          int64_t bytes) {
    Plan plan(s, dtype, "dgrad");
    plan.fit(bytes, s);
    forward(plan, dy, w, 0, false, dx, workspace);
}

void conv_depthwise_wgrad(const ConvShape& s, DType dtype, Address x, Address dy, Address dw, Address workspace,
                          int64_t bytes) {
    Plan plan(s, dtype, "wgrad");
    plan.fit(bytes, s);
    DepthwiseJob& job = plan.job;
    job.x = reinterpret_cast<const void*>(x);
    job.y = reinterpret_cast<void*>(dy);
    float* sums = aligned(workspace);
    float* scratch = sums + plan.slices * plan.sums();
    std::fill_n(scratch, plan.threads * plan.scratch(), 0.0f);
    parallel_for(int64_t(s.C) * plan.slices, plan.threads, [&](int64_t unit, int thread) {
        const int64_t slice = unit % plan.slices, channel = unit / plan.slices;
        simd().depthwise_gradient(job, channel, slice * s.N / plan.slices, (slice + 1) * s.N / plan.slices,
                                  sums + slice * plan.sums() + channel * job.results * job.taps,
                                  scratch + thread * plan.scratch());
    });
    with_dtype(dtype, [&](auto t) {
        using T = decltype(t);
        for (int64_t i = 0; i < s.w_size(); ++i) {
            float total = sums[i];
            for (int slice = 1; slice < plan.slices; ++slice) total += sums[slice * plan.sums() + i];
            reinterpret_cast<T*>(dw)[i] = static_cast<T>(total);
        }
    });
}

std::pair<int64_t, int64_t> conv_depthwise_workspace(const ConvShape& s, DType dtype, const std::string& direction) {
    Plan plan(s, dtype, direction);
    const int64_t best = plan.bytes();
    while (plan.shrink()) continue;
    return {plan.bytes(), best};
}
