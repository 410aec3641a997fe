// The gradients of the im2col convolution. Called by bind_cpu.cpp.
#include "blas.h"
#include "conv_im2col.h"
#include "convert_array.h"

namespace {

// dx = dy * w. A unit is a block of input channels of one image: w^T dy gives the columns of a band, and col2im adds
// them into the planes, which this thread alone owns.
template <class T>
void dgrad(const DgradPlan& plan, const T* dy, const T* w, T* dx, Address workspace) {
    using A = Acc<T>;
    const ConvShape& s = plan.s;
    const Bands bands(s, plan.positions);
    const int64_t Cg = s.Cg(), Kg = s.Kg(), taps = plan.taps(), image = int64_t(s.H) * s.W;
    Carver<A> carver(workspace);
    A* wide_w = carver.take(plan.wide_w());
    const int64_t slot = plan.columns() + plan.wide_dx() + plan.wide_dy();
    A* slots = carver.take(plan.threads * slot);

    const int64_t chunk = is_narrow<T> ? plan.chunk : Cg;
    for (int64_t first = 0; first < Cg; first += chunk) {
        const int64_t chunk_channels = std::min(chunk, Cg - first), chunk_row = chunk_channels * taps;
        if constexpr (is_narrow<T>)
            parallel_for(s.K, threads_for(s.K * chunk_row), [&](int64_t k, int) {
                convert(w + (k * Cg + first) * taps, chunk_row, wide_w + k * chunk_row);
            });
        const int64_t blocks = (chunk_channels + plan.channels - 1) / plan.channels;
        parallel_for(s.N * s.groups * blocks, plan.threads, [&](int64_t unit, int thread) {
            const int64_t n = unit / blocks / s.groups, g = unit / blocks % s.groups;
            const int64_t c0 = unit % blocks * plan.channels, count = std::min(plan.channels, chunk_channels - c0);
            A* columns = slots + thread * slot;
            A* wide_dy = columns + plan.columns() + plan.wide_dx();
            T* planes = dx + (n * s.C + g * Cg + first + c0) * image;
            const T* grad = dy + (n * s.K + g * Kg) * plan.plane();
            A* sums;
            if constexpr (is_narrow<T>)
                sums = columns + plan.columns();
            else
                sums = planes;
            if (!plan.no_columns) std::fill_n(sums, count * image, A(0));

            for (int64_t b = 0; b < bands.count; ++b) {
                const Band band = bands[b];
                Product product{.trans_a = true, .M = count * taps, .N = band.size, .K = Kg};
                product.lda = is_narrow<T> ? chunk_row : Cg * taps;
                product.ldb = is_narrow<T> ? band.size : plan.plane();
                product.ldc = plan.no_columns ? image : band.size;
                A* out = plan.no_columns ? sums + band.first : columns;
                if constexpr (is_narrow<T>) {
                    for (int64_t k = 0; k < Kg; ++k)
                        convert(grad + k * plan.plane() + band.first, band.size, wide_dy + k * band.size);
                    multiply(product, wide_w + g * Kg * chunk_row + c0 * taps, wide_dy, out);
                } else {
                    multiply(product, w + (g * Kg * Cg + first + c0) * taps, grad + band.first, out);
                }
                if (!plan.no_columns) col2im(s, columns, count, band, sums);
            }
            if constexpr (is_narrow<T>) convert(sums, count * image, planes);
        });
    }
}

// dw = x * dy. A unit is a block of input channels of one group and a slice of the (image, band) list; its tile holds
// dw^T (block taps, Kg).
template <class T>
void wgrad(const WgradPlan& plan, const T* x, const T* dy, T* dw, Address workspace) {
    using A = Acc<T>;
    const ConvShape& s = plan.s;
    const Bands bands(s, plan.positions);
    const int64_t Cg = s.Cg(), Kg = s.Kg(), taps = plan.taps(), image = int64_t(s.H) * s.W;
    const int64_t items = s.N * bands.count, slot = plan.columns() + plan.turned_dy();
    Carver<A> carver(workspace);
    A* tiles = carver.take(plan.chunk * plan.slices * plan.tile());
    A* slots = carver.take(plan.threads * slot);

    for (int64_t first = 0; first < plan.blocks(); first += plan.chunk) {
        const int64_t blocks = std::min(plan.chunk, plan.blocks() - first);
        auto channels_of = [&](int64_t block) {
            const int64_t c0 = (first + block) % plan.channel_blocks() * plan.channels;
            return std::make_pair(c0, std::min(plan.channels, Cg - c0));
        };
        parallel_for(blocks * plan.slices, plan.threads, [&](int64_t unit, int thread) {
            const int64_t block = unit / plan.slices, slice = unit % plan.slices;
            const auto [c0, count] = channels_of(block);
            const int64_t g = (first + block) / plan.channel_blocks();
            A* tile = tiles + unit * plan.tile();
            A* columns = slots + thread * slot;
            A* turned_dy = columns + plan.columns();
            std::fill_n(tile, count * taps * Kg, A(0));
            for (int64_t i = items * slice / plan.slices; i < items * (slice + 1) / plan.slices; ++i) {
                const int64_t n = i / bands.count;
                const Band band = bands[i % bands.count];
                const T* planes = x + (n * s.C + g * Cg + c0) * image;
                const A* product_of = columns;
                int64_t ld = band.size;
                if constexpr (!is_narrow<T>) {
                    if (plan.no_columns) product_of = planes + band.first, ld = image;
                }
                if (product_of == columns) im2col(s, planes, count, band, columns);
                const T* grad = dy + (n * s.K + g * Kg) * plan.plane() + band.first;
                Product product{
                    .M = count * taps, .N = Kg, .K = band.size, .lda = ld, .ldb = Kg, .ldc = Kg, .add = true};
                if constexpr (!is_narrow<T>) {
                    if (!plan.turns_dy()) {
                        product.trans_b = true;
                        product.ldb = plan.plane();
                        multiply(product, product_of, grad, tile);
                        continue;
                    }
                }
                transpose(grad, Kg, band.size, plan.plane(), turned_dy);
                multiply(product, product_of, turned_dy, tile);
            }
        });
        constexpr int64_t strip = 32;  // rows of a tile that one unit adds up and turns
        const int64_t strips = (plan.channels * taps + strip - 1) / strip;
        parallel_for(blocks * strips, plan.threads, [&](int64_t unit, int) {
            const int64_t block = unit / strips, begin = unit % strips * strip;
            const auto [c0, count] = channels_of(block);
            const int64_t end = std::min(begin + strip, count * taps), g = (first + block) / plan.channel_blocks();
            A* sum = tiles + block * plan.slices * plan.tile();
            for (int64_t slice = 1; slice < plan.slices; ++slice)
                for (int64_t i = begin * Kg; i < end * Kg; ++i) sum[i] += sum[slice * plan.tile() + i];
            for (int64_t k = 0; k < Kg; ++k)
                for (int64_t i = begin; i < end; ++i)
                    dw[((g * Kg + k) * Cg + c0) * taps + i] = static_cast<T>(sum[i * Kg + k]);
        });
    }
}

}  // namespace

