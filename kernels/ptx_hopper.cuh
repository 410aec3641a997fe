// The PTX instructions of compute capability 9.0a, each behind one inline function, as in ptx.cuh: barriers in shared
// memory, the tensor memory accelerator (TMA), products of a warpgroup. The host branches are hopper_model.h of
// tests/simt, tested by tests/simt/test_ptx_hopper.py.
//
// GPUCNN_HOPPER is defined where they can be compiled: not in nvcc's passes for other architectures.
#pragma once
#include <cuda.h>

#include "ptx.cuh"

#ifndef __CUDACC__
#include "hopper_model.h"
#endif
#if !defined(__CUDACC__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define GPUCNN_HOPPER
#endif

#ifdef GPUCNN_HOPPER

// An mbarrier, in shared memory. Its phases count 0, 1, ...: one is over when so many threads have arrived as
// barrier_init said, and all bytes that were expected have come.
using Barrier = uint64_t;

__device__ inline void barrier_init(Barrier* barrier, unsigned arrivals) {
#ifdef __CUDACC__
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;\n" ::"r"(shared_address(barrier)), "r"(arrivals) : "memory");
#else
    hopper_model::barrier_init(barrier, arrivals);
#endif
}

// Makes the barriers that this thread initialised visible to the TMA; to other threads, __syncthreads does.
__device__ inline void barrier_init_fence() {
#ifdef __CUDACC__
    asm volatile("fence.mbarrier_init.release.cluster;\n" ::: "memory");
#else
    hopper_model::barrier_init_fence();
#endif
}

__device__ inline void barrier_arrive(Barrier* barrier) {
#ifdef __CUDACC__
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];\n" ::"r"(shared_address(barrier)) : "memory");
#else
    hopper_model::barrier_arrive(barrier, 0);
#endif
}

// Arrives, and makes the phase wait for so many bytes.
__device__ inline void barrier_arrive_expecting(Barrier* barrier, unsigned bytes) {
#ifdef __CUDACC__
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;\n" ::"r"(shared_address(barrier)), "r"(bytes)
                 : "memory");
#else
    hopper_model::barrier_arrive(barrier, bytes);
#endif
}

// Waits until the phase of this parity is over: the present one if its parity it is, else the one before.
__device__ inline void barrier_wait(Barrier* barrier, unsigned parity) {
#ifdef __CUDACC__
    unsigned over;
    do {
        asm volatile(
            "{\n.reg .pred over;\nmbarrier.try_wait.parity.shared::cta.b64 over, [%1], %2;\n"
            "selp.u32 %0, 1, 0, over;\n}\n"
            : "=r"(over)
            : "r"(shared_address(barrier)), "r"(parity)
            : "memory");
    } while (!over);
#else
    hopper_model::barrier_wait(barrier, parity, SIMT_HERE);
#endif
}

// Waits until so many threads of the block, whole warps, have come here, and sees what they wrote before. The number is
// one of 1 .. 15; __syncthreads has 0.
template <int kNumber, int kThreads>
__device__ inline void sync_part_of_block() {
    static_assert(kNumber > 0 && kNumber < 16 && kThreads % 32 == 0);
#ifdef __CUDACC__
    asm volatile("bar.sync %0, %1;\n" ::"n"(kNumber), "n"(kThreads) : "memory");
#else
    hopper_model::sync_part_of_block(kNumber, kThreads, SIMT_HERE);
#endif
}

// Starts to load the box of a tiled map of rank 3 that begins at element (z, y, x); x counts along memory. Elements
// outside are zeros. The bytes, of a whole box always, are there when the barrier's phase is over.
__device__ inline void tma_load_box(void* shared, const CUtensorMap* map, Barrier* barrier, int x, int y, int z) {
#ifdef __CUDACC__
    asm volatile(
        "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3, %4}], "
        "[%5];\n" ::"r"(shared_address(shared)),
        "l"(map), "r"(x), "r"(y), "r"(z), "r"(shared_address(barrier))
        : "memory");
#else
    hopper_model::load_box(shared, map, barrier, x, y, z);
#endif
}

// The same for an im2col map of rank 4: the channels from c on of the pixels that follow (n, h, w) within the map's
// bounding box, each moved by the offset.
__device__ inline void tma_load_im2col(void* shared, const CUtensorMap* map, Barrier* barrier, int c, int w, int h,
                                       int n, int offset_w, int offset_h) {
#ifdef __CUDACC__
    asm volatile(
        "cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes [%0], "
        "[%1, {%2, %3, %4, %5}], [%6], {%7, %8};\n" ::"r"(shared_address(shared)),
        "l"(map), "r"(c), "r"(w), "r"(h), "r"(n), "r"(shared_address(barrier)), "h"(static_cast<uint16_t>(offset_w)),
        "h"(static_cast<uint16_t>(offset_h))
        : "memory");
#else
    hopper_model::load_im2col(shared, map, barrier, c, w, h, n, offset_w, offset_h);
#endif
}

