// Stand-in for CUDA's header of this name: __nv_bfloat16 as storage with correctly rounded conversions.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

struct __nv_bfloat16 {
    uint16_t bits;

    __nv_bfloat16() = default;
    explicit __nv_bfloat16(float value) {  // round to nearest, ties to even
        uint32_t word;
        std::memcpy(&word, &value, 4);
        if (std::isnan(value))
            bits = 0x7FFF;
        else
            bits = uint16_t((word + 0x7FFF + (word >> 16 & 1)) >> 16);
    }
    explicit operator float() const {
        const uint32_t word = uint32_t(bits) << 16;
        float value;
        std::memcpy(&value, &word, 4);
        return value;
    }
};
