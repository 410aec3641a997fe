// The batched matrix product of the extension, cut into blocks for the threads. Called by bind_cpu.cpp and by the
// convolutions that are matrix products.
#include "gemm.h"

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>

#include "cpu.h"
#include "element.h"
#include "threads.h"

namespace {

constexpr int64_t kOperationsPerNs = 128;  // of one thread

int64_t parts_of(int64_t size, int64_t part) { return (size + part - 1) / part; }

int64_t operations(const GemmBatch& batch) { return 2 * batch.count * batch.job.M * batch.job.N * batch.job.K; }

// Memory that grows and is kept, so that small products do not pay for fresh pages.
void* kept_scratch(int64_t bytes) {
    static thread_local std::unique_ptr<void, decltype(&std::free)> memory(nullptr, std::free);
    static thread_local int64_t size = 0;
    if (bytes > size) {
        memory.reset(), size = 0;
        memory.reset(std::aligned_alloc(64, bytes));
        if (!memory) throw std::bad_alloc();
        size = bytes;
    }
    return memory.get();
}

template <class Scratch>
void run(const GemmBatch& batch, const GemmPlan& plan, Scratch&& scratch_of) {
    const int64_t rows = parts_of(batch.job.M, plan.rows), columns = parts_of(batch.job.N, plan.columns);
    const int64_t size = size_of(batch.job.dtype), out_size = batch.job.wide_out ? std::max<int64_t>(size, 4) : size;
    auto move = [](auto* p, int64_t bytes) {
        return p ? reinterpret_cast<decltype(p)>(reinterpret_cast<Address>(p) + bytes) : p;
    };
    parallel_for(batch.count * rows * columns, plan.threads, [&](int64_t unit, int thread) {
        GemmJob job = batch.job;
        const int64_t i = unit / columns / rows;
        job.a = move(job.a, i * batch.a * size);
        job.b = move(job.b, i * batch.b * size);
        job.out = move(job.out, i * batch.out * out_size);
        job.bias = move(job.bias, i * batch.bias * size);
        const int64_t m = unit / columns % rows * plan.rows, n = unit % columns * plan.columns;
        simd().gemm_block(job, m, std::min(m + plan.rows, job.M), n, std::min(n + plan.columns, job.N),
                          scratch_of(thread));
    });
}

}  // namespace

// Blocks of 256 x 512 and their operands fit an L2 of 2 MB; smaller ones, where there are few, keep the threads busy.
GemmPlan::GemmPlan(const GemmBatch& batch)
    : rows(std::clamp<int64_t>(batch.job.M, 1, 256)),
      columns(std::clamp<int64_t>(batch.job.N, 1, 512)),
      threads(threads_for(operations(batch) / kOperationsPerNs)) {
    auto evenly = [](int64_t size, int64_t part, int64_t multiple) {
        size = std::max<int64_t>(size, 1);  // an empty product has no blocks, but a plan
        return std::min(size, parts_of(parts_of(size, parts_of(size, part)), multiple) * multiple);
    };
    const int64_t panel = simd().wide_panel(batch.job.dtype), tile = simd().rows;
    rows = evenly(batch.job.M, rows, tile), columns = evenly(batch.job.N, columns, panel);
    while (threads > 1 && batch.count * parts_of(batch.job.M, rows) * parts_of(batch.job.N, columns) < 4 * threads) {
        if (columns >= rows && columns > 2 * panel)
            columns = evenly(batch.job.N, parts_of(columns, 2), panel);
        else if (rows > 4 * tile)
            rows = evenly(batch.job.M, parts_of(rows, 2), tile);
        else
            break;
    }
}

int64_t GemmPlan::scratch(const GemmJob& job) const {
    const int64_t bytes = (job.dtype == DType::float64 ? 8 : 4) * simd().gemm_scratch(job.dtype, rows, columns, job.K);
    return (bytes + 63) / 64 * 64;
}

bool GemmPlan::shrink() {
    if (threads > 1) return threads /= 2, true;
    const int64_t tile = simd().rows;
    if (columns > 64) return columns = (columns + 1) / 2, true;
    if (rows > tile) return rows = parts_of(parts_of(rows, 2), tile) * tile, true;
    return false;
}

void multiply(const GemmBatch& batch, const GemmPlan& plan, void* scratch) {
    const int64_t slot = plan.scratch(batch.job);
    run(batch, plan, [&](int thread) { return static_cast<char*>(scratch) + thread * slot; });
}

void multiply(const GemmBatch& given) {
    GemmBatch batch = given;
    GemmJob& job = batch.job;
    if (job.a_depth == 1 && job.b_depth == 1 && job.M < job.N) {
        // Packing a B whose columns lie in one piece turns it; out^T = B^T A^T turns the smaller of the two instead.
        std::swap(job.M, job.N), std::swap(job.a, job.b), std::swap(batch.a, batch.b);
        std::swap(job.a_row, job.b_column), std::swap(job.out_row, job.out_column);
        job.bias_row = !job.bias_row;
        job.image = job.N;
    }
    const GemmPlan plan(batch);
    const int64_t slot = plan.scratch(batch.job);
    run(batch, plan, [&](int) { return kept_scratch(slot); });
}

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
    if (K == 0) {
        std::memset(reinterpret_cast<void*>(out), 0, batch * M * N * size_of(dtype));
        return;
    }
    GemmJob job{};
    job.dtype = dtype;
    job.M = M, job.N = N, job.K = K;
    job.a = reinterpret_cast<const void*>(a);
    job.a_row = trans_a ? 1 : lda, job.a_depth = trans_a ? lda : 1;
    job.b = reinterpret_cast<const void*>(b);
    job.b_depth = trans_b ? 1 : ldb, job.b_column = trans_b ? ldb : 1;
    job.out = reinterpret_cast<void*>(out);
    job.out_row = N, job.out_column = 1;
    job.image = N;
    multiply(GemmBatch{job, batch, stride_a, stride_b, M * N, 0});
}
