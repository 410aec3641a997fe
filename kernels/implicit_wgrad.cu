// implicit: the weight gradient as a matrix product whose columns are never stored. See implicit_gemm.cu.
//
//   dw (Kg, RS Cg) = dy (Kg, N PQ)   pixels of x (N PQ, RS Cg)      per group; reads x, dy; writes dw
//
// The sum runs over all output positions, which are many, while dw has few tiles: so the positions are cut into splits,
// each a block's. Their float32 results lie in the workspace (splits, K, Cg, R, S), and sum_parts adds them in
// order: the same bits in every run. With no workspace there is one split, which writes dw itself.
// 16-bit tiles lie by term, as a thread reads 8 channels of one position: ldmatrix transposes them. A thread keeps its
// chunks of channels, and its position moves on by a step.
// Speed: as implicit_gemm.cu, with both operands read element by element: for 16 bits a step of a (128, 128) tile is 32
// mma and 308 other instructions a warp, 32 of them loads, and 32 to promote its sums, so 740 cycles of issue against
// 512 of mma on an A100; dw and the partial sums are small. In channels_last order 16-bit chunks are one cp.async each:
// 400 cycles. 32-bit ones are read as 4 elements, which lie in 4 rows of the tile: 30 instructions a warp fewer than in
// the other order. Called as implicit_gemm.cu.
#include "implicit_gather.cuh"

namespace {

constexpr int64_t kMostSplits = 256, kLeastSteps = 16;  // of a split: else its results cost more

// A number of positions as steps of n, p and q.
struct Advance {
    int n, p, q;
};

template <class T, class Tile, bool kLast>
struct FetchGradient {
    using Chunks = ChunksOfPixels<T, Tile, true, kLast>;
    const ConvShape& s;
    const Image &x_image, &dy_image;
    const T *x, *dy;
    int group;
    Advance advance;
    int n, p, q;  // of the thread's position in the step
    ChunkOfTaps of_x[Chunks::kChunks];
    int first_row;  // of the tile, among the channels of dy in the group
    Chunks x_chunks, dy_chunks;

    __device__ void start(char* a, char* b) {
        Pixel<T, kLast> pixel;
        pixel.place(dy_image, dy, group, n, p, q, n < s.N);
#pragma unroll
        for (int i = 0; i < Chunks::kChunks; ++i)
            dy_chunks.start(i, pixel, dy_image, {0, 0, first_row + Chunks::chunk(i) * kChunk<T>}, true, a);
        pixel.place(x_image, x, group, n, p, q, n < s.N);
#pragma unroll
        for (int i = 0; i < Chunks::kChunks; ++i) x_chunks.start(i, pixel, x_image, of_x[i], of_x[i].r < s.R, b);
        if ((q += advance.q) >= s.Q) q -= s.Q, ++p;
        if ((p += advance.p) >= s.P) p -= s.P, ++n;
        n += advance.n;
    }

    __device__ void finish(char* a, char* b) const {
#pragma unroll
        for (int i = 0; i < Chunks::kChunks; ++i) dy_chunks.finish(i, dy_image, a);
#pragma unroll
        for (int i = 0; i < Chunks::kChunks; ++i) x_chunks.finish(i, x_image, b);
    }
};

// Writes partial (splits, K, Cg, R, S), or dw where partial is null: adds to it, to accumulate.
template <class T, class Tile, class Product, bool kLast>
__global__ void __launch_bounds__(Tile::kThreads)
    wgrad_kernel(ConvShape s, Image x_image, Image dy_image, Advance advance, int64_t tiles, int tiles_m,
                 int64_t tiles_n, int64_t steps_of_split, const T* x, const T* dy, float* partial, bool accumulate,
                 T* dw) {
    using Fetch = FetchGradient<T, Tile, kLast>;
    const int M = s.Kg(), padded = padded_channels<T>(s.Cg());
    const int64_t taps = int64_t(s.R) * s.S, N = taps * padded;
    const int64_t pixels = int64_t(s.P) * s.Q, steps = ceil_div(s.N * pixels, int64_t(kDepth<T>));
    for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        const int first_m = int(tile % tiles_m) * Tile::kM;
        const int64_t first_n = tile / tiles_m % tiles_n * Tile::kN, rest = tile / tiles_m / tiles_n;
        const int group = int(rest % s.groups);
        const int64_t split = rest / s.groups, first_step = split * steps_of_split;
        const int64_t position = first_step * kDepth<T> + Fetch::Chunks::position(0);
        Fetch fetch{s,
                    x_image,
                    dy_image,
                    x,
                    dy,
                    group,
                    advance,
                    int(position / pixels),
                    int(position % pixels / s.Q),
                    int(position % s.Q),
                    {},
                    first_m,
                    {},
                    {}};
        for (int i = 0; i < Fetch::Chunks::kChunks; ++i) {
            const int64_t n = first_n + Fetch::Chunks::chunk(i) * kChunk<T>, tap = n / padded;
            fetch.of_x[i] = {int(tap / s.S), int(tap % s.S), int(n % padded)};
        }

        Product sums;
        sums.clear();
        const int64_t left = steps - first_step;
        sum_over_steps<Tile>(int(left < steps_of_split ? left : steps_of_split), fetch, sums, M - first_m,
                             int(N - first_n < Tile::kN ? N - first_n : Tile::kN));

        const int64_t filter = s.Cg() * taps, size = s.groups * M * filter;
#pragma unroll
        for (int j = 0; j < Product::kColumns; ++j) {
            const int64_t n = first_n + Product::column(j), channel = n % padded;
            if (n >= N || channel >= s.Cg()) continue;
            const int64_t at = (int64_t(group) * M + first_m) * filter + channel * taps + n / padded;
#pragma unroll
            for (int i = 0; i < Product::kRows; ++i) {
                if (first_m + Product::row(i) >= M) continue;
                const int64_t here = at + Product::row(i) * filter;
                if (partial)
                    partial[split * size + here] = sums.value(i, j);
                else
                    dw[here] = static_cast<T>(sums.value(i, j) + (accumulate ? static_cast<float>(dw[here]) : 0.f));
            }
        }
    }
}

