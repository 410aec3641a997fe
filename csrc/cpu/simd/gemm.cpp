// Blocked matrix products: out = A B + bias. A block of A is copied row by row into cache, a block of B is packed into
// panels, and the sums of a block of out stay in cache until they are complete (Goto & van de Geijn 2008).
#include "product.h"
#include "simd.h"

namespace {

constexpr int64_t kGroup = 4;  // panels that are packed at a time: a part of L2, while the next are on their way

// What one thread needs for a block of M rows and N columns, in elements of A. Pieces begin at cache lines.
template <class A>
struct Layout {
    int64_t depth, panels, a, b, sums, steps;

    Layout(int64_t M, int64_t N, int64_t K)
        : depth(parts_of(K, parts_of(K, kDepth))),
          panels(parts_of(N, Wide<A>::panel)),
          a(whole_lines(M * depth)),
          b(least(panels, kGroup) * depth * Wide<A>::panel),
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
    constexpr int panel = Wide<Acc<T>>::panel, lanes = Wide<Acc<T>>::lanes;
    const int64_t stride = depth * panel;
    const T* b = static_cast<const T*>(job.b) + k0 * job.b_depth;
    if (job.b_depth == 1) return pack_columns(b + n0 * job.b_column, job.b_column, depth, n1 - n0, stride, out);
    for_images(job, n0, n1, [&](int64_t n, int64_t count, int64_t from, int64_t) {
        for (int64_t i = 0; i < depth; ++i) pack_row(b + from + i * job.b_depth, n - n0, count, stride, out + i * panel);
    });
    // The lanes beyond are computed, too, and numbers left over there may be slow ones.
    Acc<T>* last = out + (n1 - n0) / panel * stride;
    for (int64_t n = (n1 - n0) % panel; n % lanes; ++n)
        for (int64_t i = 0; i < depth; ++i) last[i * panel + n] = 0;
}

// Asks for part `part` of `parts` of what pack_b will read.
template <class T>
INLINE void prefetch_b(const GemmJob& job, int64_t k0, int64_t depth, int64_t n0, int64_t n1, int64_t part,
                       int64_t parts) {
    if (job.b_depth == 1 || n0 >= n1) return;  // columns that lie in one piece are foreseen by the machine
    constexpr int64_t line = 64 / sizeof(T);
    for_images(job, n0, n1, [&](int64_t, int64_t count, int64_t from, int64_t) {
        for (int64_t i = depth * part / parts; i < depth * (part + 1) / parts; ++i) {
            const T* row = static_cast<const T*>(job.b) + (k0 + i) * job.b_depth + from;
            for (int64_t n = 0; n < count + line - 1; n += line) __builtin_prefetch(row + n, 0, 2);
        }
    });
}

template <class T, class Out>
void block(const GemmJob& job, int64_t m0, int64_t m1, int64_t n0, int64_t n1, Acc<T>* scratch) {
    using A = Acc<T>;
    constexpr int64_t panel = Wide<A>::panel;
    const int64_t M = m1 - m0, N = n1 - n0, tiles = parts_of(M, kRows);
    const Layout<A> layout(M, N, job.K);
    A* const a = scratch;
    A* const b = a + layout.a;
    A* const sums = b + layout.b;
    int64_t* const steps = reinterpret_cast<int64_t*>(sums + layout.sums);
    // A single panel does not repay copying A, nor do a few rows packing B, if whole vectors can be read where it lies.
    const bool a_lies = !is_narrow<T> && layout.panels == 1;
    const bool thin = !is_narrow<T> && job.b_column == 1 && M <= 2 * kRows;
    for (int64_t k0 = 0; k0 < job.K; k0 += layout.depth) {
        const int64_t depth = least(layout.depth, job.K - k0);
        const bool first = k0 == 0, last = k0 + depth == job.K;
        const T* from = static_cast<const T*>(job.a) + m0 * job.a_row + k0 * job.a_depth;
        const A* left = a;
        int64_t row = job.a_depth == 1 ? depth : 1, step = job.a_depth == 1 ? 1 : M;
        if constexpr (!is_narrow<T>) {
            if (a_lies) left = from, row = job.a_row, step = job.a_depth;
        }
        for (int64_t m = 0; m < M && left == a && job.a_depth == 1; ++m)
            widen(from + m * job.a_row, depth, a + m * depth);
        for (int64_t i = 0; i < depth && left == a && job.a_depth != 1; ++i)
            widen(from + i * job.a_depth, M, a + i * M);
        for (int64_t i = 0; i < depth; ++i) steps[i] = i * step;

        for (int64_t p = 0; p < layout.panels; ++p) {
            const int64_t n = n0 + p * panel, columns = least(panel, n1 - n);
            const int64_t group = p % kGroup, next = n + (kGroup - group) * panel;
            const bool b_lies = thin && columns == panel && n % job.image + panel <= job.image;
            const A* right = b + (thin ? 0 : group * depth * panel);
            int64_t right_step = panel;
            if (thin && !b_lies) pack_b<T>(job, k0, depth, n, n + columns, b);
            if (!thin && group == 0) pack_b<T>(job, k0, depth, n, least(n1, next), b);
            if constexpr (!is_narrow<T>) {
                if (b_lies) {
                    right = static_cast<const A*>(job.b) + n / job.image * job.b_image + n % job.image +
                            k0 * job.b_depth;
                    right_step = job.b_depth;
                }
            }
            for (int64_t t = 0; t < tiles; ++t) {
                if (!thin)
                    prefetch_b<T>(job, k0, depth, next, least(n1, next + kGroup * panel), group * tiles + t,
                                  kGroup * tiles);
                alignas(64) A here[Wide<A>::tile];
                const int64_t rows = least(kRows, M - t * kRows);
                const A* base[kRows] = {};
                for (int64_t r = 0; r < rows; ++r) base[r] = left + (t * kRows + r) * row;
                A* tile = layout.sums ? sums + (p * tiles + t) * Wide<A>::tile : here;
                product(rows, columns, !first, depth, base, steps, right, right_step, tile);
                if (!last) continue;
                const int64_t m = m0 + t * kRows;
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
