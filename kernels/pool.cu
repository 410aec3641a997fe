// Max and average pooling, forward and gradient. A window is the filter of a depthwise convolution (K = groups = C).
//
//   x, dx   (N, C, H, W)                  y, dy   (N, C, P, Q)
//   index   (N, C, P, Q) int32            h W + w of the window's maximum in its plane, -1 if it is all padding
//   fwd reads x and writes y (and index);   bwd reads dy (and index) and writes all of dx
//
// One thread per element of y (fwd) or dx (bwd). Backward gathers over the windows that hold a pixel, in a fixed order:
// no atomics, the same bits every run. The first maximum in row-major window order wins; a NaN wins over any number;
// padding never wins, and a window all in padding gives -infinity (max) or 0 (average).
// Speed: memory; the reads of overlapping windows come from L1.
// Called by gpucnn/ops/pool.py (bound in csrc/bind_cuda.cpp).
#include "common.cuh"

namespace {

// Pixels of the axis that window `out` covers, padding left out (inside) or not (all taps).
__device__ int taps_inside(int64_t out, int size, int taps, int pad, int stride, int dil) {
    int inside = 0;
    for (int t = 0; t < taps; ++t) {
        const int64_t at = out * stride - pad + int64_t(t) * dil;
        inside += at >= 0 && at < size;
    }
    return inside;
}

// 1 over the number of pixels that the average of window (p, q) counts.
__device__ float average_weight(const ConvShape& s, bool count_include_pad, int64_t p, int64_t q) {
    if (count_include_pad) return 1.0f / (float(s.R) * s.S);
    const int rows = taps_inside(p, s.H, s.R, s.pad_h, s.stride_h, s.dil_h);
    const int cols = taps_inside(q, s.W, s.S, s.pad_w, s.stride_w, s.dil_w);
    return rows && cols ? 1.0f / (float(rows) * cols) : 0.0f;
}

template <class T>
__global__ void max_fwd_kernel(ConvShape s, const T* __restrict__ x, T* __restrict__ y, int32_t* __restrict__ index) {
    const int64_t count = int64_t(s.N) * s.C * s.P * s.Q;
    for (int64_t i = thread_index(); i < count; i += thread_count()) {
        const int64_t q = i % s.Q, p = i / s.Q % s.P;
        const T* plane = x + i / s.Q / s.P * s.H * s.W;
        float best = kNoMaximum;
        int32_t at = -1;
        for (int r = 0; r < s.R; ++r) {
            const int64_t h = p * s.stride_h - s.pad_h + int64_t(r) * s.dil_h;
            for (int t = 0; t < s.S; ++t) {
                const int64_t w = q * s.stride_w - s.pad_w + int64_t(t) * s.dil_w;
                if (h < 0 || h >= s.H || w < 0 || w >= s.W) continue;
                const float value = static_cast<float>(plane[h * s.W + w]);
                if (at < 0 || value > best || (isnan(value) && !isnan(best))) {
                    best = value;
                    at = int32_t(h * s.W + w);
                }
            }
        }
        y[i] = static_cast<T>(best);
        index[i] = at;
    }
}

// The sum, over the windows (p, q) that hold pixel (h, w), of weight(window index in the plane, p, q).
template <class F>
__device__ Acc gather(const ConvShape& s, int64_t h, int64_t w, F weight) {
    Acc sum = 0;
    for (int r = 0; r < s.R; ++r) {
        const int64_t p_stride = h + s.pad_h - int64_t(r) * s.dil_h;  // p times stride_h
        const int64_t p = p_stride / s.stride_h;
        if (p_stride < 0 || p_stride % s.stride_h || p >= s.P) continue;
        for (int t = 0; t < s.S; ++t) {
            const int64_t q_stride = w + s.pad_w - int64_t(t) * s.dil_w;
            const int64_t q = q_stride / s.stride_w;
            if (q_stride < 0 || q_stride % s.stride_w || q >= s.Q) continue;
            sum += weight(p * s.Q + q, p, q);
        }
    }
    return sum;
}

template <class T>
__global__ void max_bwd_kernel(ConvShape s, const T* __restrict__ dy, const int32_t* __restrict__ index,
                               T* __restrict__ dx) {
    const int64_t count = int64_t(s.N) * s.C * s.H * s.W;
    for (int64_t i = thread_index(); i < count; i += thread_count()) {
        const int64_t w = i % s.W, h = i / s.W % s.H, plane = i / s.W / s.H * s.P * s.Q;
        dx[i] = static_cast<T>(gather(s, h, w, [&](int64_t window, int64_t, int64_t) {
            return index[plane + window] == h * s.W + w ? static_cast<Acc>(dy[plane + window]) : 0.0f;
        }));
    }
}

template <class T>
__global__ void average_fwd_kernel(ConvShape s, bool count_include_pad, const T* __restrict__ x, T* __restrict__ y) {
    const int64_t count = int64_t(s.N) * s.C * s.P * s.Q;
    for (int64_t i = thread_index(); i < count; i += thread_count()) {
        const int64_t q = i % s.Q, p = i / s.Q % s.P;
        const T* plane = x + i / s.Q / s.P * s.H * s.W;
        Acc sum = 0;
        for (int r = 0; r < s.R; ++r) {
            const int64_t h = p * s.stride_h - s.pad_h + int64_t(r) * s.dil_h;
            for (int t = 0; t < s.S; ++t) {
                const int64_t w = q * s.stride_w - s.pad_w + int64_t(t) * s.dil_w;
                if (h < 0 || h >= s.H || w < 0 || w >= s.W) continue;
                sum += static_cast<Acc>(plane[h * s.W + w]);
            }
        }
        y[i] = static_cast<T>(sum * average_weight(s, count_include_pad, p, q));
    }
}

template <class T>
__global__ void average_bwd_kernel(ConvShape s, bool count_include_pad, const T* __restrict__ dy, T* __restrict__ dx) {
    const int64_t count = int64_t(s.N) * s.C * s.H * s.W;
    for (int64_t i = thread_index(); i < count; i += thread_count()) {
        const int64_t w = i % s.W, h = i / s.W % s.H, plane = i / s.W / s.H * s.P * s.Q;
        dx[i] = static_cast<T>(gather(s, h, w, [&](int64_t window, int64_t p, int64_t q) {
            return static_cast<Acc>(dy[plane + window]) * average_weight(s, count_include_pad, p, q);
        }));
    }
}

void require_windows(const char* op, const ConvShape& s) {
    if (s.K != s.C || s.groups != s.C)
        throw std::invalid_argument(std::string(op) + ": a window is one channel's, but K or groups is not C (" +
                                    s.text() + ")");
    if (int64_t(s.H) * s.W > std::numeric_limits<int32_t>::max())
        throw std::invalid_argument(std::string(op) + ": an image has at most 2**31 - 1 pixels (" + s.text() + ")");
}

}  // namespace

