// Stand-in for CUDA's header of this name: __half as storage with correctly rounded conversions.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

struct __half {
    uint16_t bits;

    __half() = default;
    explicit __half(float value) {  // round to nearest, ties to even
        uint32_t word;
        std::memcpy(&word, &value, 4);
        const uint16_t sign = uint16_t(word >> 16 & 0x8000);
        const float magnitude = std::fabs(value);
        if (std::isnan(value)) {
            bits = 0x7FFF;
        } else if (magnitude >= 65520.0f) {  // halfway between the largest half and 2^16
            bits = sign | 0x7C00;
        } else if (magnitude < 0x1p-14f) {  // subnormal: a multiple of 2^-24
            bits = sign | uint16_t(std::lrint(double(magnitude) * 0x1p24));
        } else {
            word = (word & 0x7FFFFFFF) - (112u << 23);  // the exponent's bias goes from 127 to 15
            word += 0xFFF + (word >> 13 & 1);
            bits = sign | uint16_t(word >> 13);
        }
    }
    explicit operator float() const {
        const int exponent = bits >> 10 & 31, fraction = bits & 0x3FF;
        float magnitude = std::ldexp(float(exponent ? fraction | 0x400 : fraction), (exponent ? exponent : 1) - 25);
        if (exponent == 31) magnitude = fraction ? NAN : INFINITY;
        return bits & 0x8000 ? -magnitude : magnitude;
    }
};
