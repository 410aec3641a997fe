// implicit_hopper: implicit GEMM on the tensor cores of compute capability 9.0, fed by the tensor memory accelerator.
//
//   out (positions, filters) = pixels (positions, taps x channels)  filters^T  + bias, ReLU    see implicit_hopper.h
//   reads pixels (N, H, W, channels) and filters (filters, taps, channels), through tensor maps, and bias (filters,) or
//   null; writes out, of any strides: so NHWC as well as NCHW. Channels of pixels and filters are padded to 8.
//   statistics (tiles, 3, filters) of what is written, unless null: implicit_hopper_statistics.cuh
//
// A block computes tiles (128 positions, 128 or 256 filters), one after another; neighbouring blocks share positions,
// so that pixels come from L2. A step adds 64 channels of one tap. Who does what:
//   consumers    two warpgroups, with 64 positions each: wgmma on a stage of the ring, from shared memory; then bias,
//                ReLU and stores: by the TMA where positions and filters lie side by side (NHWC), else each on its own
//   producer     one thread of one more warp, or warpgroup, starts the loads of a step into a stage: one im2col box of
//                pixels, borders and strides included, and a box for each 128 filters; it runs ahead, into the next
//                tile
// How they meet: implicit_hopper.cuh.
// Speed, predicted for an H100, in cycles of a multiprocessor, which moves 128 bytes of shared memory in one; the
// larger number counts:
//   filters of a tile                      128                                   256
//   a multiprocessor holds                 2 blocks, 3 stages each, 105 KiB      1 block, 4 stages, 225 KiB
//   a step's tensor cores                  512                                   1024
//   its reads by wgmma, writes by the TMA  48 + 32 KiB: 640                      80 + 48 KiB: 1024
//   a tile's stores                        behind the other block's products     2 warps a scheduler, 128 elements a
//                                                                                lane, 15 instructions each: 3840
//   by the TMA                             likewise                              2.6 instructions (counted), waits for
//                                                                                fences and the TMA: 1200
// So 80 % of the peak at most for 128 filters and 100 % for 256, less the stores; 65 % and 80 % expected where channels
// and filters fill their tiles. implicit_hopper_tile takes whichever these numbers say is done first: the busiest
// multiprocessor's tiles, times the steps of one, which counts filters that only fill a tile and multiprocessors that
// find none; 256 never pays for 128 filters or less, nor below 16 steps, or 5 by the TMA (statistics, which cost as
// much as 3 steps, are not counted). Few channels waste the padding to 64. Accuracy: tensor cores truncate, as
// implicit_gemm.cu says. Sums run in the order (tap, channel), whatever the batch. Called by
// csrc/cuda/conv_implicit_hopper.cpp.
#include "implicit_hopper_statistics.cuh"

namespace {

constexpr int64_t kStep = 640, kWideStep = 1024, kWideStores = 3840, kWideTmaStores = 1200;  // cycles: above
static_assert(kHopperChannels * 2 == kSwizzledRow && kHopperPositions == kRows);

#ifdef GPUCNN_HOPPER

constexpr int kPixelBytes = kHopperPositions * kSwizzledRow, kFilterBytes = kHopperFilters * kSwizzledRow;

// A thread's sums of a tile are of its first position and the one 8 further on, and of its first filter and those
// 1, 8, 9, 16, ... further on: see wgmma.
template <class T, int kSums>
__device__ void add_bias(float (&sums)[kSums], const T* bias, int filter, int filters) {
#pragma unroll
    for (int j = 0; j < kSums / 4; ++j)
#pragma unroll
        for (int e = 0; e < 2; ++e) {
            if (filter + 8 * j + e >= filters) continue;
            const float offset = static_cast<float>(bias[filter + 8 * j + e]);
            sums[4 * j + e] += offset;
            sums[4 * j + 2 + e] += offset;
        }
}

template <int kSums>
__device__ void clamp(float (&sums)[kSums]) {
#pragma unroll
    for (float& sum : sums) sum = sum < 0 ? 0 : sum;  // a NaN stays one
}

// A word holds two filters of a position.
template <class T, int kSums>
__device__ void round_sums(const float (&sums)[kSums], uint32_t (&words)[kSums / 2]) {
#pragma unroll
    for (int i = 0; i < kSums / 2; ++i) words[i] = pair_of<T>(sums[2 * i], sums[2 * i + 1]);
}

// Each on its own, wherever out has it.
template <class T, int kWords>
__device__ void store(const HopperProduct& s, const uint32_t (&outputs)[kWords], int64_t position, int filter, T* out) {
    const int in_image = s.rows * s.columns;
#pragma unroll
    for (int i = 0; i < 2; ++i, position += 8) {
        if (position >= s.positions()) continue;
        const int pixel = int(position % in_image);
        T* place = out + position / in_image * s.image_apart + pixel / s.columns * s.row_apart +
                   pixel % s.columns * s.column_apart + filter * s.filter_apart;
#pragma unroll
        for (int j = 0; j < kWords / 2; ++j)
#pragma unroll
            for (int e = 0; e < 2; ++e) {
                if (filter + 8 * j + e < s.filters) *place = of_pair<T>(outputs[2 * j + i], e);
                place += (e ? 7 : 1) * s.filter_apart;
            }
    }
}

// By the TMA: a warp's 16 positions, the first of which is `position`, in pieces (8 positions, 64 filters) that it
// writes to shared memory, in its kPieces places in turn. The map leaves out positions and filters that do not exist.
template <int kPieces, int kWords>
__device__ void store_pieces(const CUtensorMap* map, const uint32_t (&outputs)[kWords], char* pieces, int position,
                             int first_filter) {
    const int lane = int(threadIdx.x) % 32, row = lane / 4;
#pragma unroll
    for (int chunk = 0; chunk < kWords / 16; ++chunk)
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            char* const piece = pieces + (2 * chunk + i) % kPieces * kPieceBytes;
            if (lane == 0) tma_store_wait<kPieces - 1>();  // the newest are in other places
            __syncwarp();
#pragma unroll
            for (int j = 0; j < 8; ++j)  // 16 bytes of a row, in each of the 32 banks once
                *reinterpret_cast<uint32_t*>(piece + row * kSwizzledRow + (j ^ row) * 16 + lane % 4 * 4) =
                    outputs[16 * chunk + 2 * j + i];
            tma_store_fence();
            __syncwarp();
            if (lane == 0) {
                tma_store_box(piece, map, first_filter + chunk * kHopperStored, 0, position + 8 * i);
                tma_store_commit();
            }
        }
}

