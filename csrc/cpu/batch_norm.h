// batch_norm_rows.cpp: what batch_norm.cpp computes, for rows of C neighbouring values, x (rows, C).
#pragma once
#include <cstdint>

#include "element.h"

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
