// What the kernels implicit_hopper and implicit_hopper_wgrad share: the ring of stages in shared memory, between one
// thread that starts loads into it and two warpgroups that multiply out of it. See implicit_hopper.cu.
//
// A block computes tiles of 128 rows, 64 by each warpgroup, and 128 or 256 columns:
//   128   two blocks share a multiprocessor, so that one computes while the other stores
//   256   one block has it all, for 128 sums a thread: the producer is a whole warpgroup, to give up its registers
//
//   full[stage]   producer -> consumers: 1 arrival and the stage's bytes; its phase i is the stage's i-th filling
//   empty[stage]  consumers -> producer: 8 arrivals, a warp's when its products have read the stage; the producer waits
//                 for phase i - 1 before filling i, which for i = 0 counts as over
// Consumers keep one step's products at work while they start the next, and so free the stage before.
#pragma once
#include "implicit_hopper.h"
#include "ptx_hopper.cuh"

constexpr int kConsumers = 2, kWarpgroup = 128, kRows = kConsumers * 64;
constexpr int kSwizzledRow = 128, kSwizzlePattern = 1024;         // bytes
constexpr int kPieceBytes = kSwizzlePattern;                      // 8 rows
constexpr int kProducerRegisters = 40, kConsumerRegisters = 232;  // a thread, of a block that has a multiprocessor
static_assert(kWarpgroup * (kProducerRegisters + kConsumers * kConsumerRegisters) <= 65536);

template <int kColumns>
struct Block {
    static_assert(kColumns == 128 || kColumns == 256);
    static constexpr bool kAlone = kColumns == 256;
    static constexpr int kPerMultiprocessor = kAlone ? 1 : 2, kStages = kAlone ? 4 : 3;
    static constexpr int kThreads = kConsumers * kWarpgroup + (kAlone ? kWarpgroup : 32);
    static constexpr int kSums = 64 * kColumns / kWarpgroup;  // of a thread
    static constexpr int kStageBytes = (kRows + kColumns) * kSwizzledRow;
    static constexpr int kPieces = kAlone ? 4 : 1;  // for what a warp stores: see implicit_hopper.cu
    static constexpr int kRingBytes = kStages * kStageBytes;
    static constexpr int kSharedBytes = kSwizzlePattern + kRingBytes + kConsumers * 4 * kPieces * kPieceBytes;
    // 3 KiB are for barriers, the origins of statistics, and the system.
    static_assert(kPerMultiprocessor * (kSharedBytes + 3 * 1024) <= 228 * 1024);
};

#ifdef GPUCNN_HOPPER

__device__ inline bool is_consumer() { return threadIdx.x < kConsumers * kWarpgroup; }
__device__ inline bool is_producer() { return threadIdx.x == kConsumers * kWarpgroup; }

template <class Block>
struct Ring {
    static constexpr int kStages = Block::kStages, kStageBytes = Block::kStageBytes;
    Barrier *full, *empty;  // kStages each
    char* memory;
    int stage = 0;
    unsigned parity = 0;  // of how often the stage was filled before

    // All threads of the block make theirs, of the same barriers in shared memory.
    __device__ Ring(Barrier* full_barriers, Barrier* empty_barriers) : full(full_barriers), empty(empty_barriers) {
        memory = dynamic_shared();
        memory += (0u - shared_address(memory)) % kSwizzlePattern;
        if (threadIdx.x == 0) {
            for (int i = 0; i < kStages; ++i) {
                barrier_init(&full[i], 1);
                barrier_init(&empty[i], kConsumers * kWarpgroup / 32);
            }
            barrier_init_fence();
        }
        __syncthreads();
    }

    // Of a warp of the consumers, after the ring.
    __device__ char* pieces(int warp) const { return memory + Block::kRingBytes + warp * Block::kPieces * kPieceBytes; }

    __device__ char* here() const { return memory + stage * kStageBytes; }
    __device__ void advance() {
        if (++stage == kStages) stage = 0, parity ^= 1;
    }

    // The producer: calls load(stage's memory, barrier) when the stage is free; it loads kStageBytes.
    template <class F>
    __device__ void fill(F&& load) {
        barrier_wait(&empty[stage], parity ^ 1);
        barrier_arrive_expecting(&full[stage], kStageBytes);
        load(here(), &full[stage]);
        advance();
    }

    // A consumer: sums = the products of so many steps, of 64 terms each. operands(stage's memory, a, b) gives their
    // descriptors.
    template <class T, bool kTransposed, class F>
    __device__ void multiply(int steps, float (&sums)[Block::kSums], F&& operands) {
        constexpr int kNext16 = kTransposed ? 16 * kSwizzledRow / 16 : 2;  // terms further on, in units of a descriptor
        const bool frees = threadIdx.x % 32 == 0;
        int before = 0;
#pragma unroll
        for (float& sum : sums) sum = 0;
        for (int step = 0; step < steps; ++step) {
            barrier_wait(&full[stage], parity);
            uint64_t a, b;
            operands(here(), a, b);
            wgmma_fence(sums);
#pragma unroll
            for (int k = 0; k < 4; ++k) wgmma<T, kTransposed>(sums, a + k * kNext16, b + k * kNext16);
            wgmma_commit();
            wgmma_wait<1>(sums);
            if (step > 0 && frees) barrier_arrive(&empty[before]);
            before = stage;
            advance();
        }
        wgmma_wait<0>(sums);
        if (steps > 0 && frees) barrier_arrive(&empty[before]);
    }
};

#endif  // GPUCNN_HOPPER

inline int multiprocessors(const char* op, const std::string& shape) {
    int device = 0, count = 0;
    check(cudaGetDevice(&device), op, shape);
    check(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device), op, shape);
    return count;
}

// Launches kernel(args...) with a ring, on as many blocks as run at once and have a tile. The most shared memory is
// asked for, which two blocks a multiprocessor need.
template <class Block, class... Params, class... Args>
void launch_with_ring(const char* op, const std::string& shape, void (*kernel)(Params...), int64_t tiles,
                      cudaStream_t stream, Args... args) {
    check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                               Block::kSharedBytes),
          op, shape);
    check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributePreferredSharedMemoryCarveout,
                               cudaSharedmemCarveoutMaxShared),
          op, shape);
    const int64_t blocks = std::min(tiles, int64_t(multiprocessors(op, shape)) * Block::kPerMultiprocessor);
    launch(kernel, dim3(unsigned(blocks)), Block::kThreads, Block::kSharedBytes, stream, args...);
    check(cudaGetLastError(), op, shape);
}

template <class F>
void with_half_type(const char* op, DType dtype, F&& f) {
    if (dtype == DType::float16) return f(__half());
    if (dtype == DType::bfloat16) return f(__nv_bfloat16());
    throw std::invalid_argument(std::string(op) + ": takes float16 or bfloat16, but came " + name_of(dtype));
}