void conv_im2col_dgrad(const ConvShape& s, DType dtype, Address dy, Address w, Address dx, Address workspace,
                       int64_t bytes) {
    const int64_t depth = int64_t(s.C) * s.R * s.S;
    if (is_fully_connected(s)) return gemm(dtype, false, false, s.N, depth, s.K, 1, dy, s.K, 0, w, depth, 0, dx);
    const auto plan = plan_within<DgradPlan>("conv_im2col_dgrad", s, dtype, bytes);
    with_dtype(dtype, [&](auto t) {
        using T = decltype(t);
        dgrad(plan, reinterpret_cast<const T*>(dy), reinterpret_cast<const T*>(w), reinterpret_cast<T*>(dx), workspace);
    });
}

void conv_im2col_wgrad(const ConvShape& s, DType dtype, Address x, Address dy, Address dw, Address workspace,
                       int64_t bytes) {
    const int64_t depth = int64_t(s.C) * s.R * s.S;
    if (is_fully_connected(s)) return gemm(dtype, true, false, s.K, depth, s.N, 1, dy, s.K, 0, x, depth, 0, dw);
    const auto plan = plan_within<WgradPlan>("conv_im2col_wgrad", s, dtype, bytes);
    with_dtype(dtype, [&](auto t) {
        using T = decltype(t);
        wgrad(plan, reinterpret_cast<const T*>(x), reinterpret_cast<const T*>(dy), reinterpret_cast<T*>(dw), workspace);
    });
}
