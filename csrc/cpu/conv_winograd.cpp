// Winograd convolutions: cuts a 3x3 stride-1 convolution into jobs of simd/winograd*.cpp and runs them on the threads.
// dgrad is fwd of dy with turned filters and the roles of C and K swapped.
#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>

#include "cpu.h"
#include "element.h"
#include "simd/simd.h"
#include "threads.h"

namespace {

constexpr int64_t kLarge = 16 << 20;  // bytes of filters or sums that no L2 holds

int64_t padded(int64_t floats) { return (floats + 15) / 16 * 16; }

WinogradJob job_of(const ConvShape& s, DType dtype, const std::string& direction, int tile) {
    if (s.R != 3 || s.S != 3 || s.stride_h != 1 || s.stride_w != 1 || s.dil_h != 1 || s.dil_w != 1 ||
        dtype == DType::float64 || (tile != 2 && tile != 4))
        throw std::invalid_argument("conv_winograd: takes 3x3 filters, stride 1, dilation 1, no float64, but came " +
                                    s.text());
    WinogradJob job{};
    job.tile = tile;
    job.dtype = dtype;
    job.N = s.N;
    job.w_k = int64_t(s.Cg()) * 9, job.w_c = 9;
    if (direction == "dgrad") {
        job.C = s.Kg(), job.H = s.P, job.W = s.Q;
        job.K = s.Cg(), job.P = s.H, job.Q = s.W;
        job.pad_h = 2 - s.pad_h, job.pad_w = 2 - s.pad_w;
        job.x_image = int64_t(s.K) * s.P * s.Q, job.y_image = int64_t(s.C) * s.H * s.W;
        std::swap(job.w_k, job.w_c);
        job.turned = true;
    } else {
        job.C = s.Cg(), job.H = s.H, job.W = s.W;
        job.K = s.Kg(), job.P = s.P, job.Q = s.Q;
        job.pad_h = s.pad_h, job.pad_w = s.pad_w;
        job.x_image = int64_t(s.C) * s.H * s.W, job.y_image = int64_t(s.K) * s.P * s.Q;
    }
    return job;
}

// How a job is cut so that it fits a workspace. The cuts depend on the shape and the workspace alone, except `threads`.
struct Plan {
    WinogradJob job;
    bool wgrad;
    int groups, threads, slices = 1;

    Plan(const ConvShape& s, DType dtype, const std::string& direction, int tile)
        : job(job_of(s, dtype, direction, tile)), wgrad(direction == "wgrad"), groups(s.groups) {
        const int64_t panel = simd().panel;
        job.tiles = wgrad && job.all_tiles() > panel ? 2 * panel : panel;  // few, so that their transforms stay in L2
        threads = threads_for(2 * s.y_size() * s.Cg() * 9 / 64);
        // Slices of the tiles are summed apart, so that several threads can work, and added in order at the end. Two
        // are enough where that means much memory to write and to read.
        if (wgrad) {
            const int64_t wanted = std::clamp<int64_t>(kLarge / 4 / simd().winograd_sums(job), 2, 16);
            slices = int(std::max<int64_t>(1, std::min(wanted, job.blocks())));
        }
    }

    int64_t row_blocks() const { return (job.K + simd().rows - 1) / simd().rows; }
    int64_t filters() const { return padded(job.planes() * row_blocks() * simd().rows * job.C); }  // of a group
    int64_t scratch() const {
        return padded(wgrad ? simd().winograd_products_scratch(job) : simd().winograd_scratch(job));
    }
    // Where there are fewer units of tiles than threads, several make outputs of the same tiles.
    int parts(int64_t units) const {
        return int(
            std::clamp<int64_t>(threads / std::max<int64_t>(units, 1), 1, (job.K + simd().lanes - 1) / simd().lanes));
    }
    int64_t sums() const { return padded(simd().winograd_sums(job)); }
    int64_t bytes() const { return 64 + 4 * ((wgrad ? groups * slices * sums() : 0) + threads * scratch()); }
    bool shrink() {
        const int64_t panel = simd().panel;
        if (slices > 1) return slices /= 2, true;
        if (job.tiles > panel) return job.tiles = panel, true;
        if (threads > 1) return threads /= 2, true;
        return false;
    }
};

Plan plan_within(const ConvShape& s, DType dtype, const std::string& direction, int tile, int64_t bytes) {
    Plan plan(s, dtype, direction, tile);
    while (plan.bytes() > bytes)
        if (!plan.shrink())
            throw std::invalid_argument("conv_winograd: takes a workspace of at least " + std::to_string(plan.bytes()) +
                                        " bytes, but came " + std::to_string(bytes) + " (" + s.text() + ")");
    return plan;
}

// The job of group g: all arrays move on by its channels.
WinogradJob group_job(const Plan& plan, int g, Address x, Address w, Address y, Address bias = 0, bool relu = false) {
    WinogradJob job = plan.job;
    const int64_t size = size_of(job.dtype);
    job.x = reinterpret_cast<const void*>(x + size * g * job.C * job.H * job.W);
    job.w = reinterpret_cast<void*>(w + size * g * job.K * job.C * 9);
    job.y = reinterpret_cast<void*>(y + size * g * job.K * job.P * job.Q);
    job.bias = bias ? reinterpret_cast<const void*>(bias + size * g * job.K) : nullptr;
    job.relu = relu;
    return job;
}

// The job for the outputs of one of `parts` parts.
WinogradJob part_of(WinogradJob job, int64_t part, int64_t parts) {
    const int64_t vectors = (job.K + simd().lanes - 1) / simd().lanes;
    job.first_k = part * vectors / parts * simd().lanes;
    job.end_k = std::min<int64_t>(job.K, (part + 1) * vectors / parts * simd().lanes);
    return job;
}

float* aligned(Address workspace) { return reinterpret_cast<float*>((workspace + 63) / 64 * 64); }

void forward(const Plan& plan, Address x, Address filters, Address bias, bool relu, Address y, Address workspace) {
    float* scratch = aligned(workspace);
    const int64_t blocks = plan.job.blocks(), parts = plan.parts(plan.groups * blocks);
    parallel_for(plan.groups * blocks * parts, plan.threads, [&](int64_t unit, int thread) {
        const int g = int(unit / parts / blocks);
        simd().winograd_block(part_of(group_job(plan, g, x, 0, y, bias, relu), unit % parts, parts),
                              unit / parts % blocks, reinterpret_cast<const float*>(filters) + g * plan.filters(),
                              scratch + thread * plan.scratch());
    });
}

}  // namespace

