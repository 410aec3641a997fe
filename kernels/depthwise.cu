// depthwise: convolutions with one input channel a group (C = groups), such as those of MobileNet, for any filter,
// stride and dilation. There are no sums over channels for tensor cores, and few products for each pixel.
//
//   fwd     y  (N, K, P, Q)  reads x (N, C, H, W), w (K, 1, R, S), bias (K,) or null     channel k reads k / (K / C)
//   dgrad   dx (N, C, H, W)  reads dy, w; by phases of the stride (axis_phase.h)
//   wgrad   dw (K, 1, R, S)  reads x, dy
//
// fwd, dgrad: a thread makes kRows outputs of one column, one below the other; a warp has neighbouring columns, whose
// loads coalesce, and a block one channel, whose weights all threads read at once. Where rows of outputs and of taps
// are as far apart (stride = dilation), a pixel meets the next tap with the output above: the thread reads each pixel
// of a column once, and keeps kRows weights in registers, through which the filter slides; filters of 3, 5 and 7 rows
// are unrolled. Pixels come from L1, where
// the columns and rows that neighbours share are read once from memory.
// wgrad: a block takes kTaps taps of one channel and a slice of the positions (n, p, q): a thread reads dy once for all
// of its taps; the sums of its threads are added in a tree. Float32 sums of the slices lie in the workspace (slices, K,
// R, S), and sum_parts adds them in order; without workspace there is one slice.
// Sums in float32, in one order: the same bits in every run, and for fwd and dgrad in any batch.
// Speed: memory for small filters. 3x3 moves 8 bytes and issues about 45 instructions an output in float32: 3.4 TB/s
// (H100) allow 0.42e12 outputs a second, the instructions 0.64e12. 31x31 spends 8 multiply-adds of about 12
// instructions a tap and pixel: bound by issue at about 60 % of the float32 peak. wgrad reads a pixel for each product,
// from L1: one a clock, so that large filters reach a quarter of the peak. Called by the rows "depthwise" (bound in
// csrc/bind_cuda.cpp).
#include "axis_phase.h"
#include "reduce.cuh"

