// Blocked matrix products: out = A B + bias. A block of A is copied row by row into cache, a block of B is packed into
// panels, and the sums of a block of out stay in cache until they are complete (Goto & van de Geijn 2008).
#include "product.h"
#include "simd.h"

namespace {

// What one thread needs for a block of M rows and N columns, in elements of A. Pieces begin at cache lines.
template <class A>
struct Layout {
    int64_t depth, panels, a, b, sums, steps;

    Layout(int64_t M, int64_t N, int64_t K)
        : depth(parts_of(K, parts_of(K, kDepth))),
          panels(parts_of(N, Wide<A>::panel)),
          a(whole_lines(M * depth)),
          b(panels * depth * Wide<A>::panel),
          sums(K > depth ? parts_of(M, kRows) * panels * Wide<A>::tile : 0),
          steps(whole_lines(depth * (sizeof(int64_t) / sizeof(A)))) {}
    int64_t size() const { return a + b + sums + steps; }
};

// A pieces of a row of out lie in different images: f(first column, columns, elements of B before, of out before).
template <class F>
INLINE void for_images(const GemmJob& job, int64_t begin, int64_t end, const F& f) {
    for (int64_t n = begin, count; n < end; n += count) {
        const int64_t image = n / job.image, column = n % job.image;
        count = least(end - n, job.image - column);
        f(n, count, image * job.b_image + column * job.b_column, image * job.out_image + column * job.out_column);
    }
}

// Rows [k0, k0 + depth) of columns [n0, n1) of B, in panels.
template <class T>
void pack_b(const GemmJob& job, int64_t k0, int64_t depth, int64_t n0, int64_t n1, Acc<T>* out) {
    using A = Acc<T>;
    const int64_t stride = depth * Wide<A>::panel;
    const T* b = static_cast<const T*>(job.b) + k0 * job.b_depth;
    if (job.b_depth == 1) return pack_columns(b + n0 * job.b_column, job.b_column, depth, n1 - n0, stride, out);
    for (int64_t i = 0; i < depth; ++i, b += job.b_depth, out += Wide<A>::panel) {
        for_images(job, n0, n1, [&](int64_t n, int64_t count, int64_t from, int64_t) {
            pack_row(b + from, n - n0, count, stride, out);
        });
        // The lanes beyond are computed, too, and numbers left over there may be slow ones.
        A* last = out + (n1 - n0) / Wide<A>::panel * stride;
        for (int64_t n = (n1 - n0) % Wide<A>::panel; n % Wide<A>::lanes; ++n) last[n] = 0;
    }
}

template <class T, class Out>
void block(const GemmJob& job, int64_t m0, int64_t m1, int64_t n0, int64_t n1, Acc<T>* scratch) {
    using A = Acc<T>;
    constexpr int panel = Wide<A>::panel;
    const int64_t M = m1 - m0, N = n1 - n0, tiles = parts_of(M, kRows);
    const Layout<A> layout(M, N, job.K);
    A* const a = scratch;
    A* const b = a + layout.a;
    A* const sums = b + layout.b;
    int64_t* const steps = reinterpret_cast<int64_t*>(sums + layout.sums);
    // A few rows do not repay packing B, if a vector can be read from where it lies.
    const bool as_it_lies = !is_narrow<T> && job.b_column == 1 && M <= 2 * kRows && N % panel == 0 &&
                            n0 / job.image == (n1 - 1) / job.image;
    for (int64_t k0 = 0; k0 < job.K; k0 += layout.depth) {
        const int64_t depth = least(layout.depth, job.K - k0);
        const bool first = k0 == 0, last = k0 + depth == job.K;
        const T* from = static_cast<const T*>(job.a) + m0 * job.a_row + k0 * job.a_depth;
        if (job.a_depth == 1)
            for (int64_t m = 0; m < M; ++m) widen(from + m * job.a_row, depth, a + m * depth);
        else
            for (int64_t i = 0; i < depth; ++i) widen(from + i * job.a_depth, M, a + i * M);
        const int64_t row = job.a_depth == 1 ? depth : 1;
        for (int64_t i = 0; i < depth; ++i) steps[i] = job.a_depth == 1 ? i : i * M;
        if (!as_it_lies) pack_b<T>(job, k0, depth, n0, n1, b);

        for (int64_t p = 0; p < layout.panels; ++p) {
            const int64_t columns = least(panel, N - p * panel);
            const A* right = b + p * depth * panel;
            int64_t right_step = panel;
            if constexpr (!is_narrow<T>) {
                if (as_it_lies) {
                    const int64_t n = n0 + p * panel;
                    right = static_cast<const A*>(job.b) + n / job.image * job.b_image + n % job.image +
                            k0 * job.b_depth;
                    right_step = job.b_depth;
                }
            }
            for (int64_t t = 0; t < tiles; ++t) {
                alignas(64) A here[Wide<A>::tile];
                const int64_t rows = least(kRows, M - t * kRows);
                const A* base[kRows] = {};
                for (int64_t r = 0; r < rows; ++r) base[r] = a + (t * kRows + r) * row;
                A* tile = layout.sums ? sums + (p * tiles + t) * Wide<A>::tile : here;
                product(rows, columns, !first, depth, base, steps, right, right_step, tile);
                if (!last) continue;
                const int64_t m = m0 + t * kRows, n = n0 + p * panel;
                const T* bias = static_cast<const T*>(job.bias);
                if (bias) bias += job.bias_row ? m : n % job.image;
                finish<T>({bias, job.bias_row, !job.bias_row, job.relu}, rows, columns, tile);
                Out* out = static_cast<Out*>(job.out) + m * job.out_row;
                for_images(job, n, n + columns, [&](int64_t column, int64_t count, int64_t, int64_t to) {
                    store_tile(tile + (column - n), rows, count, out + to, job.out_row, job.out_column);
                });
            }
        }
    }
}

}  // namespace

namespace GPUCNN_ISA {

void gemm_block(const GemmJob& job, int64_t m0, int64_t m1, int64_t n0, int64_t n1, void* scratch) {
    with_type(job.dtype, [&](auto t) {
        using T = decltype(t);
        using A = Acc<T>;
        if (job.wide_out)
            block<T, A>(job, m0, m1, n0, n1, static_cast<A*>(scratch));
        else
            block<T, T>(job, m0, m1, n0, n1, static_cast<A*>(scratch));
    });
}

int wide_panel(DType dtype) { return dtype == DType::float64 ? Wide<double>::panel : Wide<float>::panel; }

int64_t gemm_scratch(DType dtype, int64_t M, int64_t N, int64_t K) {
    return dtype == DType::float64 ? Layout<double>(M, N, K).size() : Layout<float>(M, N, K).size();
}

}  // namespace GPUCNN_ISA
