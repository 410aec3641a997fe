// What both orders of memory share in pooling, and pooling in channels_last order.
#pragma once
#include <cstdint>

#include "conv_shape.h"
#include "element.h"

// Explicit vectors, because GCC 12 does not vectorise selects by a combination of conditions.
template <class A, int count>
struct Vector {
    typedef A type __attribute__((vector_size(count * sizeof(A))));
};

// One more pixel of each window: a larger value takes the place of the best one, as does the first, whatever it is
// (where < 0: none yet). A NaN wins and stays.
template <class Values, class Indices>
INLINE void take_larger(const Values& value, const Indices& here, Values& best, Indices& where) {
    const auto larger = ((value > best) | (value != value)) & (best == best);
    const Indices take = __builtin_convertvector(larger, Indices) | (where < 0);
    best = __builtin_convertvector(take, decltype(larger)) ? value : best;
    where = take ? here : where;
}

// pool_channels_last.cpp: x, dx (N, H, W, C); y, dy, index (N, P, Q, C). The shape has passed the checks of pool.cpp.
namespace pool_channels_last {

template <class T>
void max_fwd(const ConvShape& s, const T* x, T* y, int32_t* index);
template <class T>
void max_bwd(const ConvShape& s, const T* dy, const int32_t* index, T* dx);
template <class T>
void avg_fwd(const ConvShape& s, bool count_include_pad, const T* x, T* y);
template <class T>
void avg_bwd(const ConvShape& s, bool count_include_pad, const T* dy, T* dx);

}  // namespace pool_channels_last
