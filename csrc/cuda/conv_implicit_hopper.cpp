// implicit_hopper: the image is copied to NHWC, for the tensor memory accelerator loads runs of channels; then products
// of kernels/implicit_hopper.cu read it and write the output in NCHW, or whatever strides they are given.
//
//   fwd     one product: x, every tap
//   dgrad   one a phase of the stride (axis_phase.h): dy, the taps that this phase's pixels of dx meet, last to first,
//           as offsets of the accelerator count upwards
//
// The copy lies in the workspace, for as many images at a time as fit. It costs 2 x_size elements of traffic: 8 to 15 %
// of the time of a 3x3 layer of 256 channels on an H100, and nothing once images are kept in NHWC.
#include <algorithm>
#include <stdexcept>

#include "axis_phase.h"
#include "functions.h"
#include "kernels.h"
#include "tensor_map.h"

namespace {

constexpr int64_t kAlign = 128;  // of the copy, in bytes

int padded(int channels) { return (channels + 7) / 8 * 8; }

struct Images {
    int channels, H, W;

    Images(const ConvShape& s, bool gradient)
        : channels(gradient ? s.K : s.C), H(gradient ? s.P : s.H), W(gradient ? s.Q : s.W) {}
    int64_t elements() const { return int64_t(channels) * H * W; }                // of one image
    int64_t copy_bytes() const { return int64_t(padded(channels)) * H * W * 2; }  // of one image
};

void require_direction(const std::string& direction) {
    if (direction != "fwd" && direction != "dgrad")
        throw std::invalid_argument("conv_implicit_hopper: direction is fwd or dgrad, but came " + direction);
}

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

    // How far behind the last pixel of the source, of so many, the last position lies; 0 if nothing is read.
    int upper(int size) const { return taps ? lower + (positions - 1) * stride - (size - 1) : 0; }
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
    cudaStream_t stream;

    void run(const Axis& h, const Axis& w) const {
        const int channels = padded(source.channels);
        const ImageMap image{images,   source.H, source.W,          channels,
                             h.lower,  w.lower,  h.upper(source.H), w.upper(source.W),
                             h.stride, w.stride, kHopperChannels,   kHopperPositions};
        const FilterMap filter{filters, s.R * s.S, channels, kHopperChannels, kHopperFilters};
        const int64_t plane = int64_t(out_H) * out_W;
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
                                    int64_t(h.apart) * out_W,
                                    w.apart,
                                    plane};
        implicit_hopper(product, dtype, tensor_map(image, dtype, nhwc, s.text()),
                        tensor_map(filter, dtype, weights, s.text()), bias, relu,
                        out + (int64_t(h.first) * out_W + w.first) * 2, stream);
    }
};

void run(const ConvShape& s, DType dtype, bool gradient, const void* data, const void* filters, const void* bias,
         bool relu, void* out, void* workspace, int64_t workspace_bytes, cudaStream_t stream) {
    require_taken(s, dtype);
    if (s.N == 0) return;
    const Images source(s, gradient);
    const int64_t fit = (workspace_bytes - kAlign) / source.copy_bytes();
    if (workspace_bytes < kAlign || fit < 1)
        throw std::invalid_argument("conv_implicit_hopper: needs a workspace of at least " +
                                    std::to_string(kAlign + source.copy_bytes()) + " bytes, but has " +
                                    std::to_string(workspace_bytes) + " (" + s.text() + ")");
    char* const nhwc = static_cast<char*>(workspace) + -reinterpret_cast<uintptr_t>(workspace) % kAlign;
    const int at_once = int(std::min<int64_t>(fit, s.N));
    const int out_channels = gradient ? s.C : s.K, out_H = gradient ? s.H : s.P, out_W = gradient ? s.W : s.Q;
    for (int n = 0; n < s.N; n += at_once) {
        const int images = std::min(at_once, s.N - n);
        nchw_to_nhwc(images, source.channels, int64_t(source.H) * source.W, padded(source.channels),
                     static_cast<const char*>(data) + n * source.elements() * 2, nhwc, stream);
        const Chunk chunk{
            s,      dtype,        source,
            images, out_channels, out_H,
            out_W,  nhwc,         filters,
            bias,   relu,         static_cast<char*>(out) + n * (int64_t(out_channels) * out_H * out_W) * 2,
            stream};
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
}

}  // namespace

std::pair<int64_t, int64_t> conv_implicit_hopper_workspace(const ConvShape& s, DType dtype,
                                                           const std::string& direction) {
    require_direction(direction);
    require_taken(s, dtype);
    const int64_t image = Images(s, direction == "dgrad").copy_bytes();
    return s.N ? std::pair(kAlign + image, kAlign + s.N * image) : std::pair(int64_t(0), int64_t(0));
}

void conv_implicit_hopper_fwd(const ConvShape& s, DType dtype, const void* x, const void* filters, const void* bias,
                              bool relu, void* y, void* workspace, int64_t workspace_bytes, cudaStream_t stream) {
    run(s, dtype, false, x, filters, bias, relu, y, workspace, workspace_bytes, stream);
}

void conv_implicit_hopper_dgrad(const ConvShape& s, DType dtype, const void* dy, const void* filters, void* dx,
                                void* workspace, int64_t workspace_bytes, cudaStream_t stream) {
    run(s, dtype, true, dy, filters, nullptr, false, dx, workspace, workspace_bytes, stream);
}
