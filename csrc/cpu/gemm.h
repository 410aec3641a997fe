// Batches of matrix products on the threads, in blocks that simd/gemm.cpp computes.
#pragma once
#include <cstdint>

#include "simd/simd.h"

// `count` products of the same sizes; the distances are in elements, 0 for what all share.
struct GemmBatch {
    GemmJob job;
    int64_t count, a, b, out, bias;
};

// The blocks that out is cut into. They decide neither which products are added nor in which order: results have the
// same bits for every cut and every number of threads.
struct GemmPlan {
    int64_t rows, columns;
    int threads;

    explicit GemmPlan(const GemmBatch&);
    int64_t scratch(const GemmJob&) const;  // bytes of one thread, a multiple of 64
    bool shrink();
};

// scratch: threads times plan.scratch bytes, at a multiple of 64.
void multiply(const GemmBatch&, const GemmPlan&, void* scratch);
// The same for one image of columns, in memory of its own, which each thread keeps.
void multiply(const GemmBatch&);
