// The batched matrix product of the extension, cut into tiles for the threads. The cut depends on the sizes only, so
// results have the same bits for every number of threads. Called by bind_cpu.cpp.
#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include "blas.h"
#include "convert_array.h"
#include "cpu.h"
#include "threads.h"

namespace {

struct Gemm {
    bool trans_a, trans_b;
    int64_t M, N, K, batch, lda, stride_a, ldb, stride_b;
};

struct Tile {
    int64_t m, n;
};

int64_t tiles_over(int64_t size, int64_t tile) { return (size + tile - 1) / tile; }

// Large tiles repack less inside BLAS; small ones give every thread something to do.
Tile choose_tile(const Gemm& p, int64_t largest) {
    constexpr int64_t worth_splitting = 1 << 21;  // operations: about 20 microseconds
    Tile tile{std::min(p.M, largest), std::min(p.N, largest)};
    while (p.batch * tiles_over(p.M, tile.m) * tiles_over(p.N, tile.n) < 16 &&
           2 * tile.m * tile.n * p.K > worth_splitting && std::max(tile.m, tile.n) > 64) {
        int64_t& longer = tile.m > tile.n ? tile.m : tile.n;
        longer = (longer / 2 + 15) / 16 * 16;
    }
    return tile;
}

// Copies rows x cols elements, widened, from a matrix with row stride ld.
template <class T>
void widen(const T* in, int64_t rows, int64_t cols, int64_t ld, Acc<T>* out) {
    for (int64_t row = 0; row < rows; ++row) convert(in + row * ld, cols, out + row * cols);
}

// One tile of 16-bit matrices: blocks of both are widened, the product is added up in float and rounded once.
template <class T>
void narrow_tile(const Gemm& p, const T* a, const T* b, T* out, int64_t m, int64_t n, std::vector<Acc<T>>& buffer) {
    constexpr int64_t depth = 512;
    buffer.resize(m * n + std::min(p.K, depth) * (m + n));
    Acc<T>*sums = buffer.data(), *wide_a = sums + m * n, *wide_b = wide_a + std::min(p.K, depth) * m;
    for (int64_t k = 0; k < p.K; k += depth) {
        const int64_t count = std::min(depth, p.K - k);
        p.trans_a ? widen(a + k * p.lda, count, m, p.lda, wide_a) : widen(a + k, m, count, p.lda, wide_a);
        p.trans_b ? widen(b + k, n, count, p.ldb, wide_b) : widen(b + k * p.ldb, count, n, p.ldb, wide_b);
        multiply({p.trans_a, p.trans_b, m, n, count, p.trans_a ? m : count, p.trans_b ? count : n, n, k > 0}, wide_a,
                 wide_b, sums);
    }
    for (int64_t row = 0; row < m; ++row) convert(sums + row * n, n, out + row * p.N);
}

template <class T>
void run(const Gemm& p, const T* a, const T* b, T* out) {
    const Tile tile = choose_tile(p, is_narrow<T> ? 256 : 512);
    const int64_t tiles_m = tiles_over(p.M, tile.m), tiles_n = tiles_over(p.N, tile.n);
    const int threads = threads_for(2 * p.batch * p.M * p.N * p.K / 32);
    std::vector<std::vector<Acc<T>>> buffers(threads);
    parallel_for(p.batch * tiles_m * tiles_n, threads, [&](int64_t unit, int thread) {
        const int64_t i = unit / tiles_n / tiles_m;
        const int64_t m0 = unit / tiles_n % tiles_m * tile.m, n0 = unit % tiles_n * tile.n;
        const int64_t m = std::min(tile.m, p.M - m0), n = std::min(tile.n, p.N - n0);
        const T* a_tile = a + i * p.stride_a + (p.trans_a ? m0 : m0 * p.lda);
        const T* b_tile = b + i * p.stride_b + (p.trans_b ? n0 * p.ldb : n0);
        T* out_tile = out + (i * p.M + m0) * p.N + n0;
        if constexpr (is_narrow<T>)
            narrow_tile(p, a_tile, b_tile, out_tile, m, n, buffers[thread]);
        else
            multiply({p.trans_a, p.trans_b, m, n, p.K, p.lda, p.ldb, p.N}, a_tile, b_tile, out_tile);
    });
}

}  // namespace

void gemm(DType dtype, bool trans_a, bool trans_b, int64_t M, int64_t N, int64_t K, int64_t batch, Address a,
          int64_t lda, int64_t stride_a, Address b, int64_t ldb, int64_t stride_b, Address out) {
    auto refuse = [&](const std::string& rule) {
        throw std::invalid_argument("gemm: " + rule + " (M " + std::to_string(M) + ", N " + std::to_string(N) + ", K " +
                                    std::to_string(K) + ", batch " + std::to_string(batch) + ", lda " +
                                    std::to_string(lda) + ", ldb " + std::to_string(ldb) + ")");
    };
    if (std::min({M, N, K, batch, stride_a, stride_b}) < 0) refuse("sizes must not be negative");
    if (lda < (trans_a ? M : K) || ldb < (trans_b ? K : N))
        refuse("lda and ldb are at least the length of a stored row");
    if (M == 0 || N == 0 || batch == 0) return;
    const Gemm p{trans_a, trans_b, M, N, K, batch, lda, stride_a, ldb, stride_b};
    with_dtype(dtype, [&](auto t) {
        using T = decltype(t);
        if (K == 0)
            std::memset(reinterpret_cast<T*>(out), 0, batch * M * N * sizeof(T));
        else
            run(p, reinterpret_cast<const T*>(a), reinterpret_cast<const T*>(b), reinterpret_cast<T*>(out));
    });
}
