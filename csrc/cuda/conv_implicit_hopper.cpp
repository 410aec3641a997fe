// implicit_hopper: products of kernels/implicit_hopper.cu read images in NHWC order, for the tensor memory accelerator
// loads runs of channels, and write the output in the order of the shape. Images in NCHW order are copied first, as are
// those whose channels are no multiple of 8.
//
//   fwd     one product: x, every tap
//           fwd_statistics: and the mean and variance of each channel of y, for batch normalisation
//   dgrad   one a phase of the stride (axis_phase.h): dy, the taps that this phase's pixels of dx meet, last to first,
//           as offsets of the accelerator count upwards
//   wgrad   one product of dy and x, in splits of the sum over positions that fill the GPU; sum_parts adds them
//
// The copies lie in the workspace, for as many images at a time as fit; wgrad adds the images' sums there too. A copy
// reads and writes its image once: predicted for an H100 and 3x3 filters, 64 x 256 x 56 x 56 -> 256, 0.07 ms at 3 TB/s
// beside 0.37 ms of products.
#include <algorithm>
#include <stdexcept>

#include "axis_phase.h"
#include "functions.h"
#include "kernels.h"
#include "tensor_map.h"

namespace {

constexpr int64_t kAlign = 128;                                       // of the copies, in bytes
constexpr int64_t kBlocks = 264, kMostSplits = 128, kLeastSteps = 4;  // of wgrad: blocks of an H100; steps of a split
constexpr int64_t kMostTerms = 6144;  // that tensor cores add up, as they truncate: see gpucnn/conv/algos.py

int padded(int channels) { return (channels + 7) / 8 * 8; }

struct Images {
    int channels, H, W;
    bool channels_last;

    int64_t bytes() const { return int64_t(channels) * H * W * 2; }  // of one image
    bool as_they_are() const { return channels_last && channels == padded(channels); }
    int64_t copy_bytes() const { return as_they_are() ? 0 : int64_t(padded(channels)) * H * W * 2; }

    // So many images from image n on, for tensor maps: themselves, or a copy in `memory`.
    const void* in_nhwc(const void* data, int n, int images, void* memory, cudaStream_t stream) const {
        const char* const first = static_cast<const char*>(data) + n * bytes();
        const int64_t plane = int64_t(H) * W;
        if (as_they_are()) return first;
        if (channels_last)
            pad_channels(images * plane, channels, padded(channels), first, memory, stream);
        else
            transpose_matrices(2, images, channels, plane, padded(channels), first, memory, stream);
        return memory;
    }

    // How many fit into so many bytes of copies.
    int at_once(int N, int64_t bytes) const {
        return as_they_are() ? N : int(std::min<int64_t>(bytes / copy_bytes(), N));
    }
};

void require_bytes(const ConvShape& s, int64_t least, int64_t bytes) {
    if (bytes < least)
        throw std::invalid_argument("conv_implicit_hopper: needs a workspace of at least " + std::to_string(least) +
                                    " bytes, but has " + std::to_string(bytes) + " (" + s.text() + ")");
}

char* aligned(void* workspace) {
    return static_cast<char*>(workspace) + -reinterpret_cast<uintptr_t>(workspace) % kAlign;
}

Images images_of_x(const ConvShape& s) { return {s.C, s.H, s.W, s.channels_last != 0}; }
Images images_of_y(const ConvShape& s) { return {s.K, s.P, s.Q, s.channels_last != 0}; }

// The limits of tensor maps; gpucnn/conv/algos.py says the same.
void require_taken(const ConvShape& s, DType dtype) {
    const int64_t reach_h = int64_t(s.dil_h) * (s.R - 1), reach_w = int64_t(s.dil_w) * (s.S - 1);
    const int64_t largest = std::max(int64_t(s.C) * s.H * s.W, int64_t(s.K) * s.P * s.Q);
    if ((dtype != DType::float16 && dtype != DType::bfloat16) || s.groups != 1 ||
        std::max(s.stride_h, s.stride_w) > 8 || std::max(s.pad_h, s.pad_w) > 127 || std::max(reach_h, reach_w) > 127 ||
        largest >= int64_t(1) << 31)
        throw std::invalid_argument(
            "conv_implicit_hopper: takes float16 or bfloat16, one group, strides to 8, padding and dilation (taps - 1) "
            "to 127, images of less than 2^31 elements, but came " +
            std::string(name_of(dtype)) + ", " + s.text());
}

// One axis of a product.
struct Axis {
    int positions, taps, first_tap, tap_apart;
    int lower, stride, offset;  // of the source, in pixels
    int first, apart;           // of the output: where positions lie