// What this thread wrote to shared memory before is there for the TMA to read, once a barrier has told its thread.
__device__ inline void tma_store_fence() {
#ifdef __CUDACC__
    asm volatile("fence.proxy.async.shared::cta;\n" ::: "memory");
#else
    hopper_model::store_fence();
#endif
}

// Starts to store a box of a tiled map of rank 3, from where tma_load_box would put it; elements outside are left out.
__device__ inline void tma_store_box(const void* shared, const CUtensorMap* map, int x, int y, int z) {
#ifdef __CUDACC__
    asm volatile("cp.async.bulk.tensor.3d.global.shared::cta.tile.bulk_group [%0, {%1, %2, %3}], [%4];\n" ::"l"(map),
                 "r"(x), "r"(y), "r"(z), "r"(shared_address(shared))
                 : "memory");
#else
    hopper_model::store_box(shared, map, x, y, z);
#endif
}

// Closes the group of the stores that this thread started since the last call.
__device__ inline void tma_store_commit() {
#ifdef __CUDACC__
    asm volatile("cp.async.bulk.commit_group;\n" ::: "memory");
#else
    hopper_model::store_commit();
#endif
}

// Waits until at most the newest kGroups groups of this thread still read shared memory.
template <int kGroups>
__device__ inline void tma_store_wait() {
#ifdef __CUDACC__
    asm volatile("cp.async.bulk.wait_group.read %0;\n" ::"n"(kGroups) : "memory");
#else
    hopper_model::store_wait(kGroups, SIMT_HERE);
#endif
}

// The descriptor of an operand of wgmma: rows of 128 bytes along the summed axis, one after another, as the TMA stores
// them with the 128-byte swizzle from a multiple of 1024 bytes on. + 2 is the same 32 bytes (16 terms) further on.
__device__ inline uint64_t wgmma_operand(const void* rows) {
    const uint64_t address = shared_address(rows);
    constexpr uint64_t kIgnored = 1, kEightRows = 8 * 128 / 16, kSwizzle128 = 1;
    return (address & 0x3FFFF) >> 4 | kIgnored << 16 | kEightRows << 32 | kSwizzle128 << 62;
}

// The descriptor of a transposed operand: a row of 128 bytes (64 elements of the other axis) per term, likewise; the
// next 64 elements lie `apart` bytes further on. + 128 is the same 16 terms further on.
__device__ inline uint64_t wgmma_transposed_operand(const void* terms, int apart) {
    const uint64_t address = shared_address(terms);
    constexpr uint64_t kEightTerms = 8 * 128 / 16, kSwizzle128 = 1;
    return (address & 0x3FFFF) >> 4 | static_cast<uint64_t>(apart / 16) << 16 | kEightTerms << 32 | kSwizzle128 << 62;
}

// clang-format off
#define GPUCNN_8_SUMS(d, i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), "+f"(d[i + 7])
#define GPUCNN_64_SUMS(d, i) GPUCNN_8_SUMS(d, i), GPUCNN_8_SUMS(d, i + 8), GPUCNN_8_SUMS(d, i + 16), GPUCNN_8_SUMS(d, i + 24), GPUCNN_8_SUMS(d, i + 32), GPUCNN_8_SUMS(d, i + 40), GPUCNN_8_SUMS(d, i + 48), GPUCNN_8_SUMS(d, i + 56)
#define GPUCNN_NAMES_0_63 \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, " \
    "%24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, " \
    "%46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define GPUCNN_NAMES_0_127 GPUCNN_NAMES_0_63 \
    ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, %80, %81, %82, %83, %84, %85, " \
    "%86, %87, %88, %89, %90, %91, %92, %93, %94, %95, %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, " \
    "%107, %108, %109, %110, %111, %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, " \
    "%125, %126, %127"
#define GPUCNN_WGMMA(columns, type, sums, a, b, transposed) \
    "{\n.reg .pred add;\nsetp.ne.b32 add, 1, 0;\n" \
    "wgmma.mma_async.sync.aligned.m64n" columns "k16.f32." type "." type " {" sums "}, " a ", " b ", add, 1, 1, " \
    transposed ", " transposed ";\n}\n"
