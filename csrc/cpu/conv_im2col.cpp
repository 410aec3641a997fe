// y = x * w by im2col + GEMM. A unit of work is a band of output positions of one image and group: its columns stay in
// cache between im2col and the product. Called by bind_cpu.cpp.
#include "conv_im2col.h"

#include "blas.h"
#include "convert_array.h"

namespace {

// row + bias, then ReLU.
template <class T>
void end(const T* bias, bool relu, int64_t count, Acc<T>* row) {
    if (!bias && !relu) return;
    const Acc<T> offset = bias ? static_cast<Acc<T>>(*bias) : Acc<T>(0);
    for (int64_t i = 0; i < count; ++i) row[i] = relu && row[i] + offset < 0 ? Acc<T>(0) : row[i] + offset;
}

template <class T>
void fwd(const FwdPlan& plan, const T* x, const T* w, const T* bias, bool relu, T* y, Address workspace) {
    using A = Acc<T>;
    const ConvShape& s = plan.s;
    const Bands bands(s, plan.positions);
    const int64_t Cg = s.Cg(), Kg = s.Kg(), depth = Cg * plan.taps(), image = int64_t(s.H) * s.W;
    Carver<A> carver(workspace);
    A* wide_w = carver.take(plan.wide_w());
    A* slots = carver.take(plan.threads * (plan.columns() + plan.tile()));

    const int64_t whole = s.N * s.groups * bands.count;
    for (int64_t k0 = 0; k0 < Kg; k0 += plan.chunk) {
        const int64_t rows = std::min(plan.chunk, Kg - k0);
        if constexpr (is_narrow<T>)
            parallel_for(s.groups * rows, threads_for(s.groups * rows * depth), [&](int64_t i, int) {
                convert(w + ((i / rows) * Kg + k0 + i % rows) * depth, depth, wide_w + i * depth);
            });
        // Too few units for the threads: several threads make the same columns and share the rows of y.
        const int64_t row_blocks = (rows + FwdPlan::row_block - 1) / FwdPlan::row_block;
        const int64_t parts =
            std::clamp<int64_t>((plan.threads + whole - 1) / std::max<int64_t>(whole, 1), 1, row_blocks);
        parallel_for(whole * parts, plan.threads, [&](int64_t unit, int thread) {
            const int64_t part = unit % parts, rest = unit / parts;
            const Band band = bands[rest % bands.count];
            const int64_t n = rest / bands.count / s.groups, g = rest / bands.count % s.groups;
            A* columns = slots + thread * (plan.columns() + plan.tile());
            const T* planes = x + (n * s.C + g * Cg) * image;
            const A* product_of = columns;
            int64_t ld = band.size;
            if constexpr (!is_narrow<T>) {
                if (plan.no_columns) product_of = planes + band.first, ld = image;
            }
            if (product_of == columns) im2col(s, planes, Cg, band, columns);

            for (int64_t block = part; block < row_blocks; block += parts) {
                const int64_t row = block * FwdPlan::row_block, count = std::min(FwdPlan::row_block, rows - row);
                T* out = y + (n * s.K + g * Kg + k0 + row) * plan.plane() + band.first;
                if constexpr (is_narrow<T>) {
                    A* tile = columns + plan.columns();
                    multiply({.M = count, .N = band.size, .K = depth, .lda = depth, .ldb = ld, .ldc = band.size},
                             wide_w + (g * rows + row) * depth, product_of, tile);
                    for (int64_t k = 0; k < count; ++k) {
                        end(bias ? bias + g * Kg + k0 + row + k : nullptr, relu, band.size, tile + k * band.size);
                        convert(tile + k * band.size, band.size, out + k * plan.plane());
                    }
                } else {
                    multiply({.M = count, .N = band.size, .K = depth, .lda = depth, .ldb = ld, .ldc = plan.plane()},
                             w + (g * Kg + k0 + row) * depth, product_of, out);
                    for (int64_t k = 0; k < count; ++k)
                        end(bias ? bias + g * Kg + k0 + row + k : nullptr, relu, band.size, out + k * plan.plane());
                }
            }
        });
    }
}

}  // namespace

void conv_im2col_fwd(const ConvShape& s, DType dtype, Address x, Address w, Address bias, bool relu, Address y,
                     Address workspace, int64_t bytes) {
    const int64_t depth = int64_t(s.C) * s.R * s.S;
    with_dtype(dtype, [&](auto t) {
        using T = decltype(t);
        const T *b = reinterpret_cast<const T*>(bias), *filters = reinterpret_cast<const T*>(w);
        T* out = reinterpret_cast<T*>(y);
        if constexpr (!is_narrow<T>) {
            if (is_fully_connected(s)) {
                gemm(dtype, false, true, s.N, s.K, depth, 1, x, depth, 0, w, depth, 0, y);
                for (int64_t i = 0; i < int64_t(s.N) * s.K; ++i) end(b ? b + i % s.K : nullptr, relu, 1, out + i);
                return;
            }
        }
        const auto plan = plan_within<FwdPlan>("conv_im2col_fwd", s, dtype, bytes);
        fwd(plan, reinterpret_cast<const T*>(x), filters, b, relu, out, workspace);
    });
}

namespace {

template <class P>
std::pair<int64_t, int64_t> limits(const ConvShape& shape, DType dtype) {
    P plan(shape, dtype);
    const int64_t best = plan.bytes();
    while (plan.shrink()) continue;
    return {plan.bytes(), best};
}

}  // namespace

std::pair<int64_t, int64_t> conv_im2col_workspace(const ConvShape& s, DType dtype, const std::string& direction) {
    if (direction != "fwd" && direction != "dgrad" && direction != "wgrad")
        throw std::invalid_argument("conv_im2col_workspace: direction is fwd, dgrad or wgrad, but came " + direction);
    const bool narrow = dtype == DType::float16 || dtype == DType::bfloat16;
    if (is_fully_connected(s) && !(narrow && direction == "fwd")) return {0, 0};
    if (direction == "fwd") return limits<FwdPlan>(s, dtype);
    if (direction == "dgrad") return limits<DgradPlan>(s, dtype);
    return limits<WgradPlan>(s, dtype);
}