    // How far behind the last pixel of the source, of so many, the last position lies; 0 if nothing is read. A little
    // further, where a map's corner cannot lie so far before it: less than a stride, so that no position is added.
    int upper(int size) const { return taps ? std::max(lower + (positions - 1) * stride - (size - 1), -128) : 0; }
};

Axis forward_axis(int out, int taps, int pad, int stride, int dilation) {
    return {out, taps, 0, 1, -pad, stride, dilation, 0, 1};
}

Axis phase_axis(int index, int size, int taps, int pad, int stride, int dilation) {
    const AxisPhase p = phase_of_axis(index, size, pad, stride, dilation, taps);
    if (p.taps == 0) return {p.size, 0, 0, 0, 0, 1, 0, p.first, p.apart};
    const int step = int(p.step), last = p.taps - 1;  // step is negative
    return {p.size,  p.taps, p.first_tap + last * p.tap_apart, -p.tap_apart, int(p.shift) + last * step, 1, -step,
            p.first, p.apart};
}

ImageMap image_map(const Images& source, int images, const Axis& h, const Axis& w, int positions) {
    return {images,   source.H, source.W,          padded(source.channels),
            h.lower,  w.lower,  h.upper(source.H), w.upper(source.W),
            h.stride, w.stride, kHopperChannels,   positions};
}

// The images of one chunk: nhwc -> out, whose (n, filter, h, w) have these strides.
struct Chunk {
    const ConvShape& s;
    DType dtype;
    Images source;
    int images, filters;
    int out_H, out_W;
    const void *nhwc, *weights, *bias;
    bool relu;
    char* out;
    float* statistics;  // (tiles, 3, filters), or null
    cudaStream_t stream;

