// implicit: convolution as one matrix product whose columns are never stored (Chetlur et al. 2014), forward and input
// gradient; implicit_wgrad.cu has the weight gradient, implicit_gemm.cuh the product of tiles.
//
//   fwd     y  (Kg, N PQ) = w (Kg, RS Cg)   pixels of x  (RS Cg, N PQ)   per group: reads x, filters, bias; writes y
//   dgrad   dx (Cg, N HW) = w (Cg, RS Kg)   pixels of dy (RS Kg, N HW)   per group and phase: reads dy, filters;
//                                                                        writes dx
//   filters (groups, Kg or Cg, RS, channels padded to chunks of 16 bytes): w as conv_implicit_filters orders it, so
//   that a thread copies 16 bytes of it at a time, whatever the shape
//
// dgrad with a stride: pixels of dx that are congruent modulo the stride meet the same taps, and between them form a
// convolution of stride 1. Each such phase is a product of its own, so that no product with a zero is made; a phase
// without taps writes zeros. All phases are one launch.
//
// A block computes a tile (128, 128), or (64, 64) where those are too few to fill the GPU; the threads of a warp bring
// neighbouring positions, whose loads coalesce, or in channels_last order (kLast) 64 bytes of each of 8 positions, as
// they bring filters. Neighbouring blocks share positions, so that x is read from L2.
// Speed, counted in sm_90a code, for a step of a (128, 128) tile: a warp issues, for 16 bits, 32 mma and 218 other
// instructions (16 loads of 2 bytes with addresses and borders are half of these), and 32 to promote its sums, so 560
// cycles with two warps a scheduler, against 512 of mma on an A100 and 256 on an H100: bound by issue, at most 45 % of
// an H100's peak. TF32 issues 450 cycles for the same mma cycles; split 1580 for 1536 on an A100; float32 2600 for 2048
// of FFMA, 78 % of the peak. Few channels (C = 3) waste the padding to 8 (4). Filters are prepared once and kept by the
// caller.
// In channels_last order a chunk is one cp.async (8 KiB a step and operand, whole sectors of 32 bytes), and filters and
// pixels have one tap to keep: for 16 bits a step is 32 mma and 132 other instructions, 390 cycles with what promotes
// its sums, so bound by mma on an A100 and at 65 % of an H100's peak; TF32 issues 380 cycles, split 1500, float32 2500.
// With channels that are no whole chunks it is as above. A warp stores 8 neighbouring channels of 4 pixels at once:
// whole sectors for float32, halves for 16 bits, where it stores 4 pixels of 8 channels in the other order. Accuracy:
// tensor cores truncate. In their model (tests/simt), which keeps no guard bits, a sum of L float16 products of one
// sign is low by 0.38 L units of 2^-24, so by a whole rounding of the output from L = 20,000 on, and its error factor
// grows as sqrt(L): none could be declared. Promoted every 128 terms, it is low by less than 50 units for any L, a
// hundredth of that rounding: the factor is 2.9 at most, in 10^5 sums a little above a power of 2, where rounding hides
// least (4 is declared; every 64 terms it would be 0.9, for another eighth of the instructions). That costs an eighth
// more instructions and up to 64 registers a thread: the large tile keeps its one block on a multiprocessor, the small
// one has three instead of four (sm_90a). Sums in the order (tap, channel) for every tile size, so that a batch has the
// bits of its images. Called by the rows "implicit" and "implicit_split" (bound in csrc/bind_cuda.cpp), and for the
// products of "winograd4_split" (csrc/cuda/conv_winograd.cpp).
#include "axis_phase.h"
#include "implicit_gather.cuh"

