// Max and average pooling. A unit of work is one plane (image, channel). Windows are walked tap by tap over a row of
// outputs, which vectorises for every window. Bounded by memory traffic. Called by bind_cpu.cpp. In channels_last order
// see pool_channels_last.cpp.
#include "pool.h"

#include <limits>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "columns.h"
#include "convert_array.h"
#include "cpu.h"
#include "threads.h"

namespace {

// What a call needs of its shape.
struct Windows {
    const ConvShape& s;
    std::vector<Inside> across;  // for each tap of a window row, the outputs whose pixel lies in the image
    int lo = 0, hi;              // the outputs for which all do
    int threads;

    Windows(const char* op, const ConvShape& shape) : s(shape), hi(s.Q) {
        if (s.groups != s.C || s.K != s.C)
            throw std::invalid_argument(std::string(op) + ": a window is one channel's, but K or groups is not C (" +
                                        s.text() + ")");
        if (in_size() > std::numeric_limits<int32_t>::max())
            throw std::invalid_argument(std::string(op) + ": an image has at most 2**31 - 1 pixels (" + s.text() + ")");
        for (int t = 0; t < s.S; ++t) {
            across.emplace_back(0, s.Q, int64_t(t) * s.dil_w - s.pad_w, s.stride_w, s.W);
            lo = std::max(lo, across[t].lo);
            hi = std::min(hi, across[t].hi);
        }
        hi = std::max(lo, hi);
        threads = threads_for(planes() * (out_size() * s.R * s.S + in_size()) / 4);
    }
    int64_t planes() const { return int64_t(s.N) * s.C; }
    int64_t in_size() const { return int64_t(s.H) * s.W; }
    int64_t out_size() const { return int64_t(s.P) * s.Q; }

    // f(outputs whose pixel lies in the image, pixel of output 0) for every tap of the windows of row p.
    template <class F>
    INLINE void for_taps(int p, F&& f) const {
        for (int r = 0; r < s.R; ++r) {
            const int64_t h = int64_t(p) * s.stride_h - s.pad_h + int64_t(r) * s.dil_h;
            if (h < 0 || h >= s.H) continue;
            for (int t = 0; t < s.S; ++t) f(across[t], h * s.W + int64_t(t) * s.dil_w - s.pad_w);
        }
    }