#define GPUCNN_WGMMA_128(type) GPUCNN_WGMMA("128", type, GPUCNN_NAMES_0_63, "%64", "%65", "%66")
#define GPUCNN_WGMMA_256(type) GPUCNN_WGMMA("256", type, GPUCNN_NAMES_0_127, "%128", "%129", "%130")
// clang-format on

// No instruction, but the compiler neither moves nor copies accesses to the sums across it.
template <int kSums>
__device__ inline void pin(float (&d)[kSums]) {
#ifdef __CUDACC__
    if constexpr (kSums == 64)
        asm volatile("" : GPUCNN_64_SUMS(d, 0)::"memory");
    else
        asm volatile("" : GPUCNN_64_SUMS(d, 0), GPUCNN_64_SUMS(d, 64)::"memory");
#else
    (void)d;
#endif
}

// Before the first wgmma, and before one that follows other accesses to its sums.
template <int kSums>
__device__ inline void wgmma_fence(float (&d)[kSums]) {
    pin(d);
#ifdef __CUDACC__
    asm volatile("wgmma.fence.sync.aligned;\n" ::: "memory");
#else
    hopper_model::wgmma_fence(SIMT_HERE);
#endif
}

// Starts d += a b^T, for a (64, 16) and b (columns, 16) of float16 or bfloat16, of 128 columns, which are 64 sums a
// thread, or 256: thread 32 w + 4 g + t of the warpgroup has d[4 j + 2 i + e], row 16 w + g + 8 i, column 8 j + 2 t +
// e. Until wgmma_wait, d and the operands are not to be touched. Sums truncate, as those of mma do. Transposed: both
// operands.
template <class T, bool kTransposed = false, int kSums>
__device__ inline void wgmma(float (&d)[kSums], uint64_t a, uint64_t b) {
    static_assert(kSums == 64 || kSums == 128);
#ifdef __CUDACC__
    constexpr bool kFloat16 = std::is_same_v<T, __half>;
    if constexpr (kSums == 64 && kFloat16)
        asm volatile(GPUCNN_WGMMA_128("f16") : GPUCNN_64_SUMS(d, 0) : "l"(a), "l"(b), "n"(kTransposed) : "memory");
    else if constexpr (kSums == 64)
        asm volatile(GPUCNN_WGMMA_128("bf16") : GPUCNN_64_SUMS(d, 0) : "l"(a), "l"(b), "n"(kTransposed) : "memory");
    else if constexpr (kFloat16)
        asm volatile(GPUCNN_WGMMA_256("f16")
                     : GPUCNN_64_SUMS(d, 0), GPUCNN_64_SUMS(d, 64)
                     : "l"(a), "l"(b), "n"(kTransposed)
                     : "memory");
    else
        asm volatile(GPUCNN_WGMMA_256("bf16")
                     : GPUCNN_64_SUMS(d, 0), GPUCNN_64_SUMS(d, 64)
                     : "l"(a), "l"(b), "n"(kTransposed)
                     : "memory");
#else
    hopper_model::wgmma<T>(d, a, b, kTransposed, SIMT_HERE);
#endif
}

// Closes the group of the products started since the last call.
__device__ inline void wgmma_commit() {
#ifdef __CUDACC__
    asm volatile("wgmma.commit_group.sync.aligned;\n" ::: "memory");
#else
    hopper_model::wgmma_commit(SIMT_HERE);
#endif
}

// Waits until at most the newest kGroups groups are at work.
template <int kGroups, int kSums>
__device__ inline void wgmma_wait(float (&d)[kSums]) {
#ifdef __CUDACC__
    asm volatile("wgmma.wait_group.sync.aligned %0;\n" ::"n"(kGroups) : "memory");
#else
    hopper_model::wgmma_wait(kGroups, SIMT_HERE);
#endif
    pin(d);
}

// The whole warpgroup gives up registers that it does not need, down to so many a thread: a multiple of 8 in 24 .. 256.
template <int kRegisters>
__device__ inline void give_registers() {
#ifdef __CUDACC__
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;\n" ::"n"(kRegisters));
#else
    hopper_model::set_registers(kRegisters, SIMT_HERE);
#endif
}

// The whole warpgroup waits for registers that others of the block give up, until it has so many a thread.
template <int kRegisters>
__device__ inline void take_registers() {
#ifdef __CUDACC__
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;\n" ::"n"(kRegisters));
#else
    hopper_model::set_registers(kRegisters, SIMT_HERE);
#endif
}

#endif  // GPUCNN_HOPPER
