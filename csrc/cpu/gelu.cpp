// GELU and its slope in one pass. Bounded by the exponentials. Called by bind_cpu.cpp.
#include <algorithm>
#include <cmath>

#include "cpu.h"
#include "element.h"
#include "exp.h"
#include "threads.h"

namespace {

constexpr double kSqrtHalf = 0.70710678118654752, kSqrtHalfOverPi = 0.39894228040143268;  // of 1/2 and of 1/(2 pi)
constexpr double kSqrtEightOverPi = 1.59576912160573071;

// With Phi the distribution function of the standard normal law: y = x Phi(x), slope = Phi(x) + x Phi'(x). In double,
// whatever T: erfc keeps the digits of small probabilities, but doubles the error of its argument x times over.
template <class T>
void exact(int64_t count, const T* x, T* y, T* slope) {
    for (int64_t i = 0; i < count; ++i) {
        const double value = static_cast<Acc<T>>(x[i]);
        const double share = 0.5 * std::erfc(-value * kSqrtHalf);
        y[i] = static_cast<T>(static_cast<Acc<T>>(value * share));
        if (slope) {
            const double density = kSqrtHalfOverPi * std::exp(-0.5 * value * value);
            slope[i] = static_cast<T>(static_cast<Acc<T>>(share + value * density));
        }
    }
}

// With (1 + tanh(u / 2)) / 2 = 1 / (1 + exp(-u)), u = sqrt(8 / pi) (x + 0.044715 x**3), in the place of Phi.
template <class T>
MULTIVERSION void by_tanh(int64_t count, const T* x, T* y, T* slope) {
    using A = Acc<T>;
    for (int64_t i = 0; i < count; ++i) {
        const A value = static_cast<A>(x[i]), square = std::min(value * value, A(1e6));  // finite: 0 times it is 0
        const A u = A(kSqrtEightOverPi) * value * (1 + A(0.044715) * square);
        const A power = exp_nonpositive(u < 0 ? u : -u), whole = 1 + power;
        const A share = (u < 0 ? power : A(1)) / whole;
        y[i] = static_cast<T>(value * share);
        if (slope)
            slope[i] = static_cast<T>(share + value * power / (whole * whole) * A(kSqrtEightOverPi) *
                                                  (1 + 3 * A(0.044715) * square));
    }
}

}  // namespace

void gelu(DType dtype, bool tanh, int64_t count, Address x, Address y, Address slope) {
    constexpr int64_t kBlock = 4096;
    with_dtype(dtype, [&](auto t) {
        using T = decltype(t);
        const int threads = threads_for(count * (tanh ? 2 : 32));
        parallel_for((count + kBlock - 1) / kBlock, threads, [&](int64_t block, int) {
            const int64_t first = block * kBlock, size = std::min(kBlock, count - first);
            (tanh ? by_tanh<T> : exact<T>)(size, reinterpret_cast<const T*>(x) + first, reinterpret_cast<T*>(y) + first,
                                           slope ? reinterpret_cast<T*>(slope) + first : nullptr);
        });
    });
}
