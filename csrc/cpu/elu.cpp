// ELU and its slope in one pass. Bounded by the exponential. Called by bind_cpu.cpp.
#include <cmath>

#include "cpu.h"
#include "element.h"
#include "exp.h"
#include "threads.h"

namespace {

// e**x - 1 for x <= 0, given e**x. Near 0, where the difference would lose digits, by Taylor's series, whose rest is
// below 2**-26 of it for x > -0.5.
INLINE float expm1_nonpositive(float x, float power) {
    float sum = 1.0f / 40320;
    sum = sum * x + 1.0f / 5040;
    sum = sum * x + 1.0f / 720;
    sum = sum * x + 1.0f / 120;
    sum = sum * x + 1.0f / 24;
    sum = sum * x + 1.0f / 6;
    sum = sum * x + 0.5f;
    sum = sum * x + 1;
    return x > -0.5f ? sum * x : power - 1;
}

INLINE double expm1_nonpositive(double x, double /*power*/) { return std::expm1(x); }

template <class T>
MULTIVERSION void loop(int64_t count, Acc<T> alpha, const T* x, T* y, T* slope) {
    using A = Acc<T>;
    for (int64_t i = 0; i < count; ++i) {
        const A value = static_cast<A>(x[i]), low = value > 0 ? A(0) : value;
        const A power = exp_nonpositive(low);
        y[i] = static_cast<T>(value > 0 ? value : alpha * expm1_nonpositive(low, power));
        if (slope) slope[i] = static_cast<T>(value > 0 ? A(1) : alpha * power);
    }
}

}  // namespace

void elu(DType dtype, double alpha, int64_t count, Address x, Address y, Address slope) {
    with_dtype(dtype, [&](auto t) {
        using T = decltype(t);
        parallel_blocks(count, 4 * count, [&](int64_t first, int64_t size) {
            loop(size, static_cast<Acc<T>>(alpha), reinterpret_cast<const T*>(x) + first,
                 reinterpret_cast<T*>(y) + first, slope ? reinterpret_cast<T*>(slope) + first : nullptr);
        });
    });
}
