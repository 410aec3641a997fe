// The element types as C++ classes: storage of the 16-bit floats, the type that sums are kept in, and the one list of
// dtypes (with_dtype), so that adding one is one line.
#pragma once
#include <cstdint>
#include <cstring>

#include "dtype.h"

// Loops that measured faster get one clone per instruction set, picked when the library is loaded (GNU ifunc).
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12
#define MULTIVERSION __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define MULTIVERSION
#endif
// What a multiversioned loop calls must be inlined to be compiled for its instruction set.
#define INLINE inline __attribute__((always_inline))
#define INLINE_LAMBDA __attribute__((always_inline))

INLINE uint32_t bits_of(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}

INLINE float float_of(uint32_t bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

// IEEE binary16 in storage. Conversions are branch-free integer arithmetic (the selects become masks), so that loops
// vectorise on every instruction set; rounding is to nearest even.
struct Half {
    uint16_t bits;

    Half() = default;

    INLINE explicit Half(float value) {
        uint32_t sign = bits_of(value) >> 16 & 0x8000u;
        uint32_t magnitude = bits_of(value) & 0x7fffffffu;
        // Normal: rebias the exponent by 127 - 15, round the 13 dropped bits; a carry out of 65504 gives infinity.
        uint32_t normal = (magnitude - (112u << 23) + 0xfffu + (magnitude >> 13 & 1u)) >> 13;
        // Subnormal: adding 0.5 lines the mantissa up with Half's spacing of 2^-24, and the addition rounds.
        uint32_t subnormal = bits_of(float_of(magnitude < (113u << 23) ? magnitude : 0u) + 0.5f) - bits_of(0.5f);
        uint32_t special = magnitude > 0x7f800000u ? 0x7e00u : 0x7c00u;
        uint32_t finite = magnitude < (113u << 23) ? subnormal : normal;
        bits = static_cast<uint16_t>(sign | (magnitude < (143u << 23) ? finite : special));
    }

    INLINE operator float() const {
        uint32_t sign = (bits & 0x8000u) << 16;
        uint32_t magnitude = (bits & 0x7fffu) << 13;
        uint32_t normal = magnitude + (112u << 23);
        uint32_t special = magnitude + (224u << 23);  // infinity and NaN: the exponent becomes 255
        // Subnormal: m 2^-24 = (2^-14 + m 2^-24) - 2^-14, exact.
        uint32_t subnormal = bits_of(float_of(magnitude + (113u << 23)) - float_of(113u << 23));
        uint32_t finite = magnitude < (1u << 23) ? subnormal : normal;
        return float_of(sign | (magnitude < (31u << 23) ? finite : special));
    }
};

// The upper half of a binary32.
struct BFloat16 {
    uint16_t bits;

    BFloat16() = default;

    INLINE explicit BFloat16(float value) {
        uint32_t raw = bits_of(value);
        uint32_t rounded = (raw + 0x7fffu + (raw >> 16 & 1u)) >> 16;
        uint32_t quiet = raw >> 16 | 0x40u;  // rounding could carry a NaN into infinity
        bits = static_cast<uint16_t>((raw & 0x7fffffffu) > 0x7f800000u ? quiet : rounded);
    }

    INLINE operator float() const { return float_of(static_cast<uint32_t>(bits) << 16); }
};

template <class T>
struct AccOf {
    using type = float;
};
template <>
struct AccOf<double> {
    using type = double;
};
// What sums over T are kept in: double for double, else float.
template <class T>
using Acc = typename AccOf<T>::type;

// Whether storage differs from the sums, so that values must be widened before and rounded after.
template <class T>
constexpr bool is_narrow = sizeof(T) < sizeof(Acc<T>);

// f(T{}) with the C++ type of dtype.
template <class F>
void with_dtype(DType dtype, F&& f) {
    switch (dtype) {
        case DType::float32:
        case DType::tf32:
            return f(float{});
        case DType::float16:
            return f(Half{});
        case DType::bfloat16:
            return f(BFloat16{});
        case DType::float64:
            return f(double{});
    }
}
