// winograd2_fused: convolution with 3x3 filters by Winograd's algorithm F(2x2, 3x3) in one kernel (Lavin & Gray 2016;
// the sizes of the tiles are those of Yan, Wang & Chu 2020), without the planes that winograd.cu leaves in memory.
//
//   fwd     y  <- x  (N, C, H, W), filters, bias (K,) or null        dgrad   dx <- dy (N, K, P, Q), filters
//   filters (groups, blocks of 64 filters, steps of 8 channels, 16 planes, 8, 64) float32: G w G^T, zeros where there
//           is no such filter or channel; for dgrad of the filters turned by half a turn, K and C exchanged
//
// An item of work is the outputs of 64 filters in 32 tiles of 2x2 (numbered over n, rows and columns); a block takes
// several, one after the other. In each step it brings 8 channels to one of two stages in shared memory: filters as
// they lie in memory, by cp.async; pixels through registers, a thread the 4x4 of one tile and channel, which become B^T
// x B while they are stored. Meanwhile it multiplies the other stage: a warp two of the 16 planes, a thread 8 filters
// by 8 tiles in each, 128 sums. One barrier a step. After the last step, with which the first of the next item is
// brought, the planes meet where that step's stage was, 16 filters at a time, for A^T . A, bias and ReLU; a lane writes
// the rows of a tile. Everything in between is float32, also for 16 bits and for TF32. Sums in one order, that of the
// channels: the same bits in every run and in any batch.
//
// Why: the planes of winograd2 are written and read, 128 (C + K) bytes a tile; at C = K = 64 that takes 4.9 ns at an
// H100's 3.4 TB/s (less where they stay in L2), its 65,536 multiply-adds 2 ns. Here memory sees the images, once each.
// Speed, counted in code for sm_90a and not measured: bound by FFMA. A step issues 1,275 instructions a warp (1,300 for
// 16 bits), 1,024 of them FFMA: 80 % of the peak at most, 2,550 cycles with two warps a scheduler. Shared memory and L1
// are busy for 1,730 of these. L2 sends 32 KiB of filters and at least 9 KiB of float32 pixels, 16 bytes a cycle and
// multiprocessor, so 3.7 TB/s on an H100: the next limit. Registers (231 a thread, 128 of them sums) leave room for one
// block a multiprocessor, and so nothing beside the end of an item: 1,150 instructions a warp and eight barriers, some
// 3,000 cycles. That makes 51 % of the peak at C = 16, 70 % at C = 64, 75 % at C = 128; with 2.25 times fewer products,
// twice what implicit predicts for float32 at C = 64. Padding costs as much as what it pads: channels to 8, filters to
// 64, images to whole tiles. Half as many filters and twice the tiles would spare a sixth of the bytes from L2, but
// transform pixels twice as often. Called by the rows "winograd2_fused" (csrc/bind_cuda.cpp).
#include "winograd_fused.cuh"

