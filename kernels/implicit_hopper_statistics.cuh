// Statistics of a tile's outputs, for implicit_hopper.cu: of each filter's outputs, as they are rounded to the storage
// dtype, the first one, the sum of the differences from it, and the sum of their squares. merge_statistics.cu makes
// mean and variance of all tiles. They are accurate though the mean be far above the deviation: the first output is one
// of the n, so that the squares add up to at most n times, on average twice, the squared deviations from the mean.
//
// A thread begins with its two outputs of a filter. Lanes 16 apart share the filters between them, then those 8 and 4
// apart: each lane then has one of 32 filters, of the warp's 16 positions. A thread adds up a filter's sums of the 8
// warps. All in a fixed order: the same bits in every run. About 11 instructions an output (counted), 3 barriers.
#pragma once
#include "implicit_hopper.cuh"

#ifdef GPUCNN_HOPPER

struct Differences {
    float sum, squares;  // of them, and of their squares
};

// Two lanes that are so far apart keep one filter each of their two, and add what the other has of it.
__device__ inline Differences shared_out(Differences lower, Differences upper, int lanes) {
    const bool is_upper = threadIdx.x & lanes;
    const Differences kept = is_upper ? upper : lower, given = is_upper ? lower : upper;
    return {kept.sum + __shfl_xor_sync(0xffffffffu, given.sum, lanes),
            kept.squares + __shfl_xor_sync(0xffffffffu, given.squares, lanes)};
}

// All consumers wait for each other.
__device__ inline void meet() { sync_part_of_block<1, kConsumers * kWarpgroup>(); }

// Writes (3, filters), out being the tile's first filter of the first row; the tile has so many positions, and so many
// filters that exist. All consumers call this. Shared memory: origins, and the warps' pieces, which nobody reads any
// more, each for a warp's sums (2, kFilters).
template <class T, int kFilters>
__device__ void tile_statistics(const uint32_t (&outputs)[kFilters / 4], int positions, int existing, int filters,
                                float (&origins)[kFilters], char* pieces, float* out) {
    constexpr int kPitch = Block<kFilters>::kPieces * kPieceBytes / sizeof(float),
                  kWarps = kConsumers * kWarpgroup / 32;
    static_assert(2 * kFilters <= kPitch);
    const int thread = int(threadIdx.x), warp = thread / 32, lane = thread % 32, row = lane / 4;
    const auto value = [](uint32_t pair, int which) { return static_cast<float>(of_pair<T>(pair, which)); };
    auto* const sums = reinterpret_cast<float*>(pieces);
    if (warp == 0 && row == 0)
#pragma unroll
        for (int i = 0; i < kFilters / 4; ++i) origins[i / 2 * 8 + lane * 2 + i % 2] = value(outputs[i / 2 * 2], i % 2);
    meet();
    const bool first = warp * 16 + row < positions, second = warp * 16 + row + 8 < positions;
#pragma unroll
    for (int chunk = 0; chunk < kFilters / 32; ++chunk) {
        const auto of_thread = [&](int i) {
            const uint32_t* const pair = &outputs[chunk * 8 + i / 2 * 2];
            const float origin = origins[chunk * 32 + i / 2 * 8 + lane % 4 * 2 + i % 2];
            const float a = first ? value(pair[0], i % 2) - origin : 0;
            const float b = second ? value(pair[1], i % 2) - origin : 0;
            return Differences{a + b, a * a + b * b};
        };
        const auto of_2 = [&](int i) { return shared_out(of_thread(i), of_thread(i + 4), 16); };
        const auto of_4 = [&](int i) { return shared_out(of_2(i), of_2(i + 2), 8); };
        const Differences of_8 = shared_out(of_4(0), of_4(1), 4);
        float* const place = sums + warp * kPitch + chunk * 32 + row / 2 * 8 + lane % 4 * 2 + row % 2;
        place[0] = of_8.sum;
        place[kFilters] = of_8.squares;
    }
    meet();
    if (thread < kFilters && thread < existing) {
        Differences all{};
#pragma unroll 1  // registers are scarce
        for (int w = 0; w < kWarps; ++w) {
            all.sum += sums[w * kPitch + thread];
            all.squares += sums[w * kPitch + kFilters + thread];
        }
        out[thread] = origins[thread];
        out[filters + thread] = all.sum;
        out[2 * filters + thread] = all.squares;
    }
    meet();  // the memory is used again
}

#endif  // GPUCNN_HOPPER