// Splits that fill the GPU a few times over; the same for tiles of every size, so that only shape and bytes count.
int64_t splits_of(const ConvShape& s, DType dtype, int64_t bytes) {
    const int64_t steps = ceil_div(s.N * (int64_t(s.P) * s.Q), int64_t(kRowBytes / size_of(dtype)));
    const int64_t tiles = s.groups * ceil_div(int64_t(s.Kg()), int64_t(LargeTile::kM)) *
                          ceil_div(int64_t(s.Cg()) * s.R * s.S, int64_t(LargeTile::kN));
    const int64_t wanted = std::min({kMostSplits, steps / kLeastSteps, ceil_div(2 * kFullGpu, tiles)});
    const int64_t splits = std::min(wanted, bytes / (s.w_size() * int64_t(sizeof(float))));
    return splits < 2 ? 1 : splits;
}

void run(const char* op, const ConvShape& s, DType dtype, bool split, const void* x, const void* dy, void* dw,
         void* workspace, int64_t workspace_bytes, cudaStream_t stream, bool accumulate = false) {
    require_taken(op, s, dtype, split);
    const int64_t pixels = int64_t(s.P) * s.Q, splits = splits_of(s, dtype, workspace_bytes);
    const int64_t products = splits * s.groups;
    const int64_t N = int64_t(s.R) * s.S * s.Cg();  // before padding: enough to choose a tile by
    auto* const partial = splits > 1 ? static_cast<float*>(workspace) : nullptr;
    with_product<true>(dtype, split, products, s.Kg(), N, [&](auto kind) {
        using T = typename decltype(kind)::Element;
        using Tile = typename decltype(kind)::Tile;
        const int depth = kDepth<T>;
        const int64_t steps = ceil_div(s.N * pixels, int64_t(depth)), steps_of_split = ceil_div(steps, splits);
        const int tiles_m = ceil_div(s.Kg(), Tile::kM);
        const int64_t padded_N = int64_t(s.R) * s.S * padded_channels<T>(s.Cg());
        const int64_t tiles_n = ceil_div(padded_N, int64_t(Tile::kN)), tiles = products * tiles_m * tiles_n;
        const Advance advance{int(depth / pixels), int(depth % pixels / s.Q), depth % s.Q};
        using Product = typename decltype(kind)::Product;
        launch(s.channels_last ? wgrad_kernel<T, Tile, Product, true> : wgrad_kernel<T, Tile, Product, false>,
               blocks_for(tiles, 1), Tile::kThreads, Tile::kSharedBytes, stream, s, image_of_x(s, dtype, x),
               image_of_y(s, dtype, dy), advance, tiles, tiles_m, tiles_n, steps_of_split, static_cast<const T*>(x),
               static_cast<const T*>(dy), partial, accumulate, static_cast<T*>(dw));
        check(cudaGetLastError(), op, s.text());
    });
    if (partial) sum_parts(dtype, s.w_size(), int(splits), partial, dw, stream);
}

}  // namespace

std::pair<int64_t, int64_t> conv_implicit_workspace(const ConvShape& s, DType dtype, const std::string& direction) {
    require_direction("conv_implicit_workspace", direction);
    if (direction != "wgrad") return {0, 0};
    const int64_t splits = splits_of(s, dtype, std::numeric_limits<int64_t>::max());
    return {0, splits > 1 ? splits * s.w_size() * int64_t(sizeof(float)) : 0};
}

void conv_implicit_wgrad(const ConvShape& s, DType dtype, const void* x, const void* dy, void* dw, void* workspace,
                         int64_t workspace_bytes, cudaStream_t stream) {
    run("conv_implicit_wgrad", s, dtype, false, x, dy, dw, workspace, workspace_bytes, stream);
}

void conv_implicit_split_wgrad(const ConvShape& s, DType dtype, const void* x, const void* dy, void* dw,
                               void* workspace, int64_t workspace_bytes, cudaStream_t stream) {
    run("conv_implicit_split_wgrad", s, dtype, true, x, dy, dw, workspace, workspace_bytes, stream);
}

void implicit_split_sums(const ConvShape& s, const float* x, const float* dy, float* sums, bool accumulate,
                         cudaStream_t stream) {
    run("implicit_split_sums", s, DType::float32, true, x, dy, sums, nullptr, 0, stream, accumulate);
}