template <int tile>
int64_t conv_winograd_filters_bytes(const ConvShape& s, DType dtype, const std::string& direction) {
    const Plan plan(s, dtype, direction, tile);
    return 4 * plan.groups * plan.filters();
}

template <int tile>
void conv_winograd_filters(const ConvShape& s, DType dtype, const std::string& direction, Address w, Address filters) {
    const Plan plan(s, dtype, direction, tile);
    parallel_for(plan.groups * plan.row_blocks(), threads_for(s.w_size()), [&](int64_t unit, int) {
        const int g = int(unit / plan.row_blocks());
        simd().winograd_filters(group_job(plan, g, 0, w, 0), unit % plan.row_blocks(),
                                reinterpret_cast<float*>(filters) + g * plan.filters());
    });
}

template <int tile>
void conv_winograd_fwd(const ConvShape& s, DType dtype, Address x, Address filters, Address bias, bool relu, Address y,
                       Address workspace, int64_t bytes) {
    forward(plan_within(s, dtype, "fwd", tile, bytes), x, filters, bias, relu, y, workspace);
}

template <int tile>
void conv_winograd_dgrad(const ConvShape& s, DType dtype, Address dy, Address filters, Address dx, Address workspace,
                         int64_t bytes) {
    forward(plan_within(s, dtype, "dgrad", tile, bytes), dy, filters, 0, false, dx, workspace);
}

template <int tile>
void conv_winograd_wgrad(const ConvShape& s, DType dtype, Address x, Address dy, Address dw, Address workspace,
                         int64_t bytes) {
    const Plan plan = plan_within(s, dtype, "wgrad", tile, bytes);
    float* sums = aligned(workspace);
    float* scratch = sums + plan.groups * plan.slices * plan.sums();
    const int64_t blocks = plan.job.blocks(), parts = plan.parts(plan.groups * plan.slices);
    if (!blocks) {  // no images: no products make sums
        std::memset(reinterpret_cast<void*>(dw), 0, size_of(dtype) * s.w_size());
        return;
    }
    parallel_for(plan.groups * plan.slices * parts, plan.threads, [&](int64_t unit, int thread) {
        const int64_t part = unit % parts, slice = unit / parts % plan.slices, g = unit / parts / plan.slices;
        simd().winograd_products(part_of(group_job(plan, int(g), x, dw, dy), part, parts), slice * blocks / plan.slices,
                                 (slice + 1) * blocks / plan.slices, sums + unit / parts * plan.sums(),
                                 scratch + thread * plan.scratch());
    });
    parallel_for(plan.groups * plan.row_blocks(), plan.threads, [&](int64_t unit, int) {
        const int g = int(unit / plan.row_blocks());
        simd().winograd_gradient(group_job(plan, g, x, dw, dy), unit % plan.row_blocks(), plan.slices,
                                 sums + g * plan.slices * plan.sums());
    });
}

template <int tile>
std::pair<int64_t, int64_t> conv_winograd_workspace(const ConvShape& s, DType dtype, const std::string& direction) {
    Plan plan(s, dtype, direction, tile);
    const int64_t best = plan.bytes();
    while (plan.shrink()) continue;
    return {plan.bytes(), best};
}

#define INSTANTIATE(tile)                                                                                             \
    template int64_t conv_winograd_filters_bytes<tile>(const ConvShape&, DType, const std::string&);                  \
    template void conv_winograd_filters<tile>(const ConvShape&, DType, const std::string&, Address, Address);         \
    template void conv_winograd_fwd<tile>(const ConvShape&, DType, Address, Address, Address, bool, Address, Address, \
                                          int64_t);                                                                   \
    template void conv_winograd_dgrad<tile>(const ConvShape&, DType, Address, Address, Address, Address, int64_t);    \
    template void conv_winograd_wgrad<tile>(const ConvShape&, DType, Address, Address, Address, Address, int64_t);    \
    template std::pair<int64_t, int64_t> conv_winograd_workspace<tile>(const ConvShape&, DType, const std::string&);
INSTANTIATE(2)
INSTANTIATE(4)
