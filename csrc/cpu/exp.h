// The exponential that softmax needs, as arithmetic without a call or a branch, so that loops over it vectorise.
#pragma once
#include <cmath>

#include "element.h"

// e**(x + tail) for x <= 0, to 2 units in the last place; 0 where it is below 2**-126, and a NaN stays one. x = n ln 2
// + r with an integer n: e**r by Taylor's series, whose rest is below 2**-27 for |r| <= ln(2) / 2, and 2**n by its
// bits. tail, up to 0.1, is what rounding took from x: an error of the exponent is one of the result's digits.
INLINE float exp_nonpositive(float x, float tail = 0) {
    constexpr float kInteger = 12582912;  // 1.5 2**23: added to a number, it leaves an integer in the last bits
    const float shifted = x * 1.44269504f + kInteger, n = shifted - kInteger;
    const float r =
        (x - n * 0.693359375f) + n * 2.12194440e-4f + tail;  // ln 2 in two parts: the first product is exact
    float sum = 1.0f / 5040;
    sum = sum * r + 1.0f / 720;
    sum = sum * r + 1.0f / 120;
    sum = sum * r + 1.0f / 24;
    sum = sum * r + 1.0f / 6;
    sum = sum * r + 0.5f;
    sum = sum * r + 1;
    sum = sum * r + 1;
    const float value = sum * float_of((bits_of(shifted) + 127) << 23);
    return x < -87.33654f ? 0.0f : value;
}

INLINE double exp_nonpositive(double x) { return std::exp(x); }
