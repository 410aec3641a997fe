// Max and average pooling, forward and gradient. A window is the filter of a depthwise convolution (K = groups = C).
//
//   x, dx   (N, C, H, W)                  y, dy   (N, C, P, Q)
//   index   (N, C, P, Q) int32            h W + w of the window's maximum in its plane, -1 if it is all padding
//   fwd reads x and writes y (and index);   bwd reads dy (and index) and writes all of dx
//   with shape.channels_last all of them lie in memory as (N, H, W, C), or (N, P, Q, C)
//
// One thread per element of y (fwd) or dx (bwd); in channels_last order, where neighbouring threads take neighbouring
// channels, 16 bytes of them if C and the addresses allow it. Backward gathers over the windows that hold a pixel, in a
// fixed order: no atomics, the same bits every run, and in both orders of memory. The first maximum in row-major window
// order wins; a NaN wins over any number; padding never wins, and a window all in padding gives -infinity (max) or 0
// (average).
// Speed: memory, as the reads of overlapping windows come from L1: 80 % of its bandwidth are expected in channels_last
// order, where an access and the divisions that find its place serve 8 values of 16 bits; less in the other order.
// Called by gpucnn/ops/pool.py (bound in csrc/bind_cuda.cpp).
#include "neighbours.cuh"

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

// What a thread writes: pixel (row, column) of `width` neighbouring channels of an image of y (fwd) or dx (bwd).
struct Item {
    int64_t row, column;
    int64_t x, y;  // where the first pixel of its channels lies in x and in y
    int64_t step;  // elements from a pixel to the next
};

// Item i of images of rows x columns pixels.
template <int width>
__device__ Item item(const ConvShape& s, int64_t i, int rows, int columns) {
    const int64_t in = int64_t(s.H) * s.W, out = int64_t(s.P) * s.Q;
    if (s.channels_last) {
        const int vectors = s.C / width, channel = int(i % vectors) * width;
        const int64_t pixel = i / vectors, n = pixel / columns / rows;
        return {pixel / columns % rows, pixel % columns, n * in * s.C + channel, n * out * s.C + channel, s.C};
    }
    const int64_t plane = i / columns / rows;
    return {i / columns % rows, i % columns, plane * in, plane * out, 1};
}

// f(h, w) for the pixels of window (p, q), those in padding left out, in row-major order.
template <class F>
__device__ void for_pixels(const ConvShape& s, int64_t p, int64_t q, F f) {
    for (int r = 0; r < s.R; ++r) {
        const int64_t h = p * s.stride_h - s.pad_h + int64_t(r) * s.dil_h;
        for (int t = 0; t < s.S; ++t) {
            const int64_t w = q * s.stride_w - s.pad_w + int64_t(t) * s.dil_w;
            if (h < 0 || h >= s.H || w < 0 || w >= s.W) continue;
            f(h, w);
        }
    }
}

// f(p, q) for the windows that hold pixel (h, w).
template <class F>
__device__ void for_windows(const ConvShape& s, int64_t h, int64_t w, F f) {
    for (int r = 0; r < s.R; ++r) {
        const int64_t p_stride = h + s.pad_h - int64_t(r) * s.dil_h;  // p times stride_h
        const int64_t p = p_stride / s.stride_h;
        if (p_stride < 0 || p_stride % s.stride_h || p >= s.P) continue;
        for (int t = 0; t < s.S; ++t) {
            const int64_t q_stride = w + s.pad_w - int64_t(t) * s.dil_w;
            const int64_t q = q_stride / s.stride_w;
            if (q_stride < 0 || q_stride % s.stride_w || q >= s.Q) continue;
            f(p, q);
        }
    }
}

template <int width, class T>
__device__ void store(const Acc* values, T* first) {
    Neighbours<T, width> rounded;
    for (int k = 0; k < width; ++k) rounded.value[k] = static_cast<T>(values[k]);
    neighbours<width>(first) = rounded;
}

template <class T, int width>
__global__ void max_fwd_kernel(ConvShape s, const T* __restrict__ x, T* __restrict__ y, int32_t* __restrict__ index) {
    const int64_t count = int64_t(s.N) * s.C * s.P * s.Q / width;
    for (int64_t i = thread_index(); i < count; i += thread_count()) {
        const Item out = item<width>(s, i, s.P, s.Q);
        float best[width];
        Neighbours<int32_t, width> at;
        for (int k = 0; k < width; ++k) best[k] = kNoMaximum, at.value[k] = -1;
        for_pixels(s, out.row, out.column, [&](int64_t h, int64_t w) {
            const int64_t pixel = h * s.W + w;
            const Neighbours<T, width> values = neighbours<width>(x + out.x + pixel * out.step);
            for (int k = 0; k < width; ++k) {
                const float value = static_cast<float>(values.value[k]);
                if (at.value[k] < 0 || value > best[k] || (isnan(value) && !isnan(best[k]))) {
                    best[k] = value;
                    at.value[k] = int32_t(pixel);
                }
            }
        });
        const int64_t place = out.y + (out.row * s.Q + out.column) * out.step;
        store<width>(best, y + place);
        neighbours<width>(index + place) = at;
    }
}

