// Winograd's algorithm in three steps: transforms to planes, products of planes, transforms back.
//
//   fwd    products (Kg, tiles) = filters (Kg, Cg)   planes of x  (Cg, tiles)    per plane and group
//   dgrad  products (Cg, tiles) = filters (Cg, Kg)   planes of dy (Kg, tiles)    the same, on filters turned
//   wgrad  sums     (Kg, Cg)    = planes of dy (Kg, tiles)   planes of x^T       per slice, plane and group
//
// The products are cuBLAS's, in float32 or, with tf32, of planes rounded to TF32. With `split` (row winograd4_split)
// they are the kernels' of implicit_split, on tensor cores at float32 accuracy: a chunk of planes is one image of a 1x1
// convolution, with a group for each plane and group. By the counts of kernels/implicit_gemm.cu these products issue
// 1580 cycles where FFMA needs 2048 at its peak: at most 1.3 times the products of a perfect float32 GEMM.
// Tiles are taken in chunks, so that the planes of a chunk fit the workspace, and also stay in L2 between the steps.
// The sums of wgrad are added up over chunks by the products, and cut into slices of tiles where there are few products
// to fill a GPU with; slices are added in order. 16-bit operands are widened: planes of 16 bits would lose more than
// one rounding of the result.
#include <algorithm>
#include <stdexcept>

#include "functions.h"
#include "gemm.h"
#include "kernels.h"

namespace {

constexpr int64_t kPlaneBytes = 32 << 20;      // of a chunk: within an L2 of 50 MB, and enough tiles for a GPU
constexpr int64_t kProducts = 256;             // blocks of 128 x 128 that fill a GPU twice
constexpr int64_t kSlices = 16, kDepth = 256;  // at most so many slices, of at least so many tiles
constexpr int64_t kAlign = 256;                // of each array, in bytes
constexpr int kSplitChannels = 1 << 21;        // times 36 planes and kSlices: fewer than 2^31; gpucnn/conv/algos.py

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t round_up(int64_t count, int64_t step) { return ceil_div(count, step) * step; }

int64_t weight_count(const ConvShape& s) { return int64_t(s.K) * s.Cg(); }

// How a convolution is cut so that it fits a workspace.
struct Plan {
    const ConvShape& s;
    int m;
    bool split;
    DType dtype;
    bool wgrad, gradient;      // gradient: dgrad
    TileBlock source, result;  // all tiles: of the images transformed, and of the outputs; for wgrad of x and of dy
    int64_t planes, tiles, slices = 1;

    Plan(int m, bool split, const ConvShape& s, DType dtype, const std::string& direction)
        : s(s),
          m(m),
          split(split),
          dtype(dtype),
          wgrad(direction == "wgrad"),
          gradient(direction == "dgrad"),
          planes((m + 2) * (m + 2)) {
        if (direction != "fwd" && !gradient && !wgrad)
            throw std::invalid_argument("conv_winograd: direction is fwd, dgrad or wgrad, but came " + direction);
        const int64_t pixels = std::max(int64_t(s.H) * s.W, int64_t(s.P) * s.Q);
        if (s.R != 3 || s.S != 3 || s.stride_h != 1 || s.stride_w != 1 || s.dil_h != 1 || s.dil_w != 1 ||
            pixels >= int64_t(1) << 31 || dtype == DType::float64)
            throw std::invalid_argument(
                "conv_winograd: takes 3x3 filters, stride 1, dilation 1, images of less than "
                "2^31 pixels, no float64, but came " +
                std::string(name_of(dtype)) + ", " + s.text());
        if (split && (dtype != DType::float32 || std::max(s.C, s.K) >= kSplitChannels))
            throw std::invalid_argument("conv_winograd4_split: takes float32 and fewer than " +
                                        std::to_string(kSplitChannels) + " channels, but came " + name_of(dtype) +
                                        ", " + s.text());
        source.channels = s.C, source.H = s.H, source.W = s.W;
        result.channels = s.K, result.H = s.P, result.W = s.Q;
        source.pad_h = s.pad_h, source.pad_w = s.pad_w;
        if (gradient) {
            std::swap(source, result);
            source.pad_h = 2 - s.pad_h, source.pad_w = 2 - s.pad_w;
        }
        result.pad_h = result.pad_w = 0;
        source.rows = result.rows = int(ceil_div(result.H, m));
        source.columns = result.columns = int(ceil_div(result.W, m));
        tiles = int64_t(s.N) * source.rows * source.columns;
        if (wgrad) {
            const int64_t products = planes * s.groups * ceil_div(s.Kg(), 128) * ceil_div(s.Cg(), 128);
            slices = std::max<int64_t>(std::min({kSlices, ceil_div(kProducts, products), most_tiles() / kDepth}), 1);
        }
    }

