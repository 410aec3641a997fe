// The vector type of the instruction set that a source of simd/ is compiled for: CMakeLists.txt compiles each source
// once per set, and simd.h picks one at run time.
//
// Everything in simd/ has internal linkage (anonymous namespaces) except the one table: an inline function with
// external linkage, compiled here for AVX-512, could be the copy that the linker keeps for all callers.
#pragma once
#include <cstdint>
#include <cstring>

#ifdef __SSE__
#include <immintrin.h>
#endif

#include "element.h"

#ifdef __AVX2__
#include <immintrin.h>
#endif

namespace {

#if defined(__AVX512F__)
constexpr int kLanes = 16, kRows = 8, kVectors = 2;  // 16 sums in registers of 32
#elif defined(__AVX2__)
constexpr int kLanes = 8, kRows = 4, kVectors = 3;  // 12 sums in registers of 16
#else
constexpr int kLanes = 4, kRows = 4, kVectors = 3;
#endif
constexpr int kPanel = kVectors * kLanes;  // columns of one register-blocked product; kRows are its rows
constexpr int kMostTiles = 2 * kPanel;     // of Winograd in a block

typedef float Vec __attribute__((vector_size(4 * kLanes)));
typedef float Unaligned __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));

INLINE Vec load(const float* p) { return *reinterpret_cast<const Unaligned*>(p); }
INLINE void store(float* p, Vec v) { *reinterpret_cast<Unaligned*>(p) = v; }

// For arrays larger than the caches, written in whole vectors and in an order that has little of a page at a time: a
// store that reads nothing in first. p is a multiple of the vector's size; end_of_stores comes before others read.
INLINE void store_past_cache(float* p, Vec v) {
#if defined(__AVX512F__)
    _mm512_stream_ps(p, v);
#elif defined(__AVX2__)
    _mm256_stream_ps(p, v);
#elif defined(__SSE__)
    _mm_stream_ps(p, v);
#else
    store(p, v);
#endif
}
INLINE void end_of_stores() {
#ifdef __SSE__
    _mm_sfence();
#endif
}

// v, in a register from here on: what is used many times is otherwise loaded as often, and stores of zeros become
// calls.
INLINE Vec keep(Vec v) {
#if defined(__AVX512F__)
    asm("" : "+v"(v));
#elif defined(__AVX2__)
    asm("" : "+x"(v));
#endif
    return v;
}

INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
INLINE int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

// Lanes [begin, end) of a vector: loads give 0 in the others, and neither loads nor stores touch memory there.
#if defined(__AVX512F__)
typedef __mmask16 Lanes;
INLINE Lanes lanes_between(int64_t begin, int64_t end) {
    return ((1u << most(0, least(end, kLanes))) - 1) >> most(0, least(begin, kLanes)) << most(0, least(begin, kLanes));
}
INLINE Vec load(const float* p, Lanes lanes) { return _mm512_maskz_loadu_ps(lanes, p); }
INLINE void store(float* p, Vec v, Lanes lanes) { _mm512_mask_storeu_ps(p, lanes, v); }
#elif defined(__AVX2__)
typedef __m256i Lanes;
INLINE Lanes lanes_between(int64_t begin, int64_t end) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_andnot_si256(_mm256_cmpgt_epi32(_mm256_set1_epi32(most(0, least(begin, kLanes))), lane),
                               _mm256_cmpgt_epi32(_mm256_set1_epi32(most(0, least(end, kLanes))), lane));
}
INLINE Vec load(const float* p, Lanes lanes) { return _mm256_maskload_ps(p, lanes); }
INLINE void store(float* p, Vec v, Lanes lanes) { _mm256_maskstore_ps(p, lanes, v); }
#else
struct Lanes {
    int64_t begin, end;
};
INLINE Lanes lanes_between(int64_t begin, int64_t end) { return {most(0, begin), least(end, kLanes)}; }
__attribute__((noinline, unused)) Vec load_some(const float* p, Lanes lanes) {
    Vec v{};
    for (int64_t l = lanes.begin; l < lanes.end; ++l) v[l] = p[l];
    return v;
}
INLINE Vec load(const float* p, Lanes lanes) {
    return lanes.begin == 0 && lanes.end == kLanes ? load(p) : load_some(p, lanes);
}
INLINE void store(float* p, Vec v, Lanes lanes) {
    if (lanes.begin == 0 && lanes.end == kLanes) return store(p, v);
    for (int64_t l = lanes.begin; l < lanes.end; ++l) p[l] = v[l];
}
#endif

// out[kRows][kPanel] = (or +=, where add) sum over i < depth of a[i][row] b[i][column]: the innermost product. What
// comes next is fetched ahead: a is mostly read once from beyond L2, b again and again from L2 (a quarter faster
// there).
INLINE void register_product(bool add, int64_t depth, const float* a, const float* b, float* out) {
    Vec sum[kRows][kVectors] = {};
    for (int r = 0; add && r < kRows; ++r)
        for (int v = 0; v < kVectors; ++v) __builtin_prefetch(out + r * kPanel + v * kLanes, 1);
    for (int64_t i = 0; i < depth; ++i, a += kRows, b += kPanel) {
        Vec column[kVectors];
        __builtin_prefetch(a + 512);
        for (int v = 0; v < kVectors; ++v) {
            __builtin_prefetch(b + 256 + v * kLanes);
            column[v] = load(b + v * kLanes);
        }
#pragma GCC unroll 8
        for (int r = 0; r < kRows; ++r)
            for (int v = 0; v < kVectors; ++v) sum[r][v] += column[v] * a[r];
    }
    for (int r = 0; r < kRows; ++r)
        for (int v = 0; v < kVectors; ++v) {
            float* to = out + r * kPanel + v * kLanes;
            store(to, add ? load(to) + sum[r][v] : sum[r][v]);
        }
}

// rows[i] lane j <-> rows[j] lane i, by halves: after the step of size h, blocks of h lanes are in place.
INLINE void transpose_square(Vec* rows) {
    typedef int32_t Index __attribute__((vector_size(4 * kLanes)));
#pragma GCC unroll 4
    for (int h = 1; h < kLanes; h *= 2) {
        Index low, high;  // of the pair (a, b): a's even blocks with b's even blocks, and the odd ones
        for (int l = 0; l < kLanes; ++l) {
            low[l] = l & h ? kLanes + l - h : l;
            high[l] = l & h ? kLanes + l : l + h;
        }
#pragma GCC unroll 16
        for (int i = 0; i < kLanes; ++i)
            if (!(i & h)) {
                const Vec a = rows[i], b = rows[i + h];
                rows[i] = __builtin_shuffle(a, b, low);
                rows[i + h] = __builtin_shuffle(a, b, high);
            }
    }
}

}  // namespace
