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

// Of the standard normal law: `share`, the probability of less than x, and `bell`, e**(-x**2 / 2).
INLINE void normal(double x, double& share, double& bell) {
    share = 0.5 * std::erfc(-x * kSqrtHalf);
    bell = std::exp(-0.5 * x * x);
}

// To a few units in the last place, also where the probability is small, and without a call: with z = |x| / sqrt(2) and
// t = 2.5 / (2.5 + z), erfc(z) = e**(-z**2) t P(t). P is the polynomial of degree 9 whose largest relative error for z
// up to 10 is least, 2**-27 (found by iterated weighted least squares).
INLINE void normal(float x, float& share, float& bell) {
    const float far = std::min(std::fabs(x), 16.0f);          // beyond it both are 0 or 1
    const float head = float_of(bits_of(far) & 0xfffff000u);  // its square is exact
    bell = exp_nonpositive(-0.5f * head * head, -0.5f * (far - head) * (far + head));
    const float t = 2.5f / (2.5f + far * float(kSqrtHalf));
    float p = -0.0295943364f;
    p = p * t + 0.19801321f;
    p = p * t - 0.498811482f;
    p = p * t + 0.547435424f;
    p = p * t - 0.284366671f;
    p = p * t + 0.272066225f;
    p = p * t + 0.129679606f;
    p = p * t + 0.2149191f;
    p = p * t + 0.224952022f;
    p = p * t + 0.225706909f;
    const float tail = 0.5f * bell * t * p;
    share = x < 0 ? tail : 1 - tail;
}

// y = x share, slope = share + x density.
template <class T>
MULTIVERSION void exact(int64_t count, const T* x, T* y, T* slope) {
    using A = Acc<T>;
    for (int64_t i = 0; i < count; ++i) {
        const A value = static_cast<A>(x[i]);
        A share, bell;
        normal(value, share, bell);
        y[i] = static_cast<T>(value * share);
        if (slope) slope[i] = static_cast<T>(share + value * bell * A(kSqrtHalfOverPi));
    }
}

// With (1 + tanh(u / 2)) / 2 = 1 / (1 + exp(-u)), u = sqrt(8 / pi) (x + 0.044715 x**3), in the place of the share.
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
    with_dtype(dtype, [&](auto t) {
        using T = decltype(t);
        parallel_blocks(count, 4 * count, [&](int64_t first, int64_t size) {
            (tanh ? by_tanh<T> : exact<T>)(size, reinterpret_cast<const T*>(x) + first, reinterpret_cast<T*>(y) + first,
                                           slope ? reinterpret_cast<T*>(slope) + first : nullptr);
        });
    });
}
