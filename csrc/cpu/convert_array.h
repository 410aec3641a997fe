// Widening and rounding of whole arrays.
#pragma once
#include <cstdint>

#include "element.h"

namespace {

// out[i] = in[i], widened or rounded.
template <class Out, class In>
MULTIVERSION void convert(const In* in, int64_t count, Out* out) {
    for (int64_t i = 0; i < count; ++i) out[i] = static_cast<Out>(in[i]);
}

// out (cols, rows), row stride `rows`, = in (rows, cols)^T, row stride ld; in blocks that stay in L1.
template <class T>
MULTIVERSION void transpose(const T* in, int64_t rows, int64_t cols, int64_t ld, Acc<T>* out) {
    constexpr int64_t block = 16;
    for (int64_t r0 = 0; r0 < rows; r0 += block)
        for (int64_t c0 = 0; c0 < cols; c0 += block)
            for (int64_t c = c0; c < c0 + block && c < cols; ++c)
                for (int64_t r = r0; r < r0 + block && r < rows; ++r) out[c * rows + r] = in[r * ld + c];
}

}  // namespace