namespace {

// filters <- w: rows of the product, then taps, then channels of the group; zeros behind them. Rounded where for TF32.
template <class T>
__global__ void filters_kernel(ConvShape s, bool gradient, bool tf32, const T* __restrict__ w,
                               T* __restrict__ filters) {
    const int rows = gradient ? s.Cg() : s.Kg(), channels = gradient ? s.Kg() : s.Cg();
    const int padded = padded_channels<T>(channels);
    const int64_t taps = int64_t(s.R) * s.S, count = s.groups * rows * taps * padded;
    for (int64_t i = thread_index(); i < count; i += thread_count()) {
        const int channel = int(i % padded);
        const int64_t tap = i / padded % taps, group_row = i / padded / taps;
        const int64_t group = group_row / rows, row = group_row % rows;
        const int64_t k = group * s.Kg() + (gradient ? channel : row), c = gradient ? row : channel;
        filters[i] = channel < channels ? w[(k * s.Cg() + c) * taps + tap] : static_cast<T>(0.f);
        if constexpr (std::is_same_v<T, float>)
            if (tf32) filters[i] = float_of(to_tf32(filters[i]));
    }
}

// One product: what is the same for all of its tiles.
struct ImageProduct {
    Image source;
    int taps_h, taps_w, first_tap_h, first_tap_w, tap_apart_h, tap_apart_w;
    int rows_of_positions, columns_of_positions;  // of one image
    int first_h, first_w, apart_h, apart_w;       // where position (0, 0) lies in the output, and the next ones
};

__device__ inline ImageProduct product_of(const ConvShape& s, bool gradient, Image source, int phase) {
    if (!gradient) return {source, s.R, s.S, 0, 0, 1, 1, s.P, s.Q, 0, 0, 1, 1};
    const int phases_w = s.stride_w < s.W ? s.stride_w : s.W;
    const AxisPhase h = phase_of_axis(phase / phases_w, s.H, s.pad_h, s.stride_h, s.dil_h, s.R);
    const AxisPhase w = phase_of_axis(phase % phases_w, s.W, s.pad_w, s.stride_w, s.dil_w, s.S);
    source.step_h = h.step, source.step_w = w.step;
    source.shift_h = h.shift, source.shift_w = w.shift;
    const bool any = h.taps && w.taps;
    return {source, any ? h.taps : 0, any ? w.taps : 0, h.first_tap, w.first_tap, h.tap_apart, w.tap_apart,
            h.size, w.size,           h.first,          w.first,     h.apart,     w.apart};
}

// The tiles of one step: filters by cp.async of 16 bytes, pixels chunk by chunk. With kLast, a thread's chunks of
// filters and of pixels belong to the same terms.
template <class T, class Tile, bool kLast>
struct FetchImage {
    using Chunks = ChunksOfPixels<T, Tile, false, kLast>;
    static constexpr int kRowsApart = Tile::kThreads / 4;  // four threads bring the four chunks of a row of filters
    static constexpr int kFilterRows = Tile::kM / kRowsApart;
    static_assert(kLast ? Chunks::kAtPixel == 1 : Chunks::kPixels == 1);

    const ImageProduct& product;
    int padded, filter_taps_w;
    Pixel<T, kLast> pixels[Chunks::kPixels];
    ChunkOfTaps of_pixels[Chunks::kChunks], of_filters;  // the former without kLast
    const T* filters;                                    // of the thread's first row
    int64_t filter_size;
    int rows_left;  // from the thread's first row on
    Chunks chunks;

    __device__ static int row() { return int(threadIdx.x) / 4; }

    __device__ void rewind() {
        for (int i = 0; i < Chunks::kChunks; ++i) {
            of_pixels[i] = {0, 0, 0};
            of_pixels[i].advance(Chunks::chunk(i) * kChunk<T>, padded, product.taps_w);
        }
        of_filters = {0, 0, 0};
        of_filters.advance(int(threadIdx.x) % 4 * kChunk<T>, padded, product.taps_w);
    }

    __device__ void start(char* a, char* b) {
        const unsigned tap = (product.first_tap_h + of_filters.r * product.tap_apart_h) * filter_taps_w +
                             product.first_tap_w + of_filters.s * product.tap_apart_w;
        const T* chunk = filters + (tap * padded + of_filters.channel);
#pragma unroll
        for (int i = 0; i < kFilterRows; ++i, chunk += kRowsApart * filter_size)
            cp_async<16>(a + at_operand(row() + kRowsApart * i, int(threadIdx.x) % 4), chunk,
                         of_filters.r < product.taps_h && kRowsApart * i < rows_left);
#pragma unroll
        for (int i = 0; i < Chunks::kChunks; ++i) {
            ChunkOfTaps& taps = kLast ? of_filters : of_pixels[i];
            chunks.start(i, pixels[i % Chunks::kPixels], product.source, taps, taps.r < product.taps_h, b);
            if (!kLast) taps.advance(kDepth<T>, padded, product.taps_w);
        }
        of_filters.advance(kDepth<T>, padded, product.taps_w);
    }

