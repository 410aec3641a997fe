// implicit_hopper: implicit GEMM on the tensor cores of compute capability 9.0, fed by the tensor memory accelerator.
//
//   out (positions, filters) = pixels (positions, taps x channels)  filters^T  + bias, ReLU    see implicit_hopper.h
//   reads pixels (N, H, W, channels) and filters (filters, taps, channels), through tensor maps, and bias (filters,) or
//   null; writes out, of any strides: so NHWC as well as NCHW. Channels of pixels and filters are padded to 8.
//
// A block computes tiles (128 positions, 128 filters), one after another; neighbouring blocks share positions, so that
// pixels come from L2. A step adds 64 channels of one tap. Who does what:
//   consumers    two warpgroups, with 64 positions each: wgmma on a stage of the ring, from shared memory; then bias,
//                ReLU and stores
//   producer     one thread of one more warp starts the loads of a step into a stage: one im2col box of pixels, borders
//                and strides included, and one box of filters; it runs ahead, into the next tile too
//
//   full[stage]   producer -> consumers: 1 arrival and the stage's bytes; its phase i is the stage's i-th filling
//   empty[stage]  consumers -> producer: 8 arrivals, a warp's when its products have read the stage; the producer waits
//                 for phase i - 1 before filling i, which for i = 0 counts as over
// Consumers keep one step's products at work while they start the next, and so free the stage before.
// Two blocks share a multiprocessor (3 stages, 97 KiB; 96 registers a thread): one computes while the other stores.
// Speed, predicted for an H100: a step is 512 cycles of tensor cores; wgmma reads 48 KiB of shared memory in it and the
// TMA writes 32 KiB, together 640 cycles at 128 bytes: at most 80 % of the peak, 65 % expected where channels and
// filters fill their tiles, less the epilogue's 32 KiB in pieces of 16 bytes (15 instructions an element, counted; a
// step is 75). Few channels waste the padding to 64.
// Accuracy: tensor cores truncate, as implicit_gemm.cu says. Sums run in the order (tap, channel), whatever the batch.
// Called by csrc/cuda/conv_implicit_hopper.cpp.
#include "implicit_hopper.h"
#include "ptx_hopper.cuh"

namespace {

constexpr int kStages = 3, kConsumers = 2, kWarpgroup = 128, kBlockThreads = kConsumers * kWarpgroup + 32;
constexpr int kBlocksPerMultiprocessor = 2;
constexpr int kStepRow = kHopperChannels * 2;  // bytes: what the 128-byte swizzle and wgmma's descriptor are made for
constexpr int kPixelBytes = kHopperPositions * kStepRow, kStageBytes = kPixelBytes + kHopperFilters * kStepRow;
constexpr int kSwizzleAlign = 1024;
constexpr int kSharedBytes = kStages * kStageBytes + kSwizzleAlign;
static_assert(kStepRow == 128 && kHopperPositions == kConsumers * 64 && kHopperFilters == 128);

#ifdef GPUCNN_HOPPER
// A place in the ring: the stage, and the parity of how often it was filled before.
struct Slot {
    int stage = 0;
    unsigned parity = 0;