    // f(q, count) for blocks of outputs that cover a row: vectors where all taps of a window row lie in the image
    // (rows are short, so the last vector overlaps the one before), single outputs at the edges.
    template <class F>
    INLINE void for_blocks(F&& f) const {
        auto in_steps = [&](auto count) INLINE_LAMBDA {
            for (int q = lo;; q = std::min(q + count.value, hi - count.value)) {
                f(q, count);
                if (q == hi - count.value) return;
            }
        };
        const std::integral_constant<int, 1> one;
        for (int q = 0; q < lo; ++q) f(q, one);
        if (hi - lo >= 8)
            in_steps(std::integral_constant<int, 8>());
        else if (hi - lo >= 4)
            in_steps(std::integral_constant<int, 4>());
        else if (hi > lo)
            in_steps(one);
        for (int q = hi; q < s.Q; ++q) f(q, one);
    }
};

// f(stride) with the usual strides as compile-time constants, so that loops over a row vectorise.
template <class F>
INLINE void with_stride(int stride, F&& f) {
    if (stride == 1) return f(std::integral_constant<int, 1>());
    if (stride == 2) return f(std::integral_constant<int, 2>());
    f(stride);
}

// The maxima of `count` windows from output q of row p on, and their indices.
template <int count, class T, class Stride>
INLINE void max_windows(const Windows& windows, int p, int q, Stride stride, const T* x, T* y, int32_t* index) {
    using Values = typename Vector<Acc<T>, count>::type;
    using Indices = typename Vector<int32_t, count>::type;
    Values best = Values{} - std::numeric_limits<Acc<T>>::infinity();
    Indices where = Indices{} - 1;  // none yet
    windows.for_taps(p, [&](const Inside& inside, int64_t pixel) INLINE_LAMBDA {
        if (q < inside.lo || q >= inside.hi) return;
        const int64_t first = pixel + int64_t(q) * stride;
        Values value;
        Indices here;
        for (int i = 0; i < count; ++i) {
            value[i] = x[first + i * stride];
            here[i] = static_cast<int32_t>(first) + i * stride;
        }
        take_larger(value, here, best, where);
    });
    for (int i = 0; i < count; ++i) y[q + i] = static_cast<T>(best[i]), index[q + i] = where[i];
}

template <class T>
MULTIVERSION void max_plane(const Windows& windows, const T* x, T* y, int32_t* index) {
    const ConvShape& s = windows.s;
    with_stride(s.stride_w, [&](auto stride) INLINE_LAMBDA {
        for (int p = 0; p < s.P; ++p)
            windows.for_blocks([&](int q, auto count) INLINE_LAMBDA {
                max_windows<count.value>(windows, p, q, stride, x, y + int64_t(p) * s.Q, index + int64_t(p) * s.Q);
            });
    });
}

// The means of `count` windows from output q of row p on.
template <int count, class T, class Stride>
INLINE void avg_windows(const Windows& windows, bool count_include_pad, int p, int q, Stride stride, const T* x, T* y) {
    Acc<T> sums[count] = {};
    int64_t pixels = 0;
    windows.for_taps(p, [&](const Inside& inside, int64_t pixel) INLINE_LAMBDA {
        if (q < inside.lo || q >= inside.hi) return;
        for (int i = 0; i < count; ++i) sums[i] += static_cast<Acc<T>>(x[pixel + int64_t(q + i) * stride]);
        ++pixels;
    });
    if (count_include_pad) pixels = int64_t(windows.s.R) * windows.s.S;
    const Acc<T> weight = Acc<T>(1) / static_cast<Acc<T>>(std::max<int64_t>(1, pixels));
    for (int i = 0; i < count; ++i) y[q + i] = static_cast<T>(sums[i] * weight);
}

template <class T>
MULTIVERSION void avg_plane(const Windows& windows, bool count_include_pad, const T* x, T* y) {
    const ConvShape& s = windows.s;
    with_stride(s.stride_w, [&](auto stride) INLINE_LAMBDA {
        for (int p = 0; p < s.P; ++p)
            windows.for_blocks([&](int q, auto count) INLINE_LAMBDA {
                avg_windows<count.value>(windows, count_include_pad, p, q, stride, x, y + int64_t(p) * s.Q);
            });
    });
}

// 1 / the number of pixels of each window of row p.
template <class A>
INLINE void window_weights(const Windows& windows, bool count_include_pad, int p, A* weights) {
    const ConvShape& s = windows.s;
    if (count_include_pad) {
        std::fill_n(weights, s.Q, A(1) / A(int64_t(s.R) * s.S));
        return;
    }
    std::fill_n(weights, s.Q, A(0));
    windows.for_taps(p, [&](const Inside& q, int64_t) INLINE_LAMBDA {
        for (int i = q.lo; i < q.hi; ++i) weights[i] += 1;
    });
    for (int i = 0; i < s.Q; ++i) weights[i] = A(1) / std::max(A(1), weights[i]);
}

// row: 2 Q elements of scratch.
template <class T>
MULTIVERSION void avg_plane_bwd(const Windows& windows, bool count_include_pad, const T* dy, Acc<T>* row, Acc<T>* dx) {
    const ConvShape& s = windows.s;
    Acc<T>* weights = row + s.Q;
    for (int p = 0; p < s.P; ++p, dy += s.Q) {
        window_weights(windows, count_include_pad, p, weights);
        for (int i = 0; i < s.Q; ++i) row[i] = weights[i] * static_cast<Acc<T>>(dy[i]);
        windows.for_taps(p, [&](const Inside& q, int64_t pixel) INLINE_LAMBDA {
            with_stride(s.stride_w, [&](auto stride) INLINE_LAMBDA {
                for (int i = q.lo; i < q.hi; ++i) dx[pixel + int64_t(i) * stride] += row[i];
            });
        });
    }
}

// dx from add(plane, row, sums), which adds a plane's gradient into zeros: into dx itself, or for 16-bit storage, where
// windows may overlap and sums are rounded once, into floats. row: `scratch` elements of the thread.
template <class T, class Add>
void fill_planes(const Windows& windows, int64_t scratch, T* dx, const Add& add) {
    const int64_t size = windows.in_size();
    const int64_t slot = (scratch + (is_narrow<T> ? size : 0) + 15) / 16 * 16;  // no two threads share a cache line
    std::vector<Acc<T>> buffer(windows.threads * slot);
    parallel_for(windows.planes(), windows.threads, [&](int64_t plane, int thread) {
        Acc<T>*row = buffer.data() + thread * slot, *sums;
        T* out = dx + plane * size;
        if constexpr (is_narrow<T>)
            sums = row + scratch;
        else
            sums = out;
        std::fill_n(sums, size, Acc<T>(0));
        add(plane, row, sums);
        if constexpr (is_narrow<T>) convert(sums, size, out);
    });
}

template <class T>
T* at(Address address) {
    return reinterpret_cast<T*>(address);
}

}  // namespace