void max_pool2d_fwd(const ConvShape& shape, DType dtype, const void* x, void* y, int32_t* index, cudaStream_t stream) {
    require_windows("max_pool2d_fwd", shape);
    if (shape.y_size() == 0) return;
    with_dtype(dtype, [&](auto element) {
        using T = decltype(element);
        launch(max_fwd_kernel<T>, blocks_for(shape.y_size()), kThreads, 0, stream, shape, static_cast<const T*>(x),
               static_cast<T*>(y), index);
    });
    check(cudaGetLastError(), "max_pool2d_fwd", shape.text());
}

void max_pool2d_bwd(const ConvShape& shape, DType dtype, const void* dy, const int32_t* index, void* dx,
                    cudaStream_t stream) {
    require_windows("max_pool2d_bwd", shape);
    if (shape.x_size() == 0) return;
    with_dtype(dtype, [&](auto element) {
        using T = decltype(element);
        launch(max_bwd_kernel<T>, blocks_for(shape.x_size()), kThreads, 0, stream, shape, static_cast<const T*>(dy),
               index, static_cast<T*>(dx));
    });
    check(cudaGetLastError(), "max_pool2d_bwd", shape.text());
}

void avg_pool2d_fwd(const ConvShape& shape, DType dtype, bool count_include_pad, const void* x, void* y,
                    cudaStream_t stream) {
    require_windows("avg_pool2d_fwd", shape);
    if (shape.y_size() == 0) return;
    with_dtype(dtype, [&](auto element) {
        using T = decltype(element);
        launch(average_fwd_kernel<T>, blocks_for(shape.y_size()), kThreads, 0, stream, shape, count_include_pad,
               static_cast<const T*>(x), static_cast<T*>(y));
    });
    check(cudaGetLastError(), "avg_pool2d_fwd", shape.text());
}

void avg_pool2d_bwd(const ConvShape& shape, DType dtype, bool count_include_pad, const void* dy, void* dx,
                    cudaStream_t stream) {
    require_windows("avg_pool2d_bwd", shape);
    if (shape.x_size() == 0) return;
    with_dtype(dtype, [&](auto element) {
        using T = decltype(element);
        launch(average_bwd_kernel<T>, blocks_for(shape.x_size()), kThreads, 0, stream, shape, count_include_pad,
               static_cast<const T*>(dy), static_cast<T*>(dx));
    });
    check(cudaGetLastError(), "avg_pool2d_bwd", shape.text());
}