namespace {

template <class T>
__global__ void __launch_bounds__(kThreads)
    fused_kernel(Problem p, int64_t items, const T* __restrict__ images, const float* __restrict__ filters,
                 const T* __restrict__ bias, bool relu, T* __restrict__ out) {
    auto* const shared = reinterpret_cast<float*>(dynamic_shared());
    Stages<T> stages;
    int at = 0;  // the stage that is multiplied next
    if (stages.start(p, items, images, filters, shared)) stages.finish(shared);
    for (int64_t number = blockIdx.x; number < items; number += gridDim.x) {
        Sums sums{};
        for (int step = 0; step < p.steps; ++step) {
            cp_async_wait<0>();
            __syncthreads();  // this stage is there, and nobody reads the other one any more
            float *const stage = shared + at * kStageFloats, *const other = shared + (at ^ 1) * kStageFloats;
            const bool more = stages.start(p, items, images, filters, other);
            sums.multiply(stage);
            if (more) stages.finish(other);
            at ^= 1;
        }
        const Item item(p, number);
        const int first_result = item.block * kFilters;
        const int64_t channel = int64_t(item.group) * p.results + first_result;
        const Outputs<T> outputs(p, out, channel, item.first_tile);
        float* const rows = shared + (at ^ 1) * kStageFloats;  // where the last stage was; the other is the next item's
#pragma unroll
        for (int part = 0; part < kFilters / kPart; ++part) {
            __syncthreads();  // the last stage, or part, is read
            sums.write(rows, part);
            __syncthreads();
            outputs.write(p, rows, part, p.results - first_result, bias ? bias + channel : nullptr, relu);
        }
    }
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    filters_kernel(ConvShape s, bool gradient, int64_t count, const T* __restrict__ w, float* __restrict__ filters) {
    constexpr int kPlane = kStep * kFilters;
    const Problem p(s, gradient);
    for (int64_t i = thread_index(); i < count; i += thread_count()) {
        const int64_t place = i / kPlane, group = place / p.steps / p.blocks_of_filters;
        const int result = int(place / p.steps % p.blocks_of_filters) * kFilters + int(i % kFilters);
        const int source = int(place % p.steps) * kStep + int(i / kFilters % kStep);
        const bool real = result < p.results && source < p.sources;
        const int64_t k = group * s.Kg() + (gradient ? source : result), c = gradient ? result : source;
        const T* const filter = w + (k * s.Cg() + c) * 9;
        both_sides<Winograd<2, 3>::G, false>(
            [&](int r, int t) {
                const int tap = 3 * r + t;
                return real ? static_cast<float>(filter[gradient ? 8 - tap : tap]) : 0.f;
            },
            [&](int r, int t, float value) {
                filters[place * kFilterFloats + (4 * r + t) * kPlane + i % kPlane] = value;
            });
    }
}

// The problem, of a shape that the kernel takes.
Problem problem_of(const char* op, const ConvShape& s, DType dtype, const std::string& direction) {
    if (direction != "fwd" && direction != "dgrad")
        throw std::invalid_argument(std::string(op) + ": direction is fwd or dgrad, but came " + direction);
    const int64_t pixels = std::max(int64_t(s.H) * s.W, int64_t(s.P) * s.Q);
    if (s.R != 3 || s.S != 3 || s.stride_h != 1 || s.stride_w != 1 || s.dil_h != 1 || s.dil_w != 1 ||
        pixels >= int64_t(1) << 31 || dtype == DType::float64)
        throw std::invalid_argument(std::string(op) +
                                    ": takes 3x3 filters, stride 1, dilation 1, images of less than 2^31 pixels, no "
                                    "float64, but came " +
                                    name_of(dtype) + ", " + s.text());
    return Problem(s, direction == "dgrad");
}

void run(const char* op, const ConvShape& s, DType dtype, const std::string& direction, const void* images,
         const void* filters, const void* bias, bool relu, void* out, cudaStream_t stream) {
    Problem p = problem_of(op, s, dtype, direction);
    p.pairs = p.W % 2 == 0 && reinterpret_cast<uintptr_t>(out) % (2 * size_of(dtype)) == 0;
    const int64_t items = ceil_div(p.tiles, int64_t(kTiles)) * p.groups * p.blocks_of_filters;
    if (items == 0) return;
    int device = 0, multiprocessors = 0;
    check(cudaGetDevice(&device), op, s.text());
    check(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device), op, s.text());
    const int64_t blocks = std::min(items, int64_t(multiprocessors));  // as many as run at once
    with_dtype(dtype, [&](auto element) {
        using T = decltype(element);
        check(cudaFuncSetAttribute(reinterpret_cast<const void*>(fused_kernel<T>),
                                   cudaFuncAttributeMaxDynamicSharedMemorySize, kSharedBytes),
              op, s.text());
        launch(fused_kernel<T>, dim3(unsigned(blocks)), kThreads, kSharedBytes, stream, p, items,
               static_cast<const T*>(images), static_cast<const float*>(filters), static_cast<const T*>(bias), relu,
               static_cast<T*>(out));
    });
    check(cudaGetLastError(), op, s.text());
}

}  // namespace

int64_t conv_winograd2_fused_filters_bytes(const ConvShape& s, DType dtype, const std::string& direction) {
    const Problem p = problem_of("conv_winograd2_fused_filters_bytes", s, dtype, direction);
    return int64_t(p.groups) * p.blocks_of_filters * p.steps * kFilterFloats * int64_t(sizeof(float));
}

void conv_winograd2_fused_filters(const ConvShape& s, DType dtype, const std::string& direction, const void* w,
                                  void* filters, cudaStream_t stream) {
    const int64_t count = conv_winograd2_fused_filters_bytes(s, dtype, direction) / (kPlanes * int64_t(sizeof(float)));
    with_dtype(dtype, [&](auto element) {
        using T = decltype(element);
        launch(filters_kernel<T>, blocks_for(count), kThreads, 0, stream, s, direction == "dgrad", count,
               static_cast<const T*>(w), static_cast<float*>(filters));
    });
    check(cudaGetLastError(), "conv_winograd2_fused_filters", s.text());
}

std::pair<int64_t, int64_t> conv_winograd2_fused_workspace(const ConvShape& s, DType dtype,
                                                           const std::string& direction) {
    problem_of("conv_winograd2_fused_workspace", s, dtype, direction);
    return {0, 0};
}

void conv_winograd2_fused_fwd(const ConvShape& s, DType dtype, const void* x, const void* filters, const void* bias,
                              bool relu, void* y, void*, int64_t, cudaStream_t stream) {
    run("conv_winograd2_fused_fwd", s, dtype, "fwd", x, filters, bias, relu, y, stream);
}

void conv_winograd2_fused_dgrad(const ConvShape& s, DType dtype, const void* dy, const void* filters, void* dx, void*,
                                int64_t, cudaStream_t stream) {
    run("conv_winograd2_fused_dgrad", s, dtype, "dgrad", dy, filters, nullptr, false, dx, stream);
}
