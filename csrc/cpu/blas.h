// Matrix products by the OpenBLAS of the scipy-openblas32 wheel, on the calling thread only: work is split over the
// threads of threads.h, never inside BLAS, so that cores are not oversubscribed.
#pragma once
#include <cstdint>

// To be called once before the first product.
void blas_single_threaded();

// Row-major C (M, N), row stride ldc, = op(A) op(B), or += where `add`. op is a transposition where trans_* is true;
// lda and ldb are row strides of A and B as stored. Sizes that BLAS cannot hold in an int are an invalid_argument.
struct Product {
    bool trans_a = false, trans_b = false;
    int64_t M = 0, N = 0, K = 0, lda = 0, ldb = 0, ldc = 0;
    bool add = false;
};
void multiply(const Product& p, const float* a, const float* b, float* c);
void multiply(const Product& p, const double* a, const double* b, double* c);