#endif  // GPUCNN_HOPPER

template <class T, int kFilters, bool kStatistics>
__global__ void __launch_bounds__(Block<kFilters>::kThreads, Block<kFilters>::kPerMultiprocessor)
    implicit_hopper_kernel(HopperProduct s, const __grid_constant__ CUtensorMap pixels,
                           const __grid_constant__ CUtensorMap filters, const __grid_constant__ CUtensorMap outputs,
                           bool by_tma, int tiles, int filter_tiles, const T* bias, bool relu, T* out,
                           float* statistics) {
#ifdef GPUCNN_HOPPER
    using Shape = Block<kFilters>;
    static_assert(kPixelBytes + kFilters / kHopperFilters * kFilterBytes == Shape::kStageBytes);
    __shared__ Barrier full[Shape::kStages], empty[Shape::kStages];
    __shared__ float origins[kStatistics ? kFilters : 1];
    Ring<Shape> ring(full, empty);
    const int channel_steps = ceil_div(s.channels, kHopperChannels);
    if (!is_consumer()) {
        if constexpr (Shape::kAlone) give_registers<kProducerRegisters>();
        if (!is_producer()) return;
        const int in_image = s.rows * s.columns;
        for (int tile = int(blockIdx.x); tile < tiles; tile += int(gridDim.x)) {
            const int64_t position = int64_t(tile / filter_tiles) * kHopperPositions;
            const int n = int(position / in_image), pixel = int(position % in_image);
            const int h = s.lower_h + pixel / s.columns * s.stride_h, w = s.lower_w + pixel % s.columns * s.stride_w;
            const int first_filter = int(tile % filter_tiles) * kFilters;
            for (int r = 0; r < s.taps_h; ++r)
                for (int t = 0; t < s.taps_w; ++t)
                    for (int c = 0; c < channel_steps; ++c)
                        ring.fill([&](char* stage, Barrier* barrier) {
                            tma_load_im2col(stage, &pixels, barrier, c * kHopperChannels, w, h, n, t * s.offset_w,
                                            r * s.offset_h);
#pragma unroll
                            for (int i = 0; i < kFilters / kHopperFilters; ++i)
                                tma_load_box(stage + kPixelBytes + i * kFilterBytes, &filters, barrier,
                                             c * kHopperChannels, s.first_tap + r * s.tap_apart_h + t * s.tap_apart_w,
                                             first_filter + i * kHopperFilters);
                        });
        }
    } else {
        if constexpr (Shape::kAlone) take_registers<kConsumerRegisters>();
        const int lane = int(threadIdx.x) % 32, first_row = int(threadIdx.x) / 32 * 16;
        for (int tile = int(blockIdx.x); tile < tiles; tile += int(gridDim.x)) {
            float sums[Shape::kSums];
            ring.template multiply<T, false>(s.taps_h * s.taps_w * channel_steps, sums,
                                             [](const char* stage, uint64_t& a, uint64_t& b) {
                                                 const int warpgroup = int(threadIdx.x) / kWarpgroup;
                                                 a = wgmma_operand(stage + warpgroup * 64 * kSwizzledRow);
                                                 b = wgmma_operand(stage + kPixelBytes);
                                             });
            const int64_t position = int64_t(tile / filter_tiles) * kHopperPositions + first_row;
            const int first_filter = int(tile % filter_tiles) * kFilters, filter = first_filter + lane % 4 * 2;
            if (bias) add_bias(sums, bias, filter, s.filters);
            if (relu) clamp(sums);
            uint32_t words[Shape::kSums / 2];
            round_sums<T>(sums, words);
            if constexpr (kStatistics) {
                if (by_tma && lane == 0) tma_store_wait<0>();  // of pieces of the tile before
                const int64_t left = s.positions() - (position - first_row);
                tile_statistics<T, kFilters>(words, int(left < kRows ? left : kRows), s.filters - first_filter,
                                             s.filters, origins, ring.pieces(0),
                                             statistics + int64_t(tile / filter_tiles) * 3 * s.filters + first_filter);
            }
            if (by_tma)
                store_pieces<Shape::kPieces>(&outputs, words, ring.pieces(first_row / 16), int(position), first_filter);
            else
                store(s, words, position + lane / 4, filter, out);
        }
        if (by_tma && lane == 0) tma_store_wait<0>();  // shared memory is to last so long
    }
#endif
}