    int64_t tile_bytes() const { return planes * (int64_t(s.C) + s.K) * int64_t(sizeof(float)); }
    int64_t most_tiles() const {  // of a chunk
        return std::min(round_up(tiles, 32), std::max<int64_t>(kPlaneBytes / tile_bytes() / 32 * 32, 32));
    }
    int64_t sum_bytes() const {
        return wgrad ? round_up(slices * planes * weight_count(s) * int64_t(sizeof(float)), kAlign) : 0;
    }
    int64_t bytes(int64_t chunk) const { return sum_bytes() + round_up(chunk, 32 * slices) * tile_bytes(); }
    int64_t least() const { return bytes(std::min<int64_t>(tiles, 1)); }
    int64_t best() const { return bytes(most_tiles()); }

    // The tiles of a chunk that fits, after giving up slices where it must.
    int64_t chunk_within(int64_t limit) {
        while (slices > 1 && least() > limit) slices /= 2;
        if (least() > limit)
            throw std::invalid_argument("conv_winograd: needs a workspace of at least " + std::to_string(least()) +
                                        " bytes, but has " + std::to_string(limit) + " (" + s.text() + ")");
        const int64_t step = 32 * slices, most = round_up(most_tiles(), step);
        return std::min(most, (limit - sum_bytes()) / tile_bytes() / step * step);
    }

    // Some of the tiles of `all`, in slices of one length.
    TileBlock part_of(TileBlock all, int64_t first, int64_t count) const {
        const int64_t of_image = int64_t(all.rows) * all.columns;
        all.image = int(first / of_image), all.first = int(first % of_image);
        all.count = std::min(count, tiles - first);
        all.stride = round_up(ceil_div(all.count, slices), 32);
        return all;
    }

    // Columns of the filters of a group: kernels.h.
    int64_t padded() const { return round_up(source.channels / s.groups, 4); }
    int64_t filter_count() const { return result.channels * padded(); }

    // The planes of a chunk as the image of a 1x1 convolution.
    ConvShape as_image(int64_t stride) const {
        const int count = int(slices * planes), W = int(stride);
        return {1, count * s.C, 1, W, count * s.K, 1, 1, 1, W, 0, 0, 1, 1, 1, 1, count * s.groups, 0};
    }

    // The product of `a` and `b` for all planes and groups, images standing for slices and planes.
    void product(int64_t M, int64_t N, int64_t K, Operand a, Operand b, Operand out, bool accumulate,
                 cudaStream_t stream) const {
        const DType of_planes = dtype == DType::tf32 ? DType::tf32 : DType::float32;
        multiply({of_planes, DType::float32, M, N, K, a, b, out, slices * planes, s.groups, accumulate}, stream,
                 "conv_winograd", s.text());
    }
};

// The planes of a block, (channels of a group, tiles) for each plane and group.
Operand operand_of(const float* planes, const TileBlock& block, int groups, bool transposed) {
    const int64_t size = block.channels * block.stride;
    return {planes, block.stride, transposed, size, size / groups};
}

// (rows, columns) for each plane and group.
Operand matrix_of(const void* data, int64_t columns, int64_t of_plane, int groups) {
    return {data, columns, false, of_plane, of_plane / groups};
}

void forward(Plan plan, const void* images, const void* filters, const void* bias, bool relu, void* outputs,
             void* workspace, int64_t workspace_bytes, cudaStream_t stream) {
    const ConvShape& s = plan.s;
    const int64_t chunk = plan.chunk_within(workspace_bytes);
    for (int64_t first = 0; first < plan.tiles; first += chunk) {
        const TileBlock source = plan.part_of(plan.source, first, chunk);
        const TileBlock result = plan.part_of(plan.result, first, chunk);
        auto* const planes = static_cast<float*>(workspace);
        float* const products = planes + plan.planes * source.channels * source.stride;
        winograd_tiles(plan.m, plan.dtype, false, source, 1, images, planes, stream);
        if (!plan.split)
            plan.product(result.channels / s.groups, result.stride, source.channels / s.groups,
                         matrix_of(filters, plan.padded(), plan.filter_count(), s.groups),
                         operand_of(planes, source, s.groups, false), operand_of(products, result, s.groups, false),
                         false, stream);
        else if (plan.gradient)
            conv_implicit_split_dgrad(plan.as_image(source.stride), plan.dtype, planes, filters, products, nullptr, 0,
                                      stream);
        else
            conv_implicit_split_fwd(plan.as_image(source.stride), plan.dtype, planes, filters, nullptr, false, products,
                                    nullptr, 0, stream);
        winograd_outputs(plan.m, plan.dtype, result, products, bias, relu, outputs, stream);
    }
}

}  // namespace