namespace {

constexpr int kRows = 8, kTaps = 9;
constexpr int64_t kBlocks = 1024;      // fill a GPU
constexpr int64_t kSliceTerms = 4096;  // of a slice, at least: else its results cost more
#ifdef __CUDACC__
constexpr int64_t kMostItems = std::numeric_limits<int>::max();  // of a launch, which counts them in 32 bits
#else
constexpr int64_t kMostItems = 7;  // on the host, so that small tests take several launches
#endif

// One axis of a phase: position p and tap t meet at p * scale + shift + t * step in the source; step is not negative.
struct Axis {
    int size, first, apart;  // positions, and where they lie in the output
    int taps, first_tap, tap_apart;
    unsigned scale, shift, step;
};

__device__ inline Axis axis_of(bool gradient, int phase, int in, int out, int pad, int stride, int dilation, int taps) {
    if (!gradient) return {out, 0, 1, taps, 0, 1, unsigned(stride), 0u - unsigned(pad), unsigned(dilation)};
    const AxisPhase p = phase_of_axis(phase, in, pad, stride, dilation, taps);
    const int last = p.taps - 1;  // first here, as its pixels are the first
    return {p.size,
            p.first,
            p.apart,
            p.taps,
            p.first_tap + last * p.tap_apart,
            -p.tap_apart,
            1u,
            p.shift + unsigned(last) * p.step,
            0u - p.step};
}

// A column of the source under the rows of weights, for positions one below the other: row i meets tap t at i - t.
// kFilter taps, if not 0. Weights beyond the filter meet no pixel, as a pixel may be infinite.
template <int kFilter, class T>
__device__ void slide(const Axis& h, const T* column, int H, int64_t W, unsigned row, const T* tap, int64_t next_tap,
                      Acc (&sums)[kRows]) {
    const int taps = kFilter != 0 ? kFilter : h.taps;
    Acc weights[kRows] = {};
    const auto step = [&](int i, bool inside) {
#pragma unroll
        for (int u = kRows - 1; u > 0; --u) weights[u] = weights[u - 1];
        if (i < taps) weights[0] = static_cast<Acc>(*tap), tap += next_tap;
        const Acc pixel = row < unsigned(H) ? static_cast<Acc>(column[row * W]) : Acc(0);
        row += h.scale;
#pragma unroll
        for (int u = 0; u < kRows; ++u)
            if (inside || (i >= u && i - u < taps)) sums[u] += weights[u] * pixel;
    };
    if constexpr (kFilter != 0) {
#pragma unroll
        for (int i = 0; i < kRows + kFilter - 1; ++i) step(i, false);
    } else {
        int i = 0;
        for (; i < kRows - 1; ++i) step(i, false);
#pragma unroll kRows
        for (; i < taps; ++i) step(i, true);
        for (; i < kRows + taps - 1; ++i) step(i, false);
    }
}

// Two blocks a multiprocessor where taps are counted: left to itself, ptxas spills to fit three.
template <int kFilter, class T>
__global__ void __launch_bounds__(kThreads, kFilter == 0 ? 2 : 1)
    depthwise_kernel(ConvShape s, bool gradient, int first_phase, int phases_w, unsigned chunks, unsigned items,
                     const T* __restrict__ images, const T* __restrict__ w, const T* __restrict__ bias, bool relu,
                     T* __restrict__ out) {
    const int channels = gradient ? s.C : s.K, sources = gradient ? s.K : s.C;
    const int H = gradient ? s.P : s.H, W = gradient ? s.Q : s.W;  // of the source
    const int out_H = gradient ? s.H : s.P, out_W = gradient ? s.W : s.Q;
    for (unsigned item = blockIdx.x; item < items; item += gridDim.x) {
        const int channel = int(item / chunks % channels), phase = first_phase + int(item / chunks / channels);
        const Axis h = axis_of(gradient, phase / phases_w, s.H, s.P, s.pad_h, s.stride_h, s.dil_h, s.R);
        const Axis v = axis_of(gradient, phase % phases_w, s.W, s.Q, s.pad_w, s.stride_w, s.dil_w, s.S);
        const unsigned of_image = unsigned(ceil_div(h.size, kRows)) * v.size;
        const unsigned place = item % chunks * kThreads + threadIdx.x;
        const int64_t n = place / of_image;
        if (n >= s.N) continue;
        const int p = int(place % of_image / v.size) * kRows, q = int(place % of_image % v.size);

        Acc sums[kRows] = {};
        for (int member = 0; member < (gradient ? s.Kg() : 1); ++member) {
            const int source = gradient ? channel * s.Kg() + member : channel / s.Kg();
            const T* image = images + (n * sources + source) * H * W;
            const T* filter = w + int64_t(gradient ? source : channel) * s.R * s.S;
            for (int t = 0; t < v.taps; ++t) {
                const unsigned column = q * v.scale + v.shift + t * v.step;
                if (column >= unsigned(W)) continue;
                const T* tap = filter + int64_t(h.first_tap) * s.S + v.first_tap + t * v.tap_apart;
                const int64_t next_tap = int64_t(h.tap_apart) * s.S;
                unsigned row = p * h.scale + h.shift;
                if (kFilter != 0 || h.scale == h.step) {
                    slide<kFilter>(h, image + column, H, W, row, tap, next_tap, sums);
                } else {
                    for (int i = 0; i < h.taps; ++i, row += h.step, tap += next_tap) {
                        const Acc weight = static_cast<Acc>(*tap);
#pragma unroll
                        for (int u = 0; u < kRows; ++u) {
                            const unsigned here = row + u * h.scale;
                            if (here < unsigned(H))
                                sums[u] += weight * static_cast<Acc>(image[int64_t(here) * W + column]);
                        }
                    }
                }
            }
        }
        const Acc offset = bias ? static_cast<Acc>(bias[channel]) : Acc(0);
        T* plane = out + (n * channels + channel) * out_H * out_W + v.first + int64_t(q) * v.apart;
#pragma unroll
        for (int u = 0; u < kRows; ++u) {
            const Acc sum = sums[u] + offset;
            if (p + u < h.size)
                plane[(h.first + int64_t(p + u) * h.apart) * out_W] = static_cast<T>(relu && sum < 0 ? Acc(0) : sum);
        }
    }
}

// Writes partial (slices, K, R, S), or dw where partial is null.
template <class T>
__global__ void __launch_bounds__(kThreads)
    depthwise_wgrad_kernel(ConvShape s, int parts, unsigned items, unsigned terms_of_slice, const T* __restrict__ x,
                           const T* __restrict__ dy, float* __restrict__ partial, T* __restrict__ dw) {
    const int taps = s.R * s.S;
    const unsigned pixels = unsigned(s.P) * s.Q, terms = s.N * pixels;
    const int step_n = int(kThreads / pixels), step_p = int(kThreads % pixels) / s.Q, step_q = kThreads % s.Q;
    for (unsigned item = blockIdx.x; item < items; item += gridDim.x) {
        const int first_tap = int(item % parts) * kTaps, k = int(item / parts % s.K);
        const unsigned slice = item / parts / s.K;
        unsigned shift_h[kTaps], shift_w[kTaps];
#pragma unroll
        for (int t = 0; t < kTaps; ++t) {
            const int tap = first_tap + t < taps ? first_tap + t : first_tap;  // some may be computed in vain
            shift_h[t] = unsigned(tap / s.S) * s.dil_h - s.pad_h, shift_w[t] = unsigned(tap % s.S) * s.dil_w - s.pad_w;
        }
        const unsigned begin = slice * terms_of_slice + threadIdx.x;
        const unsigned end = terms - slice * terms_of_slice < terms_of_slice ? terms : (slice + 1) * terms_of_slice;
        int n = int(begin / pixels), p = int(begin % pixels) / s.Q, q = int(begin % pixels) % s.Q;
        Acc sums[kTaps] = {};
        for (unsigned j = begin; j < end; j += kThreads) {
            const Acc gradient = static_cast<Acc>(dy[(int64_t(n) * s.K + k) * pixels + p * s.Q + q]);
            const T* image = x + (int64_t(n) * s.C + k / s.Kg()) * s.H * s.W;
#pragma unroll
            for (int t = 0; t < kTaps; ++t) {
                const unsigned row = unsigned(p) * s.stride_h + shift_h[t],
                               column = unsigned(q) * s.stride_w + shift_w[t];
                if (row < unsigned(s.H) && column < unsigned(s.W))
                    sums[t] += gradient * static_cast<Acc>(image[int64_t(row) * s.W + column]);
            }
            if ((q += step_q) >= s.Q) q -= s.Q, ++p;
            if ((p += step_p) >= s.P) p -= s.P, ++n;
            n += step_n;
        }
#pragma unroll
        for (int t = 0; t < kTaps; ++t) {
            const Acc sum = block_reduce(sums[t], Sum());
            const int64_t at = int64_t(k) * taps + first_tap + t;
            if (threadIdx.x != 0 || first_tap + t >= taps) continue;
            if (partial)
                partial[int64_t(slice) * s.K * taps + at] = sum;
            else
                dw[at] = static_cast<T>(sum);
        }
    }
}

void require_taken(const char* op, const ConvShape& s) {
    const double pixels = double(s.N) * std::max(double(s.H) * s.W, double(s.P) * s.Q);
    if (s.Cg() != 1 || std::max(pixels, double(s.K) * s.R * s.S) >= double(1u << 31))
        throw std::invalid_argument(std::string(op) +
                                    ": takes one input channel a group, with less than 2^31 pixels and taps, " +
                                    "but came groups = " + std::to_string(s.groups) + ", " + s.text());
}

int64_t parts_of(const ConvShape& s) { return ceil_div(int64_t(s.R) * s.S, int64_t(kTaps)); }

int64_t slices_of(const ConvShape& s, int64_t bytes) {
    const int64_t wanted = std::min(ceil_div(kBlocks, parts_of(s) * s.K), s.N * (int64_t(s.P) * s.Q) / kSliceTerms);
    const int64_t slices = std::min(wanted, bytes / (s.w_size() * int64_t(sizeof(float))));
    return slices < 2 ? 1 : slices;
}

// Rows that slide, with a filter of a height that the kernel is unrolled for; else 0.
int fixed_filter(const ConvShape& s, bool gradient) {
    const bool slides = s.stride_h == s.dil_h && (!gradient || s.stride_h == 1);
    return slides && (s.R == 3 || s.R == 5 || s.R == 7) ? s.R : 0;
}

template <class F>
void with_filter(int filter, F&& f) {
    if (filter == 3) return f(std::integral_constant<int, 3>());
    if (filter == 5) return f(std::integral_constant<int, 5>());
    if (filter == 7) return f(std::integral_constant<int, 7>());
    f(std::integral_constant<int, 0>());
}

void run(const char* op, const ConvShape& s, DType dtype, bool gradient, const void* images, const void* w,
         const void* bias, bool relu, void* out, cudaStream_t stream) {
    require_taken(op, s);
    if (s.N == 0) return;
    const int phases_h = gradient ? std::min(s.stride_h, s.H) : 1, phases_w = gradient ? std::min(s.stride_w, s.W) : 1;
    const int64_t rows = gradient ? ceil_div(s.H, s.stride_h) : s.P,
                  columns = gradient ? ceil_div(s.W, s.stride_w) : s.Q;
    const int64_t chunks = ceil_div(s.N * ceil_div(rows, int64_t(kRows)) * columns, int64_t(kThreads));
    // Phases can be as many as pixels. Those of one launch; one phase alone has fewer items than 2^31 in any memory.
    const int64_t of_phase = chunks * (gradient ? s.C : s.K), phases = int64_t(phases_h) * phases_w;
    const int64_t at_once = std::max<int64_t>(1, kMostItems / of_phase);
    with_dtype(dtype, [&](auto element) {
        using T = decltype(element);
        with_filter(fixed_filter(s, gradient), [&](auto filter) {
            for (int64_t phase = 0; phase < phases; phase += at_once) {
                const int64_t items = std::min(at_once, phases - phase) * of_phase;
                launch(depthwise_kernel<filter(), T>, blocks_for(items, 1), kThreads, 0, stream, s, gradient, phase,
                       phases_w, chunks, items, static_cast<const T*>(images), static_cast<const T*>(w),
                       static_cast<const T*>(bias), relu, static_cast<T*>(out));
                check(cudaGetLastError(), op, s.text());
            }
        });
    });
}

}  // namespace

