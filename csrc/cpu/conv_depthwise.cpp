// Depthwise convolutions (C / groups = 1): says which pixels each tap reads, cuts planes into bands and groups whose
// padded copies stay in L1, and runs simd/depthwise*.cpp on the threads.
#include <algorithm>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "cpu.h"
#include "element.h"
#include "simd/simd.h"
#include "threads.h"

namespace {

constexpr int64_t kCached = 6144;  // floats of a copy that leave room in L1 for what is copied, and for results
constexpr int64_t kUnits = 64;     // at least, where there are as many planes

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t round_up(int64_t count, int64_t step) { return ceil_div(count, step) * step; }
int64_t floor_div(int64_t a, int64_t b) { return (a - (a % b + b) % b) / b; }

// One axis of dgrad: the result (i, phase) meets through `tap` the pixel i + shift of dy.
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

// Taps below each other and the pixel that the first one reads for the result (0, 0), which may lie outside.
struct Run {
    int source;         // plane among the sources
    int row, column;    // the column: in its phase
    int phase;          // of the columns
    int first, length;  // taps
};

struct Plan {
    DepthwiseJob job{};
    bool wgrad;
    int threads, slices = 1;
    int apart, tap_step;                 // taps of a run: rows of the filter and taps from one to the next
    std::vector<std::vector<Run>> runs;  // by phase
    std::vector<std::vector<DepthwiseRun>> offsets;
    std::vector<DepthwiseRuns> phases;

    Plan(const ConvShape& s, DType dtype, const std::string& direction) : wgrad(direction == "wgrad") {
        if (s.Cg() != 1 || dtype == DType::float64)
            throw std::invalid_argument("conv_depthwise: takes one input channel a group, no float64, but came " +
                                        s.text());
        if (direction != "fwd" && direction != "dgrad" && !wgrad)
            throw std::invalid_argument("conv_depthwise_workspace: direction is fwd, dgrad or wgrad, but came " +
                                        direction);
        job.dtype = dtype;
        job.planes = int64_t(s.N) * s.C;
        job.channels = s.C;
        job.sources = job.results = 1;
        job.taps = s.R * s.S;
        job.phases_h = job.phases_w = job.stride_h = job.stride_w = 1;
        job.row_step = job.phases = 1;
        apart = s.stride_h % s.dil_h ? s.R : s.stride_h / s.dil_h;  // R where none are a row step apart
        tap_step = apart * s.S;
        if (direction == "dgrad")
            plan_dgrad(s);
        else
            plan_fwd(s);
        lay_out();
        threads = threads_for((s.x_size() + s.y_size()) / 8 + s.y_size() * s.R * s.S / 32);
        if (wgrad) slices = int(std::clamp<int64_t>(kUnits / s.C, 1, std::max(s.N, 1)));
    }
    Plan(const Plan&) = delete;  // the job points into it

    void plan_fwd(const ConvShape& s) {
        job.results = s.Kg();
        job.height = s.H, job.width = s.W;
        job.row_step = s.stride_h, job.phases = s.stride_w;
        job.H = job.P = s.P, job.W = job.Q = s.Q;
        auto& phase = runs.emplace_back();
        for (int t = 0; t < s.S; ++t)
            for (int r = 0; r < std::min(apart, s.R); ++r) {
                const int64_t u = int64_t(t) * s.dil_w - s.pad_w, column = floor_div(u, s.stride_w);
                add_taps(phase, {0, int(int64_t(r) * s.dil_h - s.pad_h), int(column), int(u - column * s.stride_w),
                                 r * s.S + t, int(ceil_div(s.R - r, apart))});
            }
    }

    void plan_dgrad(const ConvShape& s) {
        job.sources = s.Kg();
        job.taps *= job.sources;
        job.height = s.P, job.width = s.Q;
        job.H = s.H, job.W = s.W;
        job.stride_h = s.stride_h, job.stride_w = s.stride_w;
        job.phases_h = std::min(s.stride_h, s.H), job.phases_w = std::min(s.stride_w, s.W);
        job.P = int(ceil_div(s.H, s.stride_h)), job.Q = int(ceil_div(s.W, s.stride_w));
        tap_step = -tap_step;  // a lower row of dy meets a higher tap
        for (int a = 0; a < job.phases_h; ++a)
            for (int b = 0; b < job.phases_w; ++b) {
                auto& phase = runs.emplace_back();
                const auto rows = shifts_of(a, s.R, s.pad_h, s.stride_h, s.dil_h);
                for (int j = 0; j < job.sources; ++j)
                    for (const Shift& column : shifts_of(b, s.S, s.pad_w, s.stride_w, s.dil_w))
                        for (size_t i = 0, begin = 0; i < rows.size(); begin = i) {
                            while (++i < rows.size() && rows[i].tap + apart == rows[i - 1].tap) continue;
                            add_taps(phase, {j, rows[begin].shift, column.shift, 0,
                                             (j * s.R + rows[begin].tap) * s.S + column.tap, int(i - begin)});
                        }
            }
    }

