// Host models of ldmatrix and mma.sync, for kernels/ptx.cuh: what a warp does as one, once all of its lanes are there.
//
// NVIDIA does not document how tensor cores add. Measured (Fasi et al. 2021): products are exact; up to 8 of them for
// 16-bit types and 4 for TF32, and the old sum, are aligned to the largest of them and truncated there, added, and
// truncated to float32. The model keeps no guard bits, the coarsest behaviour reported, so that a GPU does no worse.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <type_traits>

namespace tensor_core_model {

struct LoadOperands {
    uint32_t* words;
    const void* row;
    bool transposed;
};

inline void load_matrices(const uint64_t* brought) {
    const auto lane = [&](int i) { return reinterpret_cast<const LoadOperands*>(brought[i]); };
    for (int l = 0; l < 32; ++l)
        for (int matrix = 0; matrix < 4; ++matrix) {
            uint16_t pair[2];
            for (int i = 0; i < 2; ++i) {
                const int row = lane(l)->transposed ? l % 4 * 2 + i : l / 4;
                const int column = lane(l)->transposed ? l / 4 : l % 4 * 2 + i;
                std::memcpy(&pair[i], static_cast<const uint16_t*>(lane(8 * matrix + row)->row) + column, 2);
            }
            std::memcpy(&lane(l)->words[matrix], pair, 4);
        }
}

inline void ldmatrix_x4(uint32_t* words, const void* row, bool transposed, simt::Site site) {
    if (reinterpret_cast<uintptr_t>(row) % 16) throw std::runtime_error("ldmatrix: a row is not aligned to 16 bytes");
    const LoadOperands operands{words, row, transposed};
    simt::exchange(0xffffffffu, reinterpret_cast<uint64_t>(&operands), site, load_matrices);
}

inline int exponent_of(double value) {  // below every other for 0
    uint64_t bits;
    std::memcpy(&bits, &value, 8);
    return int(bits >> 52 & 2047) - 1023;
}

inline double power_of_2(int exponent) {
    const uint64_t bits = uint64_t(exponent + 1023) << 52;
    double value;
    std::memcpy(&value, &bits, 8);
    return value;
}

inline float truncating_sum(float sum, const double* products, int count) {
    int largest = exponent_of(sum);
    for (int i = 0; i < count; ++i) largest = std::max(largest, exponent_of(products[i]));
    if (largest == 1024) {  // not finite
        double plain = sum;
        for (int i = 0; i < count; ++i) plain += products[i];
        return float(plain);
    }
    if (largest == -1023) return sum;  // all are 0
    const double units = power_of_2(23 - largest);
    int64_t total = int64_t(sum * units);
    for (int i = 0; i < count; ++i) total += int64_t(products[i] * units);
    int64_t magnitude = std::abs(total);
    for (int shift = 0; magnitude >> shift; ++shift)
        if (magnitude >> shift < 1 << 24) {
            magnitude = magnitude >> shift << shift;
            break;
        }
    return float(double(total < 0 ? -magnitude : magnitude) / units);
}

// The elements of a word.
template <class T>
void unpack(uint32_t word, double* elements) {
    if constexpr (std::is_same_v<T, float>) {
        word &= 0xFFFFE000;
        float value;
        std::memcpy(&value, &word, 4);
        elements[0] = value;
    } else {
        T pair[2];
        std::memcpy(pair, &word, 4);
        for (int i = 0; i < 2; ++i) elements[i] = static_cast<float>(pair[i]);
    }
}

struct MmaOperands {
    float* d;
    const uint32_t *a, *b;
};

template <class T>
void multiply(const uint64_t* brought) {
    constexpr int in_word = 4 / sizeof(T), depth = 8 * in_word, at_once = depth / 2;
    const auto lane = [&](int i) { return reinterpret_cast<const MmaOperands*>(brought[i]); };
    double a[16][depth], b[8][depth];
    for (int l = 0; l < 32; ++l) {
        const int g = l / 4, t = l % 4;
        for (int i = 0; i < 4; ++i) unpack<T>(lane(l)->a[i], &a[g + i % 2 * 8][(t + i / 2 * 4) * in_word]);
        for (int i = 0; i < 2; ++i) unpack<T>(lane(l)->b[i], &b[g][(t + i * 4) * in_word]);
    }
    for (int l = 0; l < 32; ++l)
        for (int i = 0; i < 4; ++i) {
            const int row = l / 4 + i / 2 * 8, column = l % 4 * 2 + i % 2;
            float& sum = lane(l)->d[i];
            for (int k = 0; k < depth; k += at_once) {
                double products[at_once];
                for (int j = 0; j < at_once; ++j) products[j] = a[row][k + j] * b[column][k + j];
                sum = truncating_sum(sum, products, at_once);
            }
        }
}

template <class T>
void mma(float* d, const uint32_t* a, const uint32_t* b, simt::Site site) {
    const MmaOperands operands{d, a, b};
    simt::exchange(0xffffffffu, reinterpret_cast<uint64_t>(&operands), site, multiply<T>);
}

}  // namespace tensor_core_model