template <class T, int kFilters>
void launch_tiles(const std::string& shape, const HopperProduct& s, const CUtensorMap& pixels,
                  const CUtensorMap& filters, const CUtensorMap* outputs, const void* bias, bool relu, void* out,
                  float* statistics, cudaStream_t stream) {
    const int filter_tiles = ceil_div(s.filters, kFilters);
    const int64_t tiles = ceil_div(s.positions(), int64_t(kHopperPositions)) * filter_tiles;  // no memory holds 2^31
    launch_with_ring<Block<kFilters>>(
        "implicit_hopper", shape,
        statistics ? implicit_hopper_kernel<T, kFilters, true> : implicit_hopper_kernel<T, kFilters, false>, tiles,
        stream, s, pixels, filters, outputs ? *outputs : CUtensorMap{}, outputs != nullptr, int(tiles), filter_tiles,
        static_cast<const T*>(bias), relu, static_cast<T*>(out), statistics);
}

}  // namespace

// Other architectures compile to a kernel without barriers.
bool implicit_hopper_available() {
    cudaFuncAttributes attributes{};
    const cudaError_t found =
        cudaFuncGetAttributes(&attributes, reinterpret_cast<const void*>(implicit_hopper_kernel<__half, 128, false>));
    if (found != cudaSuccess) cudaGetLastError();
    return found == cudaSuccess && attributes.sharedSizeBytes > 0;
}

int implicit_hopper_tile(int64_t positions, int filters, int64_t steps, bool by_tma, int multiprocessors) {
    const auto tiles = [&](int filters_of_one) {  // that the busiest multiprocessor computes
        const int64_t all = ceil_div(positions, int64_t(kHopperPositions)) * ceil_div(filters, filters_of_one);
        return ceil_div(all, int64_t(multiprocessors));
    };
    return tiles(256) * (steps * kWideStep + (by_tma ? kWideTmaStores : kWideStores)) < tiles(128) * steps * kStep
               ? 256
               : 128;
}

void implicit_hopper(const HopperProduct& s, DType dtype, const CUtensorMap& pixels, const CUtensorMap& filters,
                     const CUtensorMap* outputs, const void* bias, bool relu, void* out, float* statistics,
                     cudaStream_t stream) {
    if (s.positions() == 0) return;
    const std::string shape = std::to_string(s.positions()) + " positions, " + std::to_string(s.filters) +
                              " filters of " + std::to_string(s.taps_h) + " x " + std::to_string(s.taps_w) + " x " +
                              std::to_string(s.channels);
    const int64_t steps = int64_t(s.taps_h) * s.taps_w * ceil_div(s.channels, kHopperChannels);
    const int tile =
        implicit_hopper_tile(s.positions(), s.filters, steps, outputs, multiprocessors("implicit_hopper", shape));
    with_half_type("implicit_hopper", dtype, [&](auto element) {
        using T = decltype(element);
        (tile == 256 ? launch_tiles<T, 256> : launch_tiles<T, 128>)(shape, s, pixels, filters, outputs, bias, relu, out,
                                                                    statistics, stream);
    });
}