    void run(const Axis& h, const Axis& w) const {
        const int channels = padded(source.channels);
        const ImageMap image = image_map(source, images, h, w, kHopperPositions);
        const FilterMap filter{filters, s.R * s.S, channels, kHopperChannels, kHopperFilters};
        const int64_t plane = int64_t(out_H) * out_W;
        const int64_t pixel_apart = source.channels_last ? filters : 1;
        const bool any = h.taps && w.taps;
        const HopperProduct product{images,
                                    h.positions,
                                    w.positions,
                                    filters,
                                    channels,
                                    any ? h.taps : 0,
                                    any ? w.taps : 0,
                                    h.first_tap * s.S + w.first_tap,
                                    h.tap_apart * s.S,
                                    w.tap_apart,
                                    h.lower,
                                    w.lower,
                                    h.stride,
                                    w.stride,
                                    h.offset,
                                    w.offset,
                                    filters * plane,
                                    int64_t(h.apart) * out_W * pixel_apart,
                                    w.apart * pixel_apart,
                                    source.channels_last ? 1 : plane};
        char* const first = out + (int64_t(h.first) * out_W + w.first) * pixel_apart * 2;
        // Positions side by side in memory are stored by the accelerator.
        const bool dense = source.channels_last && filters % 8 == 0 && h.apart == 1 && w.apart == 1 &&
                           reinterpret_cast<uintptr_t>(first) % 16 == 0 && product.positions() < int64_t(1) << 31;
        CUtensorMap outputs;
        if (dense)
            outputs = tensor_map(FilterMap{int(product.positions()), 1, filters, kHopperStored, kHopperStoredRows},
                                 dtype, first, s.text());
        implicit_hopper(product, dtype, tensor_map(image, dtype, nhwc, s.text()),
                        tensor_map(filter, dtype, weights, s.text()), dense ? &outputs : nullptr, bias, relu, first,
                        statistics, stream);
    }
};

// Tiles of so many positions.
int64_t tiles_of(int64_t positions) { return (positions + kHopperPositions - 1) / kHopperPositions; }

// Gives the number of images at a time, of which each begins a tile of the statistics.
int run(const ConvShape& s, DType dtype, bool gradient, const void* data, const void* filters, const void* bias,
        bool relu, void* out, float* statistics, void* workspace, int64_t workspace_bytes, cudaStream_t stream) {
    require_taken(s, dtype);
    if (s.N == 0) return 1;
    const Images source = gradient ? images_of_y(s) : images_of_x(s);
    require_bytes(s, kAlign + source.copy_bytes(), workspace_bytes);
    const int at_once = source.at_once(s.N, workspace_bytes - kAlign);
    const int out_channels = gradient ? s.C : s.K, out_H = gradient ? s.H : s.P, out_W = gradient ? s.W : s.Q;
    for (int n = 0; n < s.N; n += at_once) {
        const int images = std::min(at_once, s.N - n);
        const void* const nhwc = source.in_nhwc(data, n, images, aligned(workspace), stream);
        const Chunk chunk{
            s,          dtype,        source,
            images,     out_channels, out_H,
            out_W,      nhwc,         filters,
            bias,       relu,         static_cast<char*>(out) + n * (int64_t(out_channels) * out_H * out_W) * 2,
            statistics, stream};
        if (statistics) statistics += tiles_of(int64_t(images) * s.P * s.Q) * 3 * s.K;
        if (!gradient) {
            chunk.run(forward_axis(s.P, s.R, s.pad_h, s.stride_h, s.dil_h),
                      forward_axis(s.Q, s.S, s.pad_w, s.stride_w, s.dil_w));
            continue;
        }
        for (int h = 0; h < std::min(s.stride_h, s.H); ++h)
            for (int w = 0; w < std::min(s.stride_w, s.W); ++w)
                chunk.run(phase_axis(h, s.H, s.R, s.pad_h, s.stride_h, s.dil_h),
                          phase_axis(w, s.W, s.S, s.pad_w, s.stride_w, s.dil_w));
    }
    return at_once;
}

// Of one image at a time, which is the most.
int64_t statistics_bytes(const ConvShape& s) { return s.N * tiles_of(int64_t(s.P) * s.Q) * 3 * s.K * 4; }

// How wgrad uses a workspace: copies of x and dy for some images, then the sums of the splits. A split of the images
// that are there at a time has kMostTerms positions at most.
struct GradientPlan {
    int64_t positions;                  // of one image
    int64_t image_bytes, sum_bytes;     // of one image, of one split
    int64_t least_splits, most_splits;  // for one image; of use

    explicit GradientPlan(const ConvShape& s)
        : positions(int64_t(s.P) * s.Q),
          image_bytes(images_of_x(s).copy_bytes() + images_of_y(s).copy_bytes()),
          sum_bytes(s.w_size() * 4),
          least_splits((positions + kMostTerms - 1) / kMostTerms) {
        constexpr int side = 2 * kHopperChannels;  // of a tile: filters, and channels
        const int64_t tiles = int64_t(s.R) * s.S * ((s.K + side - 1) / side) * ((s.C + side - 1) / side);
        const int64_t steps = int64_t(s.N) * s.P * s.Q / kHopperTerms;
        most_splits = std::max(std::min({kMostSplits, kBlocks / tiles + 1, steps / kLeastSteps}), least_splits);
    }
    int64_t bytes(int64_t images, int64_t splits) const { return kAlign + images * image_bytes + splits * sum_bytes; }
    int64_t least() const { return bytes(1, least_splits); }
    int64_t splits(int64_t limit) const { return std::min(most_splits, least_splits + (limit - least()) / sum_bytes); }
    int64_t images(int64_t limit) const {
        const int64_t most = most_images(splits(limit));
        return image_bytes ? std::min((limit - bytes(0, splits(limit))) / image_bytes, most) : most;
    }
    int64_t most_images(int64_t splits) const { return kMostTerms * splits / positions; }
    int64_t best(int64_t N) const { return bytes(std::min(N, most_images(most_splits)), most_splits); }
};

}  // namespace

std::pair<int64_t, int64_t> conv_implicit_hopper_workspace(const ConvShape& s, DType dtype,
                                                           const std::string& direction) {
    if (direction != "fwd" && direction != "fwd_statistics" && direction != "dgrad" && direction != "wgrad")
        throw std::invalid_argument(
            "conv_implicit_hopper: direction is fwd, fwd_statistics, dgrad or wgrad, but came " + direction);
    require_taken(s, dtype);
    if (s.N == 0) return {0, 0};
    if (direction == "wgrad") {
        const GradientPlan plan(s);
        return {plan.least(), plan.best(s.N)};
    }
    const int64_t image = (direction == "dgrad" ? images_of_y(s) : images_of_x(s)).copy_bytes();
    const int64_t beside = kAlign + (direction == "fwd_statistics" ? statistics_bytes(s) : 0);
    return {beside + image, beside + s.N * image};
}