    __device__ void finish(char*, char* b) const {
#pragma unroll
        for (int i = 0; i < Chunks::kChunks; ++i) chunks.finish(i, product.source, b);
    }
};

template <class T, class Tile, class Product, bool kLast>
__global__ void __launch_bounds__(Tile::kThreads)
    image_kernel(ConvShape s, bool gradient, Image source, int64_t tiles, int tiles_m, int64_t tiles_n, const T* data,
                 const T* filters, const T* bias, bool relu, T* out) {
    const int M = gradient ? s.Cg() : s.Kg();
    const int out_W = gradient ? s.W : s.Q;
    const int64_t plane = gradient ? int64_t(s.H) * s.W : int64_t(s.P) * s.Q;
    const int padded = padded_channels<T>(source.channels);
    for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        const int first_m = int(tile % tiles_m) * Tile::kM;
        const int64_t first_n = tile / tiles_m % tiles_n * Tile::kN, rest = tile / tiles_m / tiles_n;
        const int group = int(rest % s.groups);
        const ImageProduct product = product_of(s, gradient, source, int(rest / s.groups));
        const int64_t in_image = int64_t(product.rows_of_positions) * product.columns_of_positions;
        const int64_t positions = s.N * in_image;
        if (first_n >= positions) continue;  // of a smaller phase than the first

        using Fetch = FetchImage<T, Tile, kLast>;
        using Chunks = typename Fetch::Chunks;
        const int64_t filter_size = int64_t(s.R) * s.S * padded;
        Fetch fetch{product,
                    padded,
                    s.S,
                    {},
                    {},
                    {},
                    filters + (int64_t(group) * M + first_m + Fetch::row()) * filter_size,
                    filter_size,
                    M - first_m - Fetch::row(),
                    {}};
        pin(fetch.filters);
        int64_t own_places[Chunks::kPixels];
#pragma unroll
        for (int i = 0; i < Chunks::kPixels; ++i) {
            const int64_t position = first_n + Chunks::position(i), n = position / in_image;
            const int p = int(position % in_image / product.columns_of_positions);
            const int q = int(position % product.columns_of_positions);
            fetch.pixels[i].place(product.source, data, group, n, p, q, position < positions);
            const int64_t pixel =
                int64_t(product.first_h + p * product.apart_h) * out_W + product.first_w + q * product.apart_w;
            own_places[i] =
                kLast ? ((n * plane + pixel) * s.groups + group) * M : (n * s.groups + group) * M * plane + pixel;
        }
        fetch.rewind();

        Product sums;
        sums.clear();
        const unsigned terms = unsigned(product.taps_h) * product.taps_w * padded;
        const int columns = int(positions - first_n < Tile::kN ? positions - first_n : Tile::kN);
        sum_over_steps<Tile>(int(ceil_div(terms, unsigned(kDepth<T>))), fetch, sums, M - first_m, columns);

        // The threads that brought a position know where it lies in the output; all want to. With position(i) for an
        // index, the compiler would compute addresses anew in every step.
        auto* const places = reinterpret_cast<int64_t*>(dynamic_shared());
#pragma unroll
        for (int i = 0; i < Chunks::kPixels; ++i)
            if (Chunks::chunk(0) == 0) places[threadIdx.x / Chunks::kAcross + i * Chunks::kRows] = own_places[i];
        __syncthreads();
#pragma unroll
        for (int i = 0; i < Product::kRows; ++i) {
            const int m = first_m + Product::row(i);
            if (m >= M) continue;
            const float offset = bias ? static_cast<float>(bias[group * M + m]) : 0.f;
#pragma unroll
            for (int j = 0; j < Product::kColumns; ++j) {
                if (Product::column(j) >= columns) continue;
                const float sum = sums.value(i, j) + offset;
                out[places[Product::column(j)] + m * (kLast ? 1 : plane)] = static_cast<T>(relu && sum < 0 ? 0.f : sum);
            }
        }
        __syncthreads();  // the next tile overwrites the places
    }
}

}  // namespace