    void add_taps(std::vector<Run>& phase, Run run) {
        for (int left = run.length; left > 0; left -= kLongestRun) {
            run.length = std::min(left, kLongestRun);
            phase.push_back(run);
            run.row += run.length * job.row_step;
            run.first += run.length * tap_step;
        }
    }

    // The copy: its rows and columns, bands and groups that stay in L1, and where in it each run begins.
    void lay_out() {
        const int lanes = simd().lanes;
        int above = std::numeric_limits<int>::max(), below = std::numeric_limits<int>::min(), left = 0, right = 0;
        for (const auto& phase : runs)
            for (const Run& run : phase) {
                above = std::min(above, run.row);
                below = std::max(below, run.row + (run.length - 1) * job.row_step);
                left = std::min(left, run.column);
                right = std::max(right, run.column);
            }
        if (above > below) above = below = 0;  // no tap meets a pixel
        job.above = above;
        job.lead = round_up(-left, lanes);
        job.segment =
            round_up(std::max<int64_t>(ceil_div(job.width, job.phases) - left, int64_t(job.Q) + right), lanes);

        job.block = round_up(job.P, 7) < round_up(job.P, 8) ? 7 : 8;
        if (wgrad && lanes < 16) job.block = 4;                                  // fewer registers
        const int64_t of_dy = wgrad ? job.results * round_up(job.Q, lanes) : 0;  // floats of a row
        const int64_t of_row = job.row_step * job.pitch() * job.sources + of_dy;
        // Bands share below - above rows of the source, so they are longer than that.
        const int64_t shared = (below - above) / job.row_step;
        const int64_t bands = ceil_div(job.P, std::max<int64_t>({1, 2 * shared, kCached / of_row - shared}));
        job.band = int(round_up(ceil_div(job.P, bands), job.block));
        job.rows = (job.band - 1) * int64_t(job.row_step) + below - above + 1;
        // Of wgrad, images; enough groups to share out.
        const int64_t planes = wgrad ? job.planes / job.channels : ceil_div(job.planes, kUnits);
        job.group = std::clamp<int64_t>(kCached / (job.plane() + job.band * of_dy), 1, std::max<int64_t>(1, planes));

        for (auto& phase : runs) {
            std::stable_sort(phase.begin(), phase.end(), [](auto& a, auto& b) { return a.length > b.length; });
            auto& placed = offsets.emplace_back();
            DepthwiseRuns& made = phases.emplace_back(DepthwiseRuns{});
            for (const Run& run : phase) {
                const int64_t row = run.source * job.rows + run.row - above;
                placed.push_back(
                    {row * job.pitch() + run.phase * job.segment + run.column, run.first, tap_step, run.length});
                for (int n = 1; n <= run.length; ++n) ++made.end[n];
            }
            made.runs = placed.data();  // stays where it is when `offsets` grows
        }
        job.runs = phases.data();
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
    void fit(int64_t given, const ConvShape& s) {
        while (bytes() > given)
            if (!shrink())
                throw std::invalid_argument("conv_depthwise: takes a workspace of at least " + std::to_string(bytes()) +
                                            " bytes, but came " + std::to_string(given) + " (" + s.text() + ")");
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
    const int64_t of_thread = plan.scratch();
    parallel_for(job.units(), plan.threads,
                 [&](int64_t unit, int thread) { simd().depthwise_unit(job, unit, scratch + thread * of_thread); });
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
    const int64_t of_thread = plan.scratch();
    parallel_for(int64_t(s.C) * plan.slices, plan.threads, [&](int64_t unit, int thread) {
        const int64_t slice = unit % plan.slices, channel = unit / plan.slices;
        simd().depthwise_gradient(job, channel, slice * s.N / plan.slices, (slice + 1) * s.N / plan.slices,
                                  sums + slice * plan.sums() + channel * job.results * job.taps,
                                  scratch + thread * of_thread);
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
