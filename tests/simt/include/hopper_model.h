// Host models of Hopper's asynchronous instructions, for kernels/ptx_hopper.cuh. What runs beside the threads is made
// as late, or as early, as a GPU may: the memory that a load will fill is poisoned when it starts and holds the bytes
// when the barrier's phase is over, not before; the sums of a wgmma are NaN until they were waited for, and it is an
// error if its operands differ between its start and that wait, or its sums were written. Misuse is an exception.
#pragma once
#include <cuda.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <type_traits>

#include "simt.h"

namespace hopper_model {

void barrier_init(uint64_t* barrier, unsigned arrivals);
void barrier_init_fence();
void barrier_arrive(uint64_t* barrier, unsigned expected_bytes);
void barrier_wait(uint64_t* barrier, unsigned parity, simt::Site site);
void sync_part_of_block(int number, int threads, simt::Site site);

void load_box(void* shared, const CUtensorMap* map, uint64_t* barrier, int x, int y, int z);
void load_im2col(void* shared, const CUtensorMap* map, uint64_t* barrier, int c, int w, int h, int n, int offset_w,
                 int offset_h);

// A warp stores what all of its lanes wrote and fenced. Memory is read between store_box and the end of the wait; it
// is an error if it has changed by then.
void store_fence();
void store_box(const void* shared, const CUtensorMap* map, int x, int y, int z);
void store_commit();
void store_wait(int groups, simt::Site site);

// By warps, each of which computes its 16 rows: so many sums a lane, for float16 (or bfloat16).
void wgmma_fence(simt::Site site);
void wgmma_start(bool float16, float* sums, int count, uint64_t a, uint64_t b, bool transposed, simt::Site site);
void wgmma_commit(simt::Site site);
void wgmma_wait(int groups, simt::Site site);

// Waits until all threads of the warpgroup are here.
void set_registers(int registers, simt::Site site);

template <class T, int kSums>
void wgmma(float (&sums)[kSums], uint64_t a, uint64_t b, bool transposed, simt::Site site) {
    static_assert(std::is_same_v<T, __half> || std::is_same_v<T, __nv_bfloat16>);
    wgmma_start(std::is_same_v<T, __half>, sums, kSums, a, b, transposed, site);
}

}  // namespace hopper_model
