// What both orders of memory share in batch normalisation, and that of rows.
#pragma once
#include <cstdint>

#include "element.h"

namespace {

// masked = dy where y > 0, else 0.
template <class T>
MULTIVERSION void mask(const T* y, const T* dy, int64_t count, T* masked) {
    for (int64_t i = 0; i < count; ++i) masked[i] = static_cast<Acc<T>>(y[i]) > 0 ? dy[i] : static_cast<T>(Acc<T>(0));
}

}  // namespace

// batch_norm_rows.cpp: what batch_norm.cpp computes, for rows of C neighbouring values, x (rows, C).
namespace batch_norm_rows {

template <class T>
void stats(int64_t rows, int64_t C, const T* x, Acc<T>* mean, Acc<T>* var);
template <class T>
void fwd(int64_t rows, int64_t C, const T* x, const Acc<T>* mean, const Acc<T>* var, const Acc<T>* weight,
         const Acc<T>* bias, double eps, const T* residual, bool relu, T* y);
template <class T>
void bwd(int64_t rows, int64_t C, bool training, const T* x, const T* dy, const T* y, const Acc<T>* mean,
         const Acc<T>* var, const Acc<T>* weight, double eps, T* masked, T* dx, Acc<T>* dweight, Acc<T>* dbias);

}  // namespace batch_norm_rows