template <class T, int width>
__global__ void max_bwd_kernel(ConvShape s, const T* __restrict__ dy, const int32_t* __restrict__ index,
                               T* __restrict__ dx) {
    const int64_t count = int64_t(s.N) * s.C * s.H * s.W / width;
    for (int64_t i = thread_index(); i < count; i += thread_count()) {
        const Item out = item<width>(s, i, s.H, s.W);
        const int64_t pixel = out.row * s.W + out.column;
        Acc sums[width] = {};
        for_windows(s, out.row, out.column, [&](int64_t p, int64_t q) {
            const int64_t window = out.y + (p * s.Q + q) * out.step;
            const Neighbours<int32_t, width> at = neighbours<width>(index + window);
            const Neighbours<T, width> values = neighbours<width>(dy + window);
            for (int k = 0; k < width; ++k)
                if (at.value[k] == pixel) sums[k] += static_cast<Acc>(values.value[k]);
        });
        store<width>(sums, dx + out.x + pixel * out.step);
    }
}

template <class T, int width>
__global__ void average_fwd_kernel(ConvShape s, bool count_include_pad, const T* __restrict__ x, T* __restrict__ y) {
    const int64_t count = int64_t(s.N) * s.C * s.P * s.Q / width;
    for (int64_t i = thread_index(); i < count; i += thread_count()) {
        const Item out = item<width>(s, i, s.P, s.Q);
        Acc sums[width] = {};
        for_pixels(s, out.row, out.column, [&](int64_t h, int64_t w) {
            const Neighbours<T, width> values = neighbours<width>(x + out.x + (h * s.W + w) * out.step);
            for (int k = 0; k < width; ++k) sums[k] += static_cast<Acc>(values.value[k]);
        });
        const float weight = average_weight(s, count_include_pad, out.row, out.column);
        for (int k = 0; k < width; ++k) sums[k] *= weight;
        store<width>(sums, y + out.y + (out.row * s.Q + out.column) * out.step);
    }
}

template <class T, int width>
__global__ void average_bwd_kernel(ConvShape s, bool count_include_pad, const T* __restrict__ dy, T* __restrict__ dx) {
    const int64_t count = int64_t(s.N) * s.C * s.H * s.W / width;
    for (int64_t i = thread_index(); i < count; i += thread_count()) {
        const Item out = item<width>(s, i, s.H, s.W);
        Acc sums[width] = {};
        for_windows(s, out.row, out.column, [&](int64_t p, int64_t q) {
            const float weight = average_weight(s, count_include_pad, p, q);
            const Neighbours<T, width> values = neighbours<width>(dy + out.y + (p * s.Q + q) * out.step);
            for (int k = 0; k < width; ++k) sums[k] += static_cast<Acc>(values.value[k]) * weight;
        });
        store<width>(sums, dx + out.x + (out.row * s.W + out.column) * out.step);
    }
}

// f(T(), width), a constant, for the dtype's T and as many channels as a thread takes.
template <class F>
void with_items(const ConvShape& s, DType dtype, std::initializer_list<const void*> arrays, F&& f) {
    with_dtype(dtype, [&](auto element) {
        using T = decltype(element);
        if (!s.channels_last) return f(element, std::integral_constant<int, 1>());
        with_width<16 / sizeof(T), T>(s.C, arrays, [&](auto width) { f(element, width); });
    });
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
    with_items(shape, dtype, {x, y, index}, [&](auto element, auto width) {
        using T = decltype(element);
        launch(max_fwd_kernel<T, width.value>, blocks_for(shape.y_size() / width.value), kThreads, 0, stream, shape,
               static_cast<const T*>(x), static_cast<T*>(y), index);
    });
    check(cudaGetLastError(), "max_pool2d_fwd", shape.text());
}

void max_pool2d_bwd(const ConvShape& shape, DType dtype, const void* dy, const int32_t* index, void* dx,
                    cudaStream_t stream) {
    require_windows("max_pool2d_bwd", shape);
    if (shape.x_size() == 0) return;
    with_items(shape, dtype, {dy, index, dx}, [&](auto element, auto width) {
        using T = decltype(element);
        launch(max_bwd_kernel<T, width.value>, blocks_for(shape.x_size() / width.value), kThreads, 0, stream, shape,
               static_cast<const T*>(dy), index, static_cast<T*>(dx));
    });
    check(cudaGetLastError(), "max_pool2d_bwd", shape.text());
}

void avg_pool2d_fwd(const ConvShape& shape, DType dtype, bool count_include_pad, const void* x, void* y,
                    cudaStream_t stream) {
    require_windows("avg_pool2d_fwd", shape);
    if (shape.y_size() == 0) return;
    with_items(shape, dtype, {x, y}, [&](auto element, auto width) {
        using T = decltype(element);
        launch(average_fwd_kernel<T, width.value>, blocks_for(shape.y_size() / width.value), kThreads, 0, stream, shape,
               count_include_pad, static_cast<const T*>(x), static_cast<T*>(y));
    });
    check(cudaGetLastError(), "avg_pool2d_fwd", shape.text());
}

void avg_pool2d_bwd(const ConvShape& shape, DType dtype, bool count_include_pad, const void* dy, void* dx,
                    cudaStream_t stream) {
    require_windows("avg_pool2d_bwd", shape);
    if (shape.x_size() == 0) return;
    with_items(shape, dtype, {dy, dx}, [&](auto element, auto width) {
        using T = decltype(element);
        launch(average_bwd_kernel<T, width.value>, blocks_for(shape.x_size() / width.value), kThreads, 0, stream, shape,
               count_include_pad, static_cast<const T*>(dy), static_cast<T*>(dx));
    });
    check(cudaGetLastError(), "avg_pool2d_bwd", shape.text());
}
