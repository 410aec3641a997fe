// The fiber engine behind the stand-in for cuda_runtime.h: runs a kernel's threads one at a time on the host.
//
// A block's threads are fibers; each runs until it waits at a barrier or a warp exchange, then another one, chosen at
// random from a seed, goes on. Blocks run one after another, in random order too. So a missing barrier shows as a value
// that is not there yet: shared memory is filled with 0xFF (NaN in every floating type) before each block.
// Misuse that a GPU answers with a hang or with garbage is an exception: threads of a block at different barriers, or
// gone, while others wait; lanes of a warp at different exchanges.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>

struct uint3 {
    unsigned x, y, z;
};

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

// Of the thread that runs now.
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;

namespace simt {

struct Site {
    const char* file;
    int line;
};

// Runs body once per thread of the grid, or refuses the configuration as a GPU does: more than 48 KiB of shared memory
// must have been allowed for the kernel.
void launch(const void* kernel, dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& body);
void allow_shared(const void* kernel, size_t bytes);
bool take_refusal();  // whether a launch was refused since the last call

void* dynamic_shared();  // of the running block
void wait_for_block(Site site);

// Waits for the lanes of mask, then returns what each of the 32 lanes brought; lanes outside the mask hold 0xFF bytes.
// What the warp does as one, if anything, runs before any lane goes on.
using WarpOperation = void (*)(const uint64_t* brought);
const uint64_t* exchange(unsigned mask, uint64_t value, Site site, WarpOperation together = nullptr);

// Copies of the running thread, by groups: memory that awaits one is poisoned, and holds it after async_wait only.
void async_copy(void* to, const void* from, size_t bytes, size_t zeros);
void async_commit();
void async_wait(int groups);  // till no more than these newest groups are on their way

// A thread that waits for something else looks for it in a loop around pause(); wake() lets all that pause look again.
void pause(Site site);
void wake();

// Work of the hardware beside the threads: done at a random time from now on, and at the latest when no thread can go
// on. A block must not end before it.
void later(std::function<void()> work);

// Addresses in the block's dynamic shared memory, as 32-bit numbers; it starts at no multiple of more than 16 bytes.
unsigned shared_address(const void* pointer);
void* at_shared_address(unsigned address, size_t bytes);

uint64_t block_number();  // another one for each block that runs: for models whose state belongs to a block

template <class T>
T shuffle(unsigned mask, T value, int source, Site site) {
    static_assert(sizeof(T) <= sizeof(uint64_t));
    uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof(T));
    const uint64_t* lanes = exchange(mask, bits, site);
    if (source >= 0 && source < 32) std::memcpy(&value, &lanes[source], sizeof(T));  // else its own value, as on a GPU
    return value;
}

inline unsigned lane() { return (threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % 32; }

inline unsigned vote(unsigned mask, bool predicate, Site site) {
    const uint64_t* lanes = exchange(mask, predicate, site);
    unsigned votes = 0;
    for (unsigned i = 0; i < 32; ++i)
        if (mask >> i & 1) votes |= unsigned(lanes[i]) << i;
    return votes;
}

}  // namespace simt
