// Leaky ReLU, and ReLU where the slope is 0. Bounded by memory traffic. Called by bind_cpu.cpp.
#include "cpu.h"
#include "element.h"
#include "threads.h"

namespace {

// A slope of 0 is no factor: infinity times 0 would be a NaN. A NaN stays one.
template <bool relu, class A>
INLINE A scaled(A value, A slope) {
    return relu ? (value < 0 ? A(0) : value) : value * slope;
}

template <bool relu, class T>
MULTIVERSION void forward(int64_t count, Acc<T> slope, const T* x, T* y) {
    for (int64_t i = 0; i < count; ++i) {
        const Acc<T> value = static_cast<Acc<T>>(x[i]);
        y[i] = static_cast<T>(value > 0 ? value : scaled<relu>(value, slope));
    }
}

template <class T>
MULTIVERSION void mark(int64_t count, const T* x, uint8_t* positive) {
    for (int64_t i = 0; i < count; ++i) positive[i] = static_cast<Acc<T>>(x[i]) > 0;
}

template <bool relu, class T>
MULTIVERSION void backward(int64_t count, Acc<T> slope, const T* dy, const uint8_t* positive, T* dx) {
    for (int64_t i = 0; i < count; ++i) {
        const Acc<T> value = static_cast<Acc<T>>(dy[i]);
        dx[i] = static_cast<T>(positive[i] ? value : relu ? Acc<T>(0) : value * slope);
    }
}

}  // namespace

void leaky_relu_fwd(DType dtype, double slope, int64_t count, Address x, Address y, Address positive) {
    with_dtype(dtype, [&](auto t) {
        using T = decltype(t);
        parallel_blocks(count, count, [&](int64_t first, int64_t size) {
            const T* from = reinterpret_cast<const T*>(x) + first;
            const auto loop = slope == 0 ? forward<true, T> : forward<false, T>;
            loop(size, static_cast<Acc<T>>(slope), from, reinterpret_cast<T*>(y) + first);
            if (positive) mark(size, from, reinterpret_cast<uint8_t*>(positive) + first);
        });
    });
}

void leaky_relu_bwd(DType dtype, double slope, int64_t count, Address dy, Address positive, Address dx) {
    with_dtype(dtype, [&](auto t) {
        using T = decltype(t);
        parallel_blocks(count, count, [&](int64_t first, int64_t size) {
            const auto loop = slope == 0 ? backward<true, T> : backward<false, T>;
            loop(size, static_cast<Acc<T>>(slope), reinterpret_cast<const T*>(dy) + first,
                 reinterpret_cast<const uint8_t*>(positive) + first, reinterpret_cast<T*>(dx) + first);
        });
    });
}
