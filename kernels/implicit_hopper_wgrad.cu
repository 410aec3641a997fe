// implicit_hopper: the weight gradient, on the tensor cores of compute capability 9.0. See implicit_hopper.cu.
//
//   sums (splits, filters, channels, taps) = dy^T (filters, positions)  pixels (positions, channels x taps)
//   reads dy (N, P, Q, filters) and pixels (N, H, W, channels), through im2col maps; writes sums, float32
//
// A block computes tiles (128 filters, 128 channels) of one tap and one split; a step adds 64 positions, which both
// boxes hold as rows: wgmma takes both operands transposed. Positions behind the last one are zeros in both. Blocks
// that run together share positions, so that dy and pixels come from L2. Sums are written with the taps' stride, once a
// split: a small part of the traffic; sum_parts adds the splits in order, the same bits in every run.
// Speed, predicted for an H100: a step costs what it does in implicit_hopper.cu, so at most 80 % of the peak, where
// filters and channels fill their tiles. Called by csrc/cuda/conv_implicit_hopper.cpp.
#include "implicit_hopper.cuh"

namespace {

constexpr int kBoxBytes = kHopperTerms * kSwizzledRow;
constexpr int kTile = 2 * kHopperChannels;  // filters, and channels
using Shape = Block<kTile>;
static_assert(kHopperTerms == 64 && 4 * kBoxBytes == Shape::kStageBytes);

template <class T>
__global__ void __launch_bounds__(Shape::kThreads, Shape::kPerMultiprocessor)
    implicit_hopper_wgrad_kernel(HopperGradient s, const __grid_constant__ CUtensorMap dy,
                                 const __grid_constant__ CUtensorMap pixels, int64_t tiles, int64_t steps,
                                 int64_t steps_of_split, float* sums_of_splits) {
#ifdef GPUCNN_HOPPER
    __shared__ Barrier full[Shape::kStages], empty[Shape::kStages];
    Ring<Shape> ring(full, empty);
    const int filter_tiles = ceil_div(s.filters, kTile), channel_tiles = ceil_div(s.channels, kTile);
    const int taps = s.taps_h * s.taps_w, in_image = s.rows * s.columns;
    for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        const int first_filter = int(tile % filter_tiles) * kTile;
        const int first_channel = int(tile / filter_tiles % channel_tiles) * kTile;
        const int tap = int(tile / filter_tiles / channel_tiles % taps);
        const int64_t split = tile / filter_tiles / channel_tiles / taps, first_step = split * steps_of_split;
        const int64_t left = steps - first_step;
        const int wanted = int(left < 0 ? 0 : left < steps_of_split ? left : steps_of_split);
        if (is_producer()) {
            for (int step = 0; step < wanted; ++step) {
                const int64_t position = (first_step + step) * kHopperTerms;
                const int n = int(position / in_image), pixel = int(position % in_image);
                const int p = pixel / s.columns, q = pixel % s.columns;
                ring.fill([&](char* stage, Barrier* barrier) {
                    for (int half = 0; half < 2; ++half) {
                        tma_load_im2col(stage + half * kBoxBytes, &dy, barrier, first_filter + half * kHopperChannels,
                                        q, p, n, 0, 0);
                        tma_load_im2col(stage + (2 + half) * kBoxBytes, &pixels, barrier,
                                        first_channel + half * kHopperChannels, s.lower_w + q * s.stride_w,
                                        s.lower_h + p * s.stride_h, n, tap % s.taps_w * s.offset_w,
                                        tap / s.taps_w * s.offset_h);
                    }
                });
            }
        } else if (is_consumer()) {
            float sums[Shape::kSums];
            ring.multiply<T, true>(wanted, sums, [](const char* stage, uint64_t& a, uint64_t& b) {
                a = wgmma_transposed_operand(stage + threadIdx.x / kWarpgroup * kBoxBytes, kBoxBytes);
                b = wgmma_transposed_operand(stage + 2 * kBoxBytes, kBoxBytes);
            });
            const int lane = int(threadIdx.x) % 32;
            const int channel = first_channel + lane % 4 * 2;
#pragma unroll
            for (int i = 0; i < 2; ++i) {
                const int filter = first_filter + int(threadIdx.x) / 32 * 16 + lane / 4 + 8 * i;
                if (filter >= s.filters) continue;
                float* place = sums_of_splits + ((split * s.filters + filter) * s.channels + channel) * taps + tap;
#pragma unroll
                for (int j = 0; j < 32; ++j) {
                    const float sum = sums[j / 2 * 4 + 2 * i + j % 2];
                    if (channel + j / 2 * 8 + j % 2 < s.channels) *place = s.accumulate ? *place + sum : sum;
                    place += (j % 2 ? 7 : 1) * taps;
                }
            }
        }
    }
#endif
}

}  // namespace

void implicit_hopper_wgrad(const HopperGradient& s, DType dtype, const CUtensorMap& dy, const CUtensorMap& pixels,
                           float* sums, cudaStream_t stream) {
    const int64_t steps = ceil_div(int64_t(s.images) * s.rows * s.columns, int64_t(kHopperTerms));
    const int64_t tiles =
        int64_t(s.splits) * s.taps_h * s.taps_w * ceil_div(s.filters, kTile) * ceil_div(s.channels, kTile);
    const std::string shape = std::to_string(s.images) + " x " + std::to_string(s.rows) + " x " +
                              std::to_string(s.columns) + " positions, " + std::to_string(s.filters) + " filters of " +
                              std::to_string(s.taps_h) + " x " + std::to_string(s.taps_w) + " x " +
                              std::to_string(s.channels);
    with_half_type("implicit_hopper_wgrad", dtype, [&](auto element) {
        using T = decltype(element);
        launch_with_ring<Shape>("implicit_hopper_wgrad", shape, implicit_hopper_wgrad_kernel<T>, tiles, stream, s, dy,
                                pixels, tiles, steps, ceil_div(steps, int64_t(s.splits)), sums);
    });
}