void max_pool2d_fwd(const ConvShape& s, DType dtype, Address x, Address y, Address index) {
    with_dtype(dtype, [&](auto t) {
        using T = decltype(t);
        const Windows windows("max_pool2d_fwd", s);
        if (s.channels_last) return pool_channels_last::max_fwd(s, at<const T>(x), at<T>(y), at<int32_t>(index));
        parallel_for(windows.planes(), windows.threads, [&](int64_t plane, int) {
            max_plane(windows, at<const T>(x) + plane * windows.in_size(), at<T>(y) + plane * windows.out_size(),
                      at<int32_t>(index) + plane * windows.out_size());
        });
    });
}

void max_pool2d_bwd(const ConvShape& s, DType dtype, Address dy, Address index, Address dx) {
    with_dtype(dtype, [&](auto t) {
        using T = decltype(t);
        const Windows windows("max_pool2d_bwd", s);
        if (s.channels_last)
            return pool_channels_last::max_bwd(s, at<const T>(dy), at<const int32_t>(index), at<T>(dx));
        const int64_t in = windows.in_size(), out = windows.out_size();
        fill_planes(windows, 0, at<T>(dx), [&](int64_t plane, Acc<T>*, Acc<T>* sums) {
            const T* grad = at<const T>(dy) + plane * out;
            const int32_t* where = at<const int32_t>(index) + plane * out;
            for (int64_t i = 0; i < out; ++i)
                if (where[i] >= 0 && where[i] < in) sums[where[i]] += static_cast<Acc<T>>(grad[i]);
        });
    });
}

void avg_pool2d_fwd(const ConvShape& s, DType dtype, bool count_include_pad, Address x, Address y) {
    with_dtype(dtype, [&](auto t) {
        using T = decltype(t);
        const Windows windows("avg_pool2d_fwd", s);
        if (s.channels_last) return pool_channels_last::avg_fwd(s, count_include_pad, at<const T>(x), at<T>(y));
        parallel_for(windows.planes(), windows.threads, [&](int64_t plane, int) {
            avg_plane(windows, count_include_pad, at<const T>(x) + plane * windows.in_size(),
                      at<T>(y) + plane * windows.out_size());
        });
    });
}

void avg_pool2d_bwd(const ConvShape& s, DType dtype, bool count_include_pad, Address dy, Address dx) {
    with_dtype(dtype, [&](auto t) {
        using T = decltype(t);
        const Windows windows("avg_pool2d_bwd", s);
        if (s.channels_last) return pool_channels_last::avg_bwd(s, count_include_pad, at<const T>(dy), at<T>(dx));
        fill_planes(windows, 2 * int64_t(s.Q), at<T>(dx), [&](int64_t plane, Acc<T>* row, Acc<T>* dx_plane) {
            avg_plane_bwd(windows, count_include_pad, at<const T>(dy) + plane * windows.out_size(), row, dx_plane);
        });
    });
}
