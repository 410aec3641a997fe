// Mean and variance of each filter's outputs, from statistics of tiles of kHopperPositions of them: the first output of
// a tile, the sum of the differences from it, and the sum of their squares (implicit_hopper_statistics.cuh).
//
//   reads statistics (tiles, 3, filters); writes mean and var (filters,), var divided by the positions; float32
//
// Positions come in parts, at_once each, of which each begins a tile. A block has 8 filters, 32 bytes of a row; its
// threads of a filter take every 64th tile, and add up in a fixed order: the same bits in every run. As
// batch_norm_stats does, a second pass sums squares about the mean: what a tile's origin is off, a product with its
// sums corrects. No positions give NaN. Speed: 64 x 56 x 56 positions are 1568 tiles, so 25 loads a pass one after
// another, from L2: predicted 3 us. Called by csrc/cuda/conv_implicit_hopper.cpp.
#include "common.cuh"

namespace {

constexpr int kFilters = 8, kSlices = 64;

// The sum over the slices, in order, for all threads of a filter.
__device__ float over_slices(float value, float (&values)[kSlices][kFilters]) {
    const int column = int(threadIdx.x) % kFilters;
    __syncthreads();  // slower threads may still read the values of the call before
    values[threadIdx.x / kFilters][column] = value;
    __syncthreads();
    float sum = 0;
    for (int slice = 0; slice < kSlices; ++slice) sum += values[slice][column];
    return sum;
}

__global__ void __launch_bounds__(kFilters* kSlices)
    merge_statistics_kernel(int64_t positions, int64_t at_once, int filters, const float* __restrict__ statistics,
                            float* __restrict__ mean, float* __restrict__ var) {
    __shared__ float values[kSlices][kFilters];
    for (int first = int(blockIdx.x) * kFilters; first < filters; first += int(gridDim.x) * kFilters) {
        const int filter = first + int(threadIdx.x) % kFilters;
        const bool exists = filter < filters && positions > 0;
        const int64_t tile_0 = positions < at_once ? positions : at_once;  // and what follows in its part
        const float n_0 = float(tile_0 < kHopperPositions ? tile_0 : kHopperPositions);
        const float origin = exists ? statistics[filter] + statistics[filters + filter] / n_0 : 0;  // mean of tile 0
        // The sum over this thread's tiles of f(n, the difference of its origin, the sum, the sum of squares).
        const auto over_tiles = [&](auto f) {
            float sum = 0;
            const float* part = statistics + filter;
            for (int64_t left = exists ? positions : 0; left > 0; left -= at_once) {
                const int64_t here = left < at_once ? left : at_once;
                for (int64_t at = threadIdx.x / kFilters * kHopperPositions; at < here;
                     at += kSlices * kHopperPositions) {
                    const float* const tile = part + at / kHopperPositions * 3 * filters;
                    const float n = float(here - at < kHopperPositions ? here - at : kHopperPositions);
                    sum += f(n, tile[0] - origin, tile[filters], tile[2 * int64_t(filters)]);
                }
                part += ceil_div(here, int64_t(kHopperPositions)) * 3 * filters;
            }
            return over_slices(sum, values);
        };
        const auto total = [](float n, float apart, float sum, float) { return sum + n * apart; };
        const float centre = over_tiles(total) / float(positions);
        const auto about_centre = [&](float n, float apart, float sum, float squares) {
            const float moved = apart - centre;
            return squares + moved * (2 * sum + n * moved);
        };
        const float squares = over_tiles(about_centre);
        if (filter < filters && threadIdx.x < kFilters) {
            mean[filter] = origin + centre;
            var[filter] = (squares < 0 ? 0 : squares) / float(positions);  // a NaN stays one
        }
    }
}

}  // namespace

void merge_statistics(int64_t positions, int64_t at_once, int filters, const float* statistics, float* mean, float* var,
                      cudaStream_t stream) {
    if (filters == 0) return;
    launch(merge_statistics_kernel, blocks_for(filters, kFilters), kFilters * kSlices, 0, stream, positions, at_once,
           filters, statistics, mean, var);
    check(cudaGetLastError(), "merge_statistics",
          std::to_string(positions) + " positions, " + std::to_string(filters) + " filters");
}
