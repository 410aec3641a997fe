// Reductions over a block, and over the threads of a warp on the way.
#pragma once
#include "common.cuh"

namespace {

// How many threads share a reduction of `terms`: whole warps, about four terms a thread.
inline int threads_to_reduce(int64_t terms) {
    int threads = 32;
    while (threads < 512 && threads * 4 < terms) threads *= 2;
    return threads;
}

// Two sums at once.
struct Pair {
    Acc first, second;
};

struct Sum {
    static constexpr float identity = 0;
    __device__ float operator()(float a, float b) const { return a + b; }
};

struct Max {
    static constexpr float identity = kNoMaximum;
    __device__ float operator()(float a, float b) const { return fmaxf(a, b); }
};

template <class Op>
__device__ float warp_reduce(float value, Op op) {
    for (int lanes = 16; lanes > 0; lanes /= 2) value = op(value, __shfl_xor_sync(0xffffffffu, value, lanes));
    return value;
}

// The reduction of `value` over the block, in a fixed order, handed to every thread with the same bits. Every thread
// of the block must call it; the block is a multiple of 32 threads.
template <class Op>
__device__ float block_reduce(float value, Op op) {
    __shared__ float partial[32];  // one per warp
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    value = warp_reduce(value, op);
    __syncthreads();  // slower warps may still read the partials of the call before
    if (lane == 0) partial[warp] = value;
    __syncthreads();
    return warp_reduce(lane < warps ? partial[lane] : Op::identity, op);
}

}  // namespace
