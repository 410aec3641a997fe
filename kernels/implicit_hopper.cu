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
// How they meet: implicit_hopper.cuh.
// Two blocks share a multiprocessor (3 stages, 97 KiB; 96 registers a thread): one computes while the other stores.
// Speed, predicted for an H100: a step is 512 cycles of tensor cores; wgmma reads 48 KiB of shared memory in it and the
// TMA writes 32 KiB, together 640 cycles at 128 bytes: at most 80 % of the peak, 65 % expected where channels and
// filters fill their tiles, less the epilogue's 32 KiB in pieces of 16 bytes (15 instructions an element, counted; a
// step is 75). Few channels waste the padding to 64.
// Accuracy: tensor cores truncate, as implicit_gemm.cu says. Sums run in the order (tap, channel), whatever the batch.
// Called by csrc/cuda/conv_implicit_hopper.cpp.
#include "implicit_hopper.cuh"

namespace {

constexpr int kPixelBytes = kHopperPositions * kSwizzledRow;
static_assert(kHopperChannels * 2 == kSwizzledRow && kHopperPositions == kConsumers * 64 && kHopperFilters == 128);
static_assert(kPixelBytes + kHopperFilters * kSwizzledRow == kStageBytes);

template <class T>
__global__ void __launch_bounds__(kBlockThreads, kBlocksPerMultiprocessor)
    implicit_hopper_kernel(HopperProduct s, const __grid_constant__ CUtensorMap pixels,
                           const __grid_constant__ CUtensorMap filters, int64_t tiles, int filter_tiles, const T* bias,
                           bool relu, T* out) {
#ifdef GPUCNN_HOPPER
    __shared__ Barrier full[kStages], empty[kStages];
    Ring ring(full, empty);
    const int in_image = s.rows * s.columns, channel_steps = ceil_div(s.channels, kHopperChannels);
    if (is_producer()) {
        for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
            const int64_t position = tile / filter_tiles * kHopperPositions;
            const int n = int(position / in_image), pixel = int(position % in_image);
            const int h = s.lower_h + pixel / s.columns * s.stride_h, w = s.lower_w + pixel % s.columns * s.stride_w;
            const int first_filter = int(tile % filter_tiles) * kHopperFilters;
            for (int r = 0; r < s.taps_h; ++r)
                for (int t = 0; t < s.taps_w; ++t)
                    for (int c = 0; c < channel_steps; ++c)
                        ring.fill([&](char* stage, Barrier* barrier) {
                            tma_load_im2col(stage, &pixels, barrier, c * kHopperChannels, w, h, n, t * s.offset_w,
                                            r * s.offset_h);
                            tma_load_box(stage + kPixelBytes, &filters, barrier, c * kHopperChannels,
                                         s.first_tap + r * s.tap_apart_h + t * s.tap_apart_w, first_filter);
                        });
        }
    } else if (is_consumer()) {
        const int lane = int(threadIdx.x) % 32;
        const int row = int(threadIdx.x) / 32 * 16 + lane / 4;  // of the tile: the thread's first, the other is + 8
        const int64_t positions = int64_t(s.images) * in_image;
        const float least = relu ? 0.f : -INFINITY;  // that NaN is not less than
        for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
            float sums[64];
            ring.multiply<T, false>(s.taps_h * s.taps_w * channel_steps, sums,
                                    [](const char* stage, uint64_t& a, uint64_t& b) {
                                        const int warpgroup = int(threadIdx.x) / kWarpgroup;
                                        a = wgmma_operand(stage + warpgroup * 64 * kSwizzledRow);
                                        b = wgmma_operand(stage + kPixelBytes);
                                    });
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
    with_half_type("implicit_hopper", dtype, [&](auto element) {
        using T = decltype(element);
        launch_with_ring("implicit_hopper", shape, implicit_hopper_kernel<T>, tiles, stream, s, pixels, filters, tiles,
                         filter_tiles, static_cast<const T*>(bias), relu, static_cast<T*>(out));
    });
}