std::pair<int64_t, int64_t> conv_depthwise_workspace(const ConvShape& s, DType, const std::string& direction) {
    require_taken("conv_depthwise_workspace", s);
    if (direction != "fwd" && direction != "dgrad" && direction != "wgrad")
        throw std::invalid_argument("conv_depthwise_workspace: direction is fwd, dgrad or wgrad, but came " +
                                    direction);
    const int64_t slices = direction == "wgrad" ? slices_of(s, std::numeric_limits<int64_t>::max()) : 1;
    return {0, slices > 1 ? slices * s.w_size() * int64_t(sizeof(float)) : 0};
}

void conv_depthwise_fwd(const ConvShape& s, DType dtype, const void* x, const void* w, const void* bias, bool relu,
                        void* y, void*, int64_t, cudaStream_t stream) {
    run("conv_depthwise_fwd", s, dtype, false, x, w, bias, relu, y, stream);
}

void conv_depthwise_dgrad(const ConvShape& s, DType dtype, const void* dy, const void* w, void* dx, void*, int64_t,
                          cudaStream_t stream) {
    run("conv_depthwise_dgrad", s, dtype, true, dy, w, nullptr, false, dx, stream);
}

void conv_depthwise_wgrad(const ConvShape& s, DType dtype, const void* x, const void* dy, void* dw, void* workspace,
                          int64_t workspace_bytes, cudaStream_t stream) {
    require_taken("conv_depthwise_wgrad", s);
    const int64_t slices = slices_of(s, workspace_bytes), items = parts_of(s) * s.K * slices;
    const int64_t terms_of_slice = ceil_div(s.N * (int64_t(s.P) * s.Q), slices);
    auto* const partial = slices > 1 ? static_cast<float*>(workspace) : nullptr;
    with_dtype(dtype, [&](auto element) {
        using T = decltype(element);
        launch(depthwise_wgrad_kernel<T>, blocks_for(items, 1), kThreads, 0, stream, s, parts_of(s), items,
               terms_of_slice, static_cast<const T*>(x), static_cast<const T*>(dy), partial, static_cast<T*>(dw));
    });
    check(cudaGetLastError(), "conv_depthwise_wgrad", s.text());
    if (partial) sum_parts(dtype, s.w_size(), int(slices), partial, dw, stream);
}