void conv_implicit_hopper_fwd(const ConvShape& s, DType dtype, const void* x, const void* filters, const void* bias,
                              bool relu, void* y, void* workspace, int64_t workspace_bytes, cudaStream_t stream) {
    run(s, dtype, false, x, filters, bias, relu, y, nullptr, workspace, workspace_bytes, stream);
}

void conv_implicit_hopper_fwd_statistics(const ConvShape& s, DType dtype, const void* x, const void* filters, void* y,
                                         float* mean, float* var, void* workspace, int64_t workspace_bytes,
                                         cudaStream_t stream) {
    const int64_t bytes = statistics_bytes(s);
    require_bytes(s, conv_implicit_hopper_workspace(s, dtype, "fwd_statistics").first, workspace_bytes);
    auto* const statistics = reinterpret_cast<float*>(workspace);
    const int at_once = run(s, dtype, false, x, filters, nullptr, false, y, statistics,
                            static_cast<char*>(workspace) + bytes, workspace_bytes - bytes, stream);
    const int64_t positions = int64_t(s.P) * s.Q;
    merge_statistics(s.N * positions, at_once * positions, s.K, statistics, mean, var, stream);
}

void conv_implicit_hopper_dgrad(const ConvShape& s, DType dtype, const void* dy, const void* filters, void* dx,
                                void* workspace, int64_t workspace_bytes, cudaStream_t stream) {
    run(s, dtype, true, dy, filters, nullptr, false, dx, nullptr, workspace, workspace_bytes, stream);
}

void conv_implicit_hopper_wgrad(const ConvShape& s, DType dtype, const void* x, const void* dy, void* dw,
                                void* workspace, int64_t workspace_bytes, cudaStream_t stream) {
    require_taken(s, dtype);
    if (s.N == 0) {
        if (cudaMemsetAsync(dw, 0, size_t(s.w_size() * size_of(dtype)), stream) != cudaSuccess)
            throw std::runtime_error("conv_implicit_hopper: CUDA should write zeros, but failed (" + s.text() + ")");
        return;
    }
    const GradientPlan plan(s);
    require_bytes(s, plan.least(), workspace_bytes);
    const int at_once = int(std::min<int64_t>(plan.images(workspace_bytes), s.N));
    const int splits = int(plan.splits(workspace_bytes));
    const Images of_x = images_of_x(s), of_y = images_of_y(s);
    char *const x_copy = aligned(workspace), *const dy_copy = x_copy + at_once * of_x.copy_bytes();
    auto* const sums = reinterpret_cast<float*>(dy_copy + at_once * of_y.copy_bytes());
    const Axis h = forward_axis(s.P, s.R, s.pad_h, s.stride_h, s.dil_h);
    const Axis w = forward_axis(s.Q, s.S, s.pad_w, s.stride_w, s.dil_w);
    for (int n = 0; n < s.N; n += at_once) {
        const int images = std::min(at_once, s.N - n);
        const void* const x_nhwc = of_x.in_nhwc(x, n, images, x_copy, stream);
        const void* const dy_nhwc = of_y.in_nhwc(dy, n, images, dy_copy, stream);
        const ImageMap x_map = image_map(of_x, images, h, w, kHopperTerms);
        const ImageMap dy_map{images, s.P, s.Q, padded(s.K), 0, 0, 0, 0, 1, 1, kHopperChannels, kHopperTerms};
        implicit_hopper_wgrad({images, s.P, s.Q, s.K, s.C, s.R, s.S, h.lower, w.lower, h.stride, w.stride, h.offset,
                               w.offset, splits, n > 0},
                              dtype, tensor_map(dy_map, dtype, dy_nhwc, s.text()),
                              tensor_map(x_map, dtype, x_nhwc, s.text()), sums, stream);
    }
    sum_parts(dtype, s.w_size(), splits, sums, dw, stream);
}
