#include "blas.h"

#include <cblas.h>

#include <algorithm>
#include <limits>
#include <stdexcept>

namespace {

// In BLAS's eyes a row stride is at least the row, even for a matrix of one row or none.
template <class T, class Gemm>
void call(const Product& p, const T* a, const T* b, T* c, Gemm gemm) {
    if (p.M == 0 || p.N == 0) return;
    if (p.K == 0) {
        for (int64_t m = 0; m < p.M && !p.add; ++m) std::fill_n(c + m * p.ldc, p.N, T(0));
        return;
    }
    const int64_t lda = std::max(p.lda, p.trans_a ? p.M : p.K);
    const int64_t ldb = std::max(p.ldb, p.trans_b ? p.K : p.N);
    if (std::max({p.M, p.N, p.K, lda, ldb, p.ldc}) > std::numeric_limits<blasint>::max())
        throw std::invalid_argument("gemm: BLAS takes sizes below 2**31, but a size or a row stride is larger");
    auto i = [](int64_t n) { return static_cast<blasint>(n); };
    gemm(CblasRowMajor, p.trans_a ? CblasTrans : CblasNoTrans, p.trans_b ? CblasTrans : CblasNoTrans, i(p.M), i(p.N),
         i(p.K), T(1), a, i(lda), b, i(ldb), T(p.add), c, i(p.ldc));
}

}  // namespace

void blas_single_threaded() { scipy_openblas_set_num_threads(1); }

void multiply(const Product& p, const float* a, const float* b, float* c) { call(p, a, b, c, scipy_cblas_sgemm); }
void multiply(const Product& p, const double* a, const double* b, double* c) { call(p, a, b, c, scipy_cblas_dgemm); }
