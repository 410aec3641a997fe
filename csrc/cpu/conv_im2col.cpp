// y = x * w by im2col + GEMM, with columns that are only addresses (simd/conv.cpp). A unit of work is a band of output
// positions of one image and group. Called by bind_cpu.cpp.
#include "conv_im2col.h"

void convolve(const FwdPlan& plan, Address x, Address w, Address bias, bool relu, Address y, Address workspace) {
    const ConvShape& s = plan.s;
    const ConvJob& job = plan.job;
    const Bands bands = plan.bands();
    const int64_t size = size_of(plan.dtype), groups = s.groups;
    auto at = [&](Address base, int64_t elements) { return reinterpret_cast<void*>(base + elements * size); };
    const int64_t filters = plan.filters() * plan.acc_size, slot = plan.slot() * plan.acc_size;
    Carver<char> carver(workspace);
    char* packed = carver.take(groups * filters);
    char* slots = carver.take(plan.threads * slot);
    const int64_t x_image = int64_t(job.C) * job.H * job.W, y_image = int64_t(job.K) * job.P * job.Q;
    for (int64_t panel0 = 0; panel0 < plan.panels; panel0 += plan.cut.panels) {
        const int64_t panels = std::min(plan.cut.panels, plan.panels - panel0);
        const int64_t panel_bytes = plan.panel * job.C * plan.taps() * plan.acc_size;
        parallel_for(groups * panels, threads_for(s.w_size()), [&](int64_t unit, int) {
            const int64_t g = unit / panels, p = unit % panels;
            simd().conv_filters(job, panel0 + p, at(w, g * s.Kg() * s.Cg() * plan.taps()),
                                packed + g * filters + p * panel_bytes);
        });
        // Too few units for the threads: several threads take the same band and share the panels.
        const int64_t whole = s.N * groups * bands.count;
        const int64_t parts = std::clamp<int64_t>((plan.threads + whole - 1) / std::max<int64_t>(whole, 1), 1, panels);
        parallel_for(whole * parts, static_cast<int>(plan.threads), [&](int64_t unit, int thread) {
            const int64_t part = unit % parts, band = unit / parts % bands.count;
            const int64_t image = unit / parts / bands.count, g = image % groups;
            const int64_t first = panels * part / parts, last = panels * (part + 1) / parts;
            simd().conv_forward(job, plan.cut, bands[band], at(x, image * x_image),
                                packed + g * filters + first * panel_bytes, panel0 + first, last - first,
                                bias ? at(bias, g * job.K) : nullptr, relu, at(y, image * y_image),
                                slots + thread * slot);
        });
    }
}

namespace {

void fully_connected(const ConvShape& s, DType dtype, Address x, Address w, Address bias, bool relu, Address y) {
    const int64_t depth = int64_t(s.C) * s.R * s.S;
    GemmBatch batch{};
    batch.count = 1;
    batch.job.dtype = dtype;
    batch.job.M = s.N, batch.job.N = s.K, batch.job.K = depth;
    batch.job.a = reinterpret_cast<const void*>(x), batch.job.a_row = depth, batch.job.a_depth = 1;
    batch.job.b = reinterpret_cast<const void*>(w), batch.job.b_depth = 1, batch.job.b_column = depth;
    batch.job.out = reinterpret_cast<void*>(y), batch.job.out_row = s.K, batch.job.out_column = 1;
    batch.job.image = s.K;
    batch.job.bias = reinterpret_cast<const void*>(bias), batch.job.relu = relu;
    multiply(batch);
}

}  // namespace

void conv_im2col_fwd(const ConvShape& s, DType dtype, Address x, Address w, Address bias, bool relu, Address y,
                     Address workspace, int64_t bytes) {
    if (is_fully_connected(s)) return fully_connected(s, dtype, x, w, bias, relu, y);
    if (is_pointwise(s)) {
        const auto plan = within(PointwisePlan(s, dtype, false), "conv_im2col_fwd", bytes);
        return pointwise_multiply(plan, w, x, bias, relu, y, workspace);
    }
    convolve(within(FwdPlan(s, dtype, false), "conv_im2col_fwd", bytes), x, w, bias, relu, y, workspace);
}

std::pair<int64_t, int64_t> conv_im2col_workspace(const ConvShape& s, DType dtype, const std::string& direction) {
    if (direction != "fwd" && direction != "dgrad" && direction != "wgrad")
        throw std::invalid_argument("conv_im2col_workspace: direction is fwd, dgrad or wgrad, but came " + direction);
    if (is_fully_connected(s)) return {0, 0};
    if (direction == "wgrad") return limits(WgradPlan(s, dtype));
    if (is_pointwise(s)) return limits(PointwisePlan(s, dtype, direction == "dgrad"));
    if (direction == "fwd") return limits(FwdPlan(s, dtype, false));
    return turns(s) ? limits(FwdPlan(s, dtype, true)) : limits(ScatterPlan(s, dtype));
}