int64_t conv_implicit_filters_bytes(const ConvShape& s, DType dtype, const std::string& direction) {
    require_direction("conv_implicit_filters_bytes", direction);
    const bool gradient = direction == "dgrad";
    const int64_t chunks = ceil_div(int64_t(gradient ? s.Kg() : s.Cg()) * size_of(dtype), int64_t(16));
    return int64_t(gradient ? s.C : s.K) * s.R * s.S * chunks * 16;
}

void conv_implicit_filters(const ConvShape& s, DType dtype, const std::string& direction, const void* w, void* filters,
                           cudaStream_t stream) {
    const int64_t count = conv_implicit_filters_bytes(s, dtype, direction) / size_of(dtype);
    with_dtype(dtype, [&](auto element) {
        using T = decltype(element);
        launch(filters_kernel<T>, blocks_for(count), kThreads, 0, stream, s, direction == "dgrad", dtype == DType::tf32,
               static_cast<const T*>(w), static_cast<T*>(filters));
    });
    check(cudaGetLastError(), "conv_implicit_filters", s.text());
}

namespace {

void run(const char* op, const ConvShape& s, DType dtype, bool split, bool gradient, const void* data,
         const void* filters, const void* bias, bool relu, void* out, cudaStream_t stream) {
    require_taken(op, s, dtype, split);
    const int M = gradient ? s.Cg() : s.Kg();
    const Image source = gradient ? image_of_y(s, dtype, data) : image_of_x(s, dtype, data);
    const int phases_h = gradient ? std::min(s.stride_h, s.H) : 1, phases_w = gradient ? std::min(s.stride_w, s.W) : 1;
    const int64_t positions = gradient ? int64_t(s.N) * ceil_div(s.H, s.stride_h) * ceil_div(s.W, s.stride_w)
                                       : int64_t(s.N) * s.P * s.Q;  // of the largest phase
    const int64_t products = int64_t(phases_h) * phases_w * s.groups;
    if (positions == 0) return;
    with_product<false>(dtype, split, products, M, positions, [&](auto kind) {
        using T = typename decltype(kind)::Element;
        using Tile = typename decltype(kind)::Tile;
        const int tiles_m = ceil_div(M, Tile::kM);
        const int64_t tiles_n = ceil_div(positions, int64_t(Tile::kN)), tiles = products * tiles_m * tiles_n;
        using Product = typename decltype(kind)::Product;
        launch(s.channels_last ? image_kernel<T, Tile, Product, true> : image_kernel<T, Tile, Product, false>,
               blocks_for(tiles, 1), Tile::kThreads, Tile::kSharedBytes, stream, s, gradient, source, tiles, tiles_m,
               tiles_n, static_cast<const T*>(data), static_cast<const T*>(filters), static_cast<const T*>(bias), relu,
               static_cast<T*>(out));
    });
    check(cudaGetLastError(), op, s.text());
}

}  // namespace

void conv_implicit_fwd(const ConvShape& s, DType dtype, const void* x, const void* filters, const void* bias, bool relu,
                       void* y, void*, int64_t, cudaStream_t stream) {
    run("conv_implicit_fwd", s, dtype, false, false, x, filters, bias, relu, y, stream);
}

void conv_implicit_dgrad(const ConvShape& s, DType dtype, const void* dy, const void* filters, void* dx, void*, int64_t,
                         cudaStream_t stream) {
    run("conv_implicit_dgrad", s, dtype, false, true, dy, filters, nullptr, false, dx, stream);
}

void conv_implicit_split_fwd(const ConvShape& s, DType dtype, const void* x, const void* filters, const void* bias,
                             bool relu, void* y, void*, int64_t, cudaStream_t stream) {
    run("conv_implicit_split_fwd", s, dtype, true, false, x, filters, bias, relu, y, stream);
}

void conv_implicit_split_dgrad(const ConvShape& s, DType dtype, const void* dy, const void* filters, void* dx, void*,
                               int64_t, cudaStream_t stream) {
    run("conv_implicit_split_dgrad", s, dtype, true, true, dy, filters, nullptr, false, dx, stream);
}