    __device__ void advance() {
        if (++stage == kStages) stage = 0, parity ^= 1;
    }
};
#endif

template <class T>
__global__ void __launch_bounds__(kBlockThreads, kBlocksPerMultiprocessor)
    implicit_hopper_kernel(HopperProduct s, const __grid_constant__ CUtensorMap pixels,
                           const __grid_constant__ CUtensorMap filters, int64_t tiles, int filter_tiles, const T* bias,
                           bool relu, T* out) {
#ifdef GPUCNN_HOPPER
    __shared__ Barrier full[kStages], empty[kStages];
    char* const unaligned = dynamic_shared();
    char* const ring = unaligned + (0u - shared_address(unaligned)) % kSwizzleAlign;
    const int warpgroup = int(threadIdx.x) / kWarpgroup;
    const int in_image = s.rows * s.columns, channel_steps = ceil_div(s.channels, kHopperChannels);
    if (threadIdx.x == 0) {
        for (int stage = 0; stage < kStages; ++stage) {
            barrier_init(&full[stage], 1);
            barrier_init(&empty[stage], kConsumers * kWarpgroup / 32);
        }
        barrier_init_fence();
    }
    __syncthreads();

    Slot slot;
    if (warpgroup == kConsumers) {
        if (threadIdx.x % kWarpgroup == 0) {
            for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
                const int64_t position = tile / filter_tiles * kHopperPositions;
                const int n = int(position / in_image), pixel = int(position % in_image);
                const int h = s.lower_h + pixel / s.columns * s.stride_h,
                          w = s.lower_w + pixel % s.columns * s.stride_w;
                const int first_filter = int(tile % filter_tiles) * kHopperFilters;
                for (int r = 0; r < s.taps_h; ++r)
                    for (int t = 0; t < s.taps_w; ++t)
                        for (int step = 0; step < channel_steps; ++step) {
                            char* const stage = ring + slot.stage * kStageBytes;
                            const int channel = step * kHopperChannels;
                            barrier_wait(&empty[slot.stage], slot.parity ^ 1);
                            barrier_arrive_expecting(&full[slot.stage], kStageBytes);
                            tma_load_im2col(stage, &pixels, &full[slot.stage], channel, w, h, n, t * s.offset_w,
                                            r * s.offset_h);
                            tma_load_box(stage + kPixelBytes, &filters, &full[slot.stage], channel,
                                         s.first_tap + r * s.tap_apart_h + t * s.tap_apart_w, first_filter);
                            slot.advance();
                        }
            }
        }
    } else {
        const int lane = int(threadIdx.x) % 32;
        const int row = int(threadIdx.x) / 32 * 16 + lane / 4;  // of the tile: the thread's first, the other is + 8
        const int steps = s.taps_h * s.taps_w * channel_steps;
        const int64_t positions = int64_t(s.images) * in_image;
        const float least = relu ? 0.f : -INFINITY;  // that NaN is not less than
        for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
            float sums[64];
#pragma unroll
            for (float& sum : sums) sum = 0;
            int before = 0;
            for (int step = 0; step < steps; ++step) {
                barrier_wait(&full[slot.stage], slot.parity);
                const char* const stage = ring + slot.stage * kStageBytes;
                const uint64_t a = wgmma_operand(stage + warpgroup * 64 * kStepRow);
                const uint64_t b = wgmma_operand(stage + kPixelBytes);
                wgmma_fence(sums);
#pragma unroll
                for (int k = 0; k < kHopperChannels / 16; ++k) wgmma<T>(sums, a + 2 * k, b + 2 * k);
                wgmma_commit();
                wgmma_wait<1>(sums);
                if (step > 0 && lane == 0) barrier_arrive(&empty[before]);
                before = slot.stage;
                slot.advance();
            }
            wgmma_wait<0>(sums);
            if (steps > 0 && lane == 0) barrier_arrive(&empty[before]);

            const int first_filter = int(tile % filter_tiles) * kHopperFilters + lane % 4 * 2;
#pragma unroll
            for (int i = 0; i < 2; ++i) {
                const int64_t position = tile / filter_tiles * kHopperPositions + row + 8 * i;
                if (position >= positions) continue;
                const int pixel = int(position % in_image);
                T* place = out + position / in_image * s.image_apart + pixel / s.columns * s.row_apart +
                           pixel % s.columns * s.column_apart + first_filter * s.filter_apart;
#pragma unroll
                for (int j = 0; j < 16; ++j) {
                    const int filter = first_filter + 8 * j;
                    float offset[2] = {};  // both, before the stores: two loads at a time
#pragma unroll
                    for (int e = 0; e < 2; ++e)
                        if (bias && filter + e < s.filters) offset[e] = static_cast<float>(bias[filter + e]);
#pragma unroll
                    for (int e = 0; e < 2; ++e) {
                        const float sum = sums[4 * j + 2 * i + e] + offset[e];
                        if (filter + e < s.filters) *place = static_cast<T>(sum < least ? least : sum);
                        place += (e ? 7 : 1) * s.filter_apart;
                    }
                }
            }
        }
    }
#endif
}

template <class F>
void with_half_type(DType dtype, F&& f) {
    if (dtype == DType::float16) return f(__half());
    if (dtype == DType::bfloat16) return f(__nv_bfloat16());
    throw std::invalid_argument(std::string("implicit_hopper: takes float16 or bfloat16, but came ") + name_of(dtype));
}

}  // namespace

// Other architectures compile to a kernel without barriers.
bool implicit_hopper_available() {
    cudaFuncAttributes attributes{};
    const cudaError_t found =
        cudaFuncGetAttributes(&attributes, reinterpret_cast<const void*>(implicit_hopper_kernel<__half>));
    if (found != cudaSuccess) cudaGetLastError();
    return found == cudaSuccess && attributes.sharedSizeBytes > 0;
}

void implicit_hopper(const HopperProduct& s, DType dtype, const CUtensorMap& pixels, const CUtensorMap& filters,
                     const void* bias, bool relu, void* out, cudaStream_t stream) {
    const int64_t positions = int64_t(s.images) * s.rows * s.columns;
    if (positions == 0) return;
    const int filter_tiles = ceil_div(s.filters, kHopperFilters);
    const int64_t tiles = ceil_div(positions, int64_t(kHopperPositions)) * filter_tiles;
    const std::string shape = std::to_string(positions) + " positions, " + std::to_string(s.filters) + " filters of " +
                              std::to_string(s.taps_h) + " x " + std::to_string(s.taps_w) + " x " +
                              std::to_string(s.channels);
    int device = 0, multiprocessors = 0;
    check(cudaGetDevice(&device), "implicit_hopper", shape);
    check(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device), "implicit_hopper", shape);
    with_half_type(dtype, [&](auto element) {
        using T = decltype(element);
        const auto kernel = implicit_hopper_kernel<T>;
        check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                                   kSharedBytes),
              "implicit_hopper", shape);
        const int64_t blocks = std::min(tiles, int64_t(multiprocessors) * kBlocksPerMultiprocessor);
        launch(kernel, dim3(unsigned(blocks)), kBlockThreads, kSharedBytes, stream, s, pixels, filters, tiles,
               filter_tiles, static_cast<const T*>(bias), relu, static_cast<T*>(out));
    });
    check(cudaGetLastError(), "implicit_hopper", shape);
}
