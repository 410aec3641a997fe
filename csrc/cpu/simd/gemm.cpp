// Blocked matrix products: out = A B + bias. A block of A and, a few panels at a time, a block of B are packed in
// cache, and the sums of a block of out stay there until they are complete (Goto & van de Geijn 2008).
#include "product.h"
#include "simd.h"

namespace {

constexpr int64_t kGroup = 4;  // panels that are packed at a time: a part of L2, while the next are on their way

// What one thread needs for a block of M rows and N columns, in elements of A. Pieces begin at cache lines.
template <class A>
struct Layout {
    int64_t depth, tiles, panels, a, b, sums, steps;

    Layout(int64_t M, int64_t N, int64_t K)
        : depth(parts_of(K, parts_of(K, kDepth))),
          tiles(parts_of(M, kRows)),
          panels(parts_of(N, Wide<A>::panel)),
          a(whole_lines(tiles * kRows * depth)),
          b(least(panels, kGroup) * depth * Wide<A>::panel),
          sums(K > depth ? tiles * panels * Wide<A>::tile : 0),
          steps(whole_lines(depth * (sizeof(int64_t) / sizeof(A)))) {}
    int64_t size() const { return a + b + sums + steps; }
};

// Columns of B and of out that lie side by side: the pieces of [begin, end) are in different images.
// f(first column, columns, elements of B before the first, of out before it)
template <class F>
INLINE void for_images(const GemmJob& job, int64_t begin, int64_t end, const F& f) {
    if (job.image == job.N) return f(begin, end - begin, begin * job.b_column, begin * job.out_column);
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
    for_images(job, n0, n1, [&](int64_t n, int64_t count, int64_t from, int64_t) INLINE_LAMBDA {
        for (int64_t i = 0; i < depth; ++i)
            pack_row(b + from + i * job.b_depth, n - n0, count, stride, out + i * panel);
    });
    // The lanes beyond are computed, too, and numbers left over there may be slow ones.
    Acc<T>* last = out + (n1 - n0) / panel * stride;
    for (int64_t n = (n1 - n0) % panel; n % lanes; ++n)
        for (int64_t i = 0; i < depth; ++i) last[i * panel + n] = 0;
}

// Asks for rows of columns [n0, n1) of B, a few at a time, while others are multiplied.
template <class T>
struct Ahead {
    const T* row;
    int64_t stride, bytes, left, at_a_time;

    Ahead(const GemmJob& job, int64_t k0, int64_t depth, int64_t n0, int64_t n1, int64_t calls)
        : row(static_cast<const T*>(job.b) + k0 * job.b_depth),
          stride(job.b_depth),
          bytes(0),
          left(n0 < n1 && job.b_column == 1 ? depth : 0),  // columns that lie in one piece are foreseen by the machine
          at_a_time(parts_of(depth, calls)) {
        if (left == 0) return;
        const int64_t image = n0 / job.image, column = n0 % job.image;
        row += image * job.b_image + column;
        bytes = least(n1 - n0, job.image - column) * sizeof(T);
    }
    INLINE void next() {
        for (int64_t i = least(left, at_a_time); i > 0; --i, --left, row += stride) {
            const char* at = reinterpret_cast<const char*>(row);
            for (int64_t byte = 0; byte < bytes + 63; byte += 64) __builtin_prefetch(at + byte, 0, 2);
        }
    }
};

// One tile of out, complete: bias, ReLU, rounding.
template <class T, class Out>
INLINE void write_tile(const GemmJob& job, int64_t m, int64_t n, int64_t rows, int64_t columns, Acc<T>* tile) {
    const T* bias = static_cast<const T*>(job.bias);
    if (bias) bias += job.bias_row ? m : n;
    finish<T>({bias, job.bias_row, !job.bias_row, job.relu}, rows, columns, tile);
    Out* out = static_cast<Out*>(job.out) + m * job.out_row;
    for_images(job, n, n + columns, [&](int64_t column, int64_t count, int64_t, int64_t to) INLINE_LAMBDA {
        store_tile(tile + (column - n), rows, count, out + to, job.out_row, job.out_column);
    });
}

template <class T, class Out>
void block(const GemmJob& job, int64_t m0, int64_t m1, int64_t n0, int64_t n1, Acc<T>* scratch) {
    using A = Acc<T>;
    constexpr int64_t panel = Wide<A>::panel;
    const int64_t M = m1 - m0, N = n1 - n0;
    const Layout<A> layout(M, N, job.K);
    A* const a = scratch;
    A* const b = a + layout.a;
    A* const sums = b + layout.b;
    int64_t* const steps = reinterpret_cast<int64_t*>(sums + layout.sums);
    // A single panel does not repay packing A, nor do a few rows packing B, if whole vectors can be read where it lies.
    const bool a_lies = !is_narrow<T> && layout.panels == 1;
    const bool thin = !is_narrow<T> && job.b_column == 1 && M <= 2 * kRows;
    for (int64_t k0 = 0; k0 < job.K; k0 += layout.depth) {
        const int64_t depth = least(layout.depth, job.K - k0);
        const bool first = k0 == 0, last = k0 + depth == job.K;
        const T* from = static_cast<const T*>(job.a) + m0 * job.a_row + k0 * job.a_depth;
        if (a_lies)
            for (int64_t i = 0; i < depth; ++i) steps[i] = i * job.a_depth;
        else
            pack_tiles(from, job.a_row, job.a_depth, M, depth, a);
        for (int64_t p0 = 0; p0 < layout.panels; p0 += kGroup) {
            const int64_t panels = least(kGroup, layout.panels - p0), n = n0 + p0 * panel;
            const int64_t next = least(n1, n + kGroup * panel);
            if (!thin) pack_b<T>(job, k0, depth, n, next, b);
            Ahead<T> ahead(job, k0, depth, next, thin ? next : least(n1, next + kGroup * panel), panels * layout.tiles);
            for (int64_t p = 0; p < panels; ++p) {
                const int64_t column = n + p * panel, columns = least(panel, n1 - column);
                const A* right = b + p * depth * panel;
                int64_t right_step = panel;
                if constexpr (!is_narrow<T>) {
                    const int64_t at = thin ? column % job.image : 0;
                    if (thin && columns == panel && at + panel <= job.image) {
                        right = static_cast<const T*>(job.b) + column / job.image * job.b_image + at + k0 * job.b_depth;
                        right_step = job.b_depth;
                    } else if (thin) {
                        right = b;
                        pack_b<T>(job, k0, depth, column, column + columns, b);
                    }
                }
                for (int64_t t = 0; t < layout.tiles; ++t) {
                    ahead.next();
                    alignas(64) A here[Wide<A>::tile];
                    const int64_t rows = least(kRows, M - t * kRows);
                    A* tile = layout.sums ? sums + ((p0 + p) * layout.tiles + t) * Wide<A>::tile : here;
                    bool packed = true;
                    if constexpr (!is_narrow<T>) {
                        if (a_lies) {
                            Scattered<A> left{{}, steps};
                            for (int64_t r = 0; r < rows; ++r) left.base[r] = from + (t * kRows + r) * job.a_row;
                            product(rows, columns, !first, depth, left, right, right_step, tile);
                            packed = false;
                        }
                    }
                    if (packed)
                        product(rows, columns, !first, depth, Packed<A>{a + t * kRows * depth}, right, right_step,
                                tile);
                    if (last) write_tile<T, Out>(job, m0 + t * kRows, column, rows, columns, tile);
                }
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
