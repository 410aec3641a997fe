// Blocked matrix products: out = A B + bias. A block of A and, a few panels at a time, a block of B are packed in
// cache, and the sums of a block of out stay there until they are complete (Goto & van de Geijn 2008).
#include "pack.h"
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
    if (job.b_depth == 1 && job.image == job.N)
        return pack_columns(b + n0 * job.b_column, job.b_column, depth, n1 - n0, stride, out);
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

// Asks for a tile of out before its sums are there: its rows are far apart.
template <class Out>
INLINE void ask_for(const GemmJob& job, int64_t m, int64_t n, int64_t rows, int64_t columns) {
    const Out* out = static_cast<const Out*>(job.out) + m * job.out_row + n;
    if (job.image != job.N) out += n / job.image * (job.out_image - job.image);
    for (int64_t r = 0; r < rows; ++r, out += job.out_row) {
        __builtin_prefetch(out, 1);
        __builtin_prefetch(out + columns - 1, 1);
    }
}

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

// Rows [m0, m1) of the only column of out, where the rows of A and the column of B lie in one piece: vectors along the
// depth, each row's added up in the end.
template <class T, class Out>
void column(const GemmJob& job, int64_t m0, int64_t m1) {
    using A = Acc<T>;
    constexpr int lanes = Wide<A>::lanes;
    const T* const b = static_cast<const T*>(job.b);
    for (int64_t m = m0; m < m1; m += kRows) {
        const int64_t rows = least(kRows, m1 - m);
        const T* row[kRows];  // those beyond are the last row once more
        for (int64_t r = 0; r < kRows; ++r) row[r] = static_cast<const T*>(job.a) + least(m + r, m1 - 1) * job.a_row;
        Vector<A> sum[kRows] = {};
        int64_t i = 0;
        for (; i + lanes <= job.K; i += lanes) {
            const Vector<A> value = load_widened(b + i);
            unrolled<kRows>([&](auto r) INLINE_LAMBDA { sum[r] += load_widened(row[r] + i) * value; });
        }
        if (i < job.K) {
            const Vector<A> value = load_some(b + i, job.K - i);
            for (int r = 0; r < kRows; ++r) sum[r] += load_some(row[r] + i, job.K - i) * value;
        }
        alignas(64) A tile[Wide<A>::tile] = {};
        for (int r = 0; r < kRows; ++r) {
            A total = 0;
            for (int l = 0; l < lanes; ++l) total += sum[r][l];
            tile[r * Wide<A>::panel] = total;
        }
        write_tile<T, Out>(job, m, 0, rows, 1, tile);
    }
}

template <class T, class Out>
void block(const GemmJob& job, int64_t m0, int64_t m1, int64_t n0, int64_t n1, Acc<T>* scratch) {
    using A = Acc<T>;
    constexpr int64_t panel = Wide<A>::panel;
    // Not of images, where the bits would depend on how many there are.
    if (job.N == 1 && job.a_depth == 1 && job.b_depth == 1 && job.out_image == 0) return column<T, Out>(job, m0, m1);
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
            Ahead<T> ahead(job, k0, depth, next, least(n1, next + kGroup * panel), panels * layout.tiles);
            const A* right[kGroup];
            int64_t right_step[kGroup];
            for (int64_t p = 0; p < panels; ++p) {
                right[p] = b + p * depth * panel, right_step[p] = panel;
                if constexpr (!is_narrow<T>) {
                    if (!thin) continue;
                    const int64_t column = n + p * panel, at = column % job.image;
                    if (column + panel <= n1 && at + panel <= job.image) {
                        right[p] =
                            static_cast<const T*>(job.b) + column / job.image * job.b_image + at + k0 * job.b_depth;
                        right_step[p] = job.b_depth;
                    } else {
                        pack_b<T>(job, k0, depth, column, least(n1, column + panel), b + p * depth * panel);
                    }
                }
            }
            // Tile after tile along what lies in one piece of out, so that few of its pages are in use at a time.
            const bool by_rows = job.out_column == 1;
            for (int64_t i = 0; i < (by_rows ? layout.tiles : panels); ++i)
                for (int64_t j = 0; j < (by_rows ? panels : layout.tiles); ++j) {
                    const int64_t t = by_rows ? i : j, p = by_rows ? j : i;
                    const int64_t row = t * kRows, rows = least(kRows, M - row);
                    const int64_t column = p0 * panel + p * panel, columns = least(panel, N - column);
                    alignas(64) A here[Wide<A>::tile];
                    A* tile = layout.sums ? sums + ((p0 + p) * layout.tiles + t) * Wide<A>::tile : here;
                    ahead.next();
                    if (last && by_rows) ask_for<Out>(job, m0 + row, n0 + column, rows, columns);
                    if (a_lies) {
                        if constexpr (!is_narrow<T>) {
                            Scattered<A> left{{}, steps};
                            for (int64_t r = 0; r < rows; ++r) left.base[r] = from + (row + r) * job.a_row;
                            product(rows, columns, !first, depth, left, right[p], right_step[p], tile);
                        }
                    } else {
                        product(rows, columns, !first, depth, Packed<A>{a + row * depth}, right[p], right_step[p],
                                tile);
                    }
                    if (last) write_tile<T, Out>(job, m0 + row, n0 + column, rows, columns, tile);
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
