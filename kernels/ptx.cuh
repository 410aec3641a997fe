// Every PTX instruction that the kernels use, but those of ptx_hopper.cuh, each behind one inline function. On the host
// the other branch models it, lane maps and all (tests/simt/test_ptx.py compares the models with plain products).
//
// A warp's lane is 4 g + t. In 32-bit words, of two 16-bit or one 32-bit element each, the fragments of
// D (16, 8) += A (16, 8 words) B (8 words, 8) are:
//   a[i]   row g + 8 (i % 2) of A, word t + 4 (i / 2)        b[i]   word t + 4 i of column g of B
//   d[i]   row g + 8 (i / 2), column 2 t + i % 2
#pragma once
#include <cstring>
#include <type_traits>

#include "common.cuh"

#ifndef __CUDACC__
#include "tensor_core_model.h"
#endif

// The dynamic shared memory of the block: at a multiple of 16 bytes.
#ifdef __CUDACC__
__device__ inline char* dynamic_shared() {
    extern __shared__ __align__(16) char memory[];
    return memory;
}
__device__ inline unsigned shared_address(const void* pointer) {
    return static_cast<unsigned>(__cvta_generic_to_shared(pointer));
}
#else
inline char* dynamic_shared() { return static_cast<char*>(simt::dynamic_shared()); }
inline unsigned shared_address(const void* pointer) { return simt::shared_address(pointer); }
#endif

// Starts to copy 4 or 16 aligned bytes to shared memory, or to fill them with zeros if not valid; `global` is then not
// read. The bytes are there after cp_async_wait of this thread, and after a barrier for the others.
template <int kBytes>
__device__ inline void cp_async(void* shared, const void* global, bool valid) {
    static_assert(kBytes == 4 || kBytes == 16);
#ifdef __CUDACC__
    const unsigned from_memory = valid ? kBytes : 0;
    if constexpr (kBytes == 16)
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(shared_address(shared)), "l"(global),
                     "r"(from_memory)
                     : "memory");
    else
        asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;\n" ::"r"(shared_address(shared)), "l"(global),
                     "r"(from_memory)
                     : "memory");
#else
    simt::async_copy(shared, global, kBytes, valid ? 0 : kBytes);
#endif
}

// Closes the group of the copies that this thread started since the last call.
__device__ inline void cp_async_commit() {
#ifdef __CUDACC__
    asm volatile("cp.async.commit_group;\n" ::: "memory");
#else
    simt::async_commit();
#endif
}

// Waits until at most the newest kGroups groups of this thread are on their way.
template <int kGroups>
__device__ inline void cp_async_wait() {
#ifdef __CUDACC__
    asm volatile("cp.async.wait_group %0;\n" ::"n"(kGroups) : "memory");
#else
    simt::async_wait(kGroups);
#endif
}

// Four 8 x 8 matrices of 16-bit elements from shared memory; lane l brings the address of row l % 8 of matrix l / 8,
// 16 bytes. words[i] holds elements 2 t and 2 t + 1 of row g of matrix i; transposed: of column g.
template <bool kTransposed>
__device__ inline void ldmatrix_x4(uint32_t (&words)[4], const void* row) {
#ifdef __CUDACC__
    if constexpr (kTransposed)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];\n"
                     : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
                     : "r"(shared_address(row))
                     : "memory");
    else
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];\n"
                     : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
                     : "r"(shared_address(row))
                     : "memory");
#else
    tensor_core_model::ldmatrix_x4(words, row, kTransposed, SIMT_HERE);
#endif
}

// d += a b for 16 x 16 and 16 x 8 elements of float16 or bfloat16, and for 16 x 8 and 8 x 8 of TF32 (T = float; the low
// 13 bits of each word are ignored). Products are exact; their sum in float32 truncates.
template <class T>
__device__ inline void mma(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#ifdef __CUDACC__
    if constexpr (std::is_same_v<T, __half>)
        asm volatile(
            "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
            "{%0, %1, %2, %3};\n"
            : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
    else if constexpr (std::is_same_v<T, __nv_bfloat16>)
        asm volatile(
            "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
            "{%0, %1, %2, %3};\n"
            : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
    else
        asm volatile(
            "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
            "{%0, %1, %2, %3};\n"
            : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    tensor_core_model::mma<T>(d, a, b, SIMT_HERE);
#endif
}

// The bits of the float with the 10 fraction bits of TF32 that is nearest; of two, the one of larger magnitude.
__device__ inline uint32_t to_tf32(float value) {
    uint32_t bits;
#ifdef __CUDACC__
    asm("cvt.rna.tf32.f32 %0, %1;\n" : "=r"(bits) : "f"(value));
#else
    std::memcpy(&bits, &value, 4);
    bits = std::isnan(value) ? 0x7FFFFFFF : (bits + 0x1000) & 0xFFFFE000;
#endif
    return bits;
}

// Two values rounded to float16 or bfloat16, the first in the low half.
template <class T>
__device__ inline uint32_t pair_of(float low, float high) {
    static_assert(std::is_same_v<T, __half> || std::is_same_v<T, __nv_bfloat16>);
    uint32_t word;
#ifdef __CUDACC__
    if constexpr (std::is_same_v<T, __half>)
        asm("cvt.rn.f16x2.f32 %0, %2, %1;\n" : "=r"(word) : "f"(low), "f"(high));
    else
        asm("cvt.rn.bf16x2.f32 %0, %2, %1;\n" : "=r"(word) : "f"(low), "f"(high));
#else
    const T values[2] = {static_cast<T>(low), static_cast<T>(high)};
    std::memcpy(&word, values, 4);
#endif
    return word;
}

// The first (0) or second (1) of such a pair.
template <class T>
__device__ inline T of_pair(uint32_t word, int which) {
    const auto bits = static_cast<uint16_t>(word >> (16 * which));
    T value;
    std::memcpy(&value, &bits, 2);
    return value;
}

// The 2 aligned bytes at `global`, which nobody writes meanwhile, or 0 if not valid; `global` is then not read. A
// register of its own for each: the compiler would pack pairs at once, and so wait for the loads.
__device__ inline uint32_t load_2_bytes(const void* global, bool valid) {
    uint32_t word;
#ifdef __CUDACC__
    asm volatile(
        "{\n.reg .pred valid;\nsetp.ne.u32 valid, %2, 0;\nmov.u32 %0, 0;\n@valid ld.global.nc.u16 %0, [%1];\n}\n"
        : "=&r"(word)
        : "l"(global), "r"(static_cast<unsigned>(valid)));
#else
    uint16_t bytes = 0;
    if (valid) std::memcpy(&bytes, global, 2);
    word = bytes;
#endif
    return word;
}

// No instruction, but the compiler forgets what the pointer was made of, and so keeps it in registers.
template <class T>
__device__ inline void pin(T*& pointer) {
#ifdef __CUDACC__
    asm volatile("" : "+l"(pointer));
#else
    (void)pointer;
#endif
}

// The same for a word that was loaded as 16 bits: the compiler would pack two into a register at once, and so wait for
// the loads.
__device__ inline void pin(uint32_t& word) {
#ifdef __CUDACC__
    asm volatile("" : "+r"(word));
#else
    (void)word;
#endif
}

__device__ inline float float_of(uint32_t bits) {
#ifdef __CUDACC__
    return __uint_as_float(bits);
#else
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
#endif
}