template <int m>
int64_t conv_winograd_filters_bytes(const ConvShape& s, DType dtype, const std::string& direction) {
    const Plan plan(m, false, s, dtype, direction);
    return plan.planes * plan.filter_count() * int64_t(sizeof(float));
}

template <int m>
void conv_winograd_filters(const ConvShape& s, DType dtype, const std::string& direction, const void* w, void* filters,
                           cudaStream_t stream) {
    const Plan plan(m, false, s, dtype, direction);
    winograd_filters(m, dtype, s, plan.gradient, w, static_cast<float*>(filters), stream);
}

template <int m, bool split>
void conv_winograd_fwd(const ConvShape& s, DType dtype, const void* x, const void* filters, const void* bias, bool relu,
                       void* y, void* workspace, int64_t workspace_bytes, cudaStream_t stream) {
    forward({m, split, s, dtype, "fwd"}, x, filters, bias, relu, y, workspace, workspace_bytes, stream);
}

template <int m, bool split>
void conv_winograd_dgrad(const ConvShape& s, DType dtype, const void* dy, const void* filters, void* dx,
                         void* workspace, int64_t workspace_bytes, cudaStream_t stream) {
    forward({m, split, s, dtype, "dgrad"}, dy, filters, nullptr, false, dx, workspace, workspace_bytes, stream);
}

template <int m, bool split>
void conv_winograd_wgrad(const ConvShape& s, DType dtype, const void* x, const void* dy, void* dw, void* workspace,
                         int64_t workspace_bytes, cudaStream_t stream) {
    Plan plan(m, split, s, dtype, "wgrad");
    const int64_t chunk = plan.chunk_within(workspace_bytes);
    if (plan.tiles == 0) {
        if (cudaMemsetAsync(dw, 0, size_t(s.w_size() * size_of(dtype)), stream) != cudaSuccess)
            throw std::runtime_error("conv_winograd_wgrad: CUDA should write zeros, but failed (" + s.text() + ")");
        return;
    }
    auto* const sums = static_cast<float*>(workspace);
    float* const x_planes = sums + plan.sum_bytes() / int64_t(sizeof(float));
    for (int64_t first = 0; first < plan.tiles; first += chunk) {
        const TileBlock of_x = plan.part_of(plan.source, first, chunk);
        const TileBlock of_dy = plan.part_of(plan.result, first, chunk);
        float* const dy_planes = x_planes + plan.slices * plan.planes * of_x.channels * of_x.stride;
        winograd_tiles(m, dtype, false, of_x, int(plan.slices), x, x_planes, stream);
        winograd_tiles(m, dtype, true, of_dy, int(plan.slices), dy, dy_planes, stream);
        if (split)
            implicit_split_sums(plan.as_image(of_x.stride), x_planes, dy_planes, sums, first > 0, stream);
        else
            plan.product(s.Kg(), s.Cg(), of_x.stride, operand_of(dy_planes, of_dy, s.groups, false),
                         operand_of(x_planes, of_x, s.groups, true), matrix_of(sums, s.Cg(), weight_count(s), s.groups),
                         first > 0, stream);
    }
    winograd_gradient(m, dtype, weight_count(s), int(plan.slices), sums, dw, stream);
}

template <int m, bool split>
std::pair<int64_t, int64_t> conv_winograd_workspace(const ConvShape& s, DType dtype, const std::string& direction) {
    Plan plan(m, split, s, dtype, direction);
    const int64_t best = plan.best();
    plan.slices = 1;
    return {plan.least(), best};
}

#define INSTANTIATE_FILTERS(m)                                                                              \
    template int64_t conv_winograd_filters_bytes<m>(const ConvShape&, DType, const std::string&);           \
    template void conv_winograd_filters<m>(const ConvShape&, DType, const std::string&, const void*, void*, \
                                           cudaStream_t);
#define INSTANTIATE(m, split)                                                                                       \
    template void conv_winograd_fwd<m, split>(const ConvShape&, DType, const void*, const void*, const void*, bool, \
                                              void*, void*, int64_t, cudaStream_t);                                 \
    template void conv_winograd_dgrad<m, split>(const ConvShape&, DType, const void*, const void*, void*, void*,    \
                                                int64_t, cudaStream_t);                                             \
    template void conv_winograd_wgrad<m, split>(const ConvShape&, DType, const void*, const void*, void*, void*,    \
                                                int64_t, cudaStream_t);                                             \
    template std::pair<int64_t, int64_t> conv_winograd_workspace<m, split>(const ConvShape&, DType, const std::string&);
INSTANTIATE_FILTERS(2)
INSTANTIATE_FILTERS(4)
INSTANTIATE(2, false)
INSTANTIATE(4, false)
INSTANTIATE(4, true)
