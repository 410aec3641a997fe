// The gradients of the im2col convolution. Called by bind_cpu.cpp.
#include "conv_im2col.h"
#include "convert_array.h"

namespace {

// dx = dy * w. A unit is a block of input channels of one image: w^T dy gives the columns of a band, and col2im adds
// them into the planes, which this thread alone owns.
template <class T>
void scatter(const ScatterPlan& plan, const T* dy, const T* w, T* dx, Address workspace) {
    using A = Acc<T>;
    const ConvShape& s = plan.s;
    const Bands bands(s.P, s.Q, plan.positions);
    const int64_t Cg = s.Cg(), Kg = s.Kg(), taps = plan.taps(), image = int64_t(s.H) * s.W;
    const int64_t plane = int64_t(s.P) * s.Q, blocks = parts_of(Cg, plan.channels);
    A* slots = Carver<A>(workspace).take(plan.threads * plan.slot());
    parallel_for(s.N * s.groups * blocks, static_cast<int>(plan.threads), [&](int64_t unit, int thread) {
        const int64_t n = unit / blocks / s.groups, g = unit / blocks % s.groups;
        const int64_t c0 = unit % blocks * plan.channels, count = std::min(plan.channels, Cg - c0);
        A* columns = slots + thread * plan.slot();
        A* scratch = columns + plan.columns() + plan.wide_dx();
        T* planes = dx + (n * s.C + g * Cg + c0) * image;
        A* sums;
        if constexpr (is_narrow<T>)
            sums = columns + plan.columns();
        else
            sums = planes;
        std::fill_n(sums, count * image, A(0));
        for (int64_t b = 0; b < bands.count; ++b) {
            const Band band = bands[b];
            GemmJob job{};
            job.dtype = plan.dtype, job.wide_out = true;
            job.M = count * taps, job.N = band.size, job.K = Kg;
            job.a = w + (g * Kg * Cg + c0) * taps, job.a_row = 1, job.a_depth = Cg * taps;
            job.b = dy + (n * s.K + g * Kg) * plane + band.first, job.b_depth = plane, job.b_column = 1;
            job.out = columns, job.out_row = band.size, job.out_column = 1;
            job.image = band.size;
            simd().gemm_block(job, 0, job.M, 0, job.N, scratch);
            col2im(s, columns, count, band, sums);
        }
        if constexpr (is_narrow<T>) convert(sums, count * image, planes);
    });
}

// dw = x * dy. A unit is a block of input channels of one group and a slice of the (image, band) list.
void wgrad(const WgradPlan& plan, Address x, Address dy, Address dw, Address workspace) {
    const ConvShape& s = plan.s;
    const ConvJob& job = plan.job;
    const Bands bands = plan.bands();
    const int64_t size = size_of(plan.dtype), items = s.N * bands.count;
    auto at = [&](Address base, int64_t elements) { return reinterpret_cast<void*>(base + elements * size); };
    const int64_t sums_bytes = plan.sums() * plan.acc_size, slot = plan.slot() * plan.acc_size;
    Carver<char> carver(workspace);
    char* all_sums = carver.take(plan.chunk * plan.slices * sums_bytes);
    char* slots = carver.take(plan.threads * slot);
    for (int64_t first = 0; first < plan.blocks(); first += plan.chunk) {
        const int64_t blocks = std::min(plan.chunk, plan.blocks() - first);
        auto channels_of = [&](int64_t block) {
            const int64_t c0 = (first + block) % plan.channel_blocks() * plan.cut.channels;
            return std::make_pair(c0, std::min<int64_t>(plan.cut.channels, job.C - c0));
        };
        parallel_for(blocks * plan.slices, static_cast<int>(plan.threads), [&](int64_t unit, int thread) {
            const int64_t block = unit / plan.slices, slice = unit % plan.slices;
            const auto [c0, count] = channels_of(block);
            const int64_t g = (first + block) / plan.channel_blocks();
            char* sums = all_sums + unit * sums_bytes;
            std::memset(sums, 0, sums_bytes);
            for (int64_t i = items * slice / plan.slices; i < items * (slice + 1) / plan.slices; ++i) {
                const int64_t n = i / bands.count;
                simd().conv_products(job, plan.cut, bands[i % bands.count],
                                     at(x, (n * s.C + g * job.C + c0) * job.H * job.W), count,
                                     at(dy, (n * s.K + g * job.K) * job.P * job.Q), sums, slots + thread * slot);
            }
        });
        const int64_t tiles = plan.tiles();
        parallel_for(blocks * tiles, static_cast<int>(plan.threads), [&](int64_t unit, int) {
            const int64_t block = unit / tiles, tile = unit % tiles;
            const auto [c0, count] = channels_of(block);
            if (tile * simd().rows >= count * plan.taps()) return;  // the last block has fewer
            const int64_t g = (first + block) / plan.channel_blocks();
            simd().conv_gradient(job, count, tile, plan.slices, plan.sums(),
                                 all_sums + block * plan.slices * sums_bytes,
                                 at(dw, (g * job.K * job.C + c0) * plan.taps()));
        });
    }
}

}  // namespace

void conv_im2col_dgrad(const ConvShape& s, DType dtype, Address dy, Address w, Address dx, Address workspace,
                       int64_t bytes) {
    const char* op = "conv_im2col_dgrad";
    const int64_t depth = int64_t(s.C) * s.R * s.S;
    if (is_fully_connected(s)) return gemm(dtype, false, false, s.N, depth, s.K, 1, dy, s.K, 0, w, depth, 0, dx);
    if (is_pointwise(s)) {
        const auto plan = within(PointwisePlan(s, dtype, true), op, bytes);
        return pointwise_multiply(plan, w, dy, 0, false, dx, workspace);
    }
    if (turns(s)) return convolve(within(FwdPlan(s, dtype, true), op, bytes), dy, w, 0, false, dx, workspace);
    const auto plan = within(ScatterPlan(s, dtype), op, bytes);
    with_dtype(dtype, [&](auto t) {
        using T = decltype(t);
        scatter(plan, reinterpret_cast<const T*>(dy), reinterpret_cast<const T*>(w), reinterpret_cast<T*>(dx),
                workspace);
    });
}

void conv_im2col_wgrad(const ConvShape& s, DType dtype, Address x, Address dy, Address dw, Address workspace,
                       int64_t bytes) {
    const int64_t depth = int64_t(s.C) * s.R * s.S;
    if (is_fully_connected(s)) return gemm(dtype, true, false, s.K, depth, s.N, 1, dy, s.K, 0, x, depth, 0, dw);
    wgrad(within(WgradPlan(s, dtype), "conv_im2col_wgrad", bytes), x, dy, dw, workspace);
}
