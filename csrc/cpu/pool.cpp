// Max and average pooling. A unit of work is one plane (image, channel). Windows are walked tap by tap over a row of
// outputs, which vectorises for every window. Bounded by memory traffic. Called by bind_cpu.cpp.
#include <limits>
#include <stdexcept>
#include <type_traits>
#include <vector>

#include "columns.h"
#include "convert_array.h"
#include "cpu.h"
#include "threads.h"

namespace {

// What a call needs of its shape: for each tap of a window row, the outputs whose pixel lies in the image.
struct Windows {
    const ConvShape& s;
    std::vector<Inside> across;
    int threads;

    explicit Windows(const ConvShape& shape) : s(shape) {
        for (int t = 0; t < s.S; ++t) across.emplace_back(0, s.Q, int64_t(t) * s.dil_w - s.pad_w, s.stride_w, s.W);
        threads = threads_for(planes() * (out_size() * s.R * s.S + in_size()) / 4);
    }
    int64_t planes() const { return int64_t(s.N) * s.C; }
    int64_t in_size() const { return int64_t(s.H) * s.W; }
    int64_t out_size() const { return int64_t(s.P) * s.Q; }

    // f(valid outputs q, pixel of the first) for every tap of the windows of row p that touches the image.
    template <class F>
    INLINE void for_taps(int p, F&& f) const {
        for (int r = 0; r < s.R; ++r) {
            const int64_t h = int64_t(p) * s.stride_h - s.pad_h + int64_t(r) * s.dil_h;
            if (h < 0 || h >= s.H) continue;
            for (int t = 0; t < s.S; ++t) {
                const Inside q = across[t];
                if (q.lo < q.hi) f(q, h * s.W + int64_t(q.lo) * s.stride_w + int64_t(t) * s.dil_w - s.pad_w);
            }
        }
    }
};

// f(stride) with the usual strides as compile-time constants, so that loops over a row vectorise.
template <class F>
INLINE void with_stride(int stride, F&& f) {
    if (stride == 1) return f(std::integral_constant<int, 1>());
    if (stride == 2) return f(std::integral_constant<int, 2>());
    f(stride);
}

// Best value and its index so far, against in[i stride] at index first + i stride. A NaN wins and stays. The masks are
// integers because GCC 12 does not vectorise selects by a combination of bools.
template <class T, class Stride>
INLINE void keep_larger(Acc<T>* best, int32_t* index, const T* in, int count, Stride stride, int32_t first) {
    for (int i = 0; i < count; ++i) {
        const Acc<T> value = in[int64_t(i) * stride], old = best[i];
        const int32_t at = index[i];
        const int32_t larger = value > old ? -1 : 0, nan = value != value ? -1 : 0, open = old == old ? -1 : 0;
        const int32_t take = ((larger | nan) & open) | at >> 31;  // at < 0: none yet
        best[i] = take ? value : old;
        index[i] = take ? first + i * stride : at;
    }
}

// y and index of one plane; row: Q elements of scratch.
template <class T>
MULTIVERSION void max_plane(const Windows& windows, const T* x, Acc<T>* row, T* y, int32_t* index) {
    const ConvShape& s = windows.s;
    for (int p = 0; p < s.P; ++p, y += s.Q, index += s.Q) {
        std::fill_n(row, s.Q, -std::numeric_limits<Acc<T>>::infinity());
        std::fill_n(index, s.Q, -1);
        windows.for_taps(p, [&](const Inside& q, int64_t pixel) INLINE_LAMBDA {
            with_stride(s.stride_w, [&](auto stride) INLINE_LAMBDA {
                keep_larger(row + q.lo, index + q.lo, x + pixel, q.hi - q.lo, stride, static_cast<int32_t>(pixel));
            });
        });
        for (int i = 0; i < s.Q; ++i) y[i] = static_cast<T>(row[i]);
    }
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
MULTIVERSION void avg_plane(const Windows& windows, bool count_include_pad, const T* x, Acc<T>* row, T* y) {
    const ConvShape& s = windows.s;
    Acc<T>* weights = row + s.Q;
    for (int p = 0; p < s.P; ++p, y += s.Q) {
        window_weights(windows, count_include_pad, p, weights);
        std::fill_n(row, s.Q, Acc<T>(0));
        windows.for_taps(p, [&](const Inside& q, int64_t pixel) INLINE_LAMBDA {
            with_stride(s.stride_w, [&](auto stride) INLINE_LAMBDA {
                for (int i = 0; i < q.hi - q.lo; ++i)
                    row[q.lo + i] += static_cast<Acc<T>>(x[pixel + int64_t(i) * stride]);
            });
        });
        for (int i = 0; i < s.Q; ++i) y[i] = static_cast<T>(row[i] * weights[i]);
    }
}

template <class T>
MULTIVERSION void avg_plane_bwd(const Windows& windows, bool count_include_pad, const T* dy, Acc<T>* row, Acc<T>* dx) {
    const ConvShape& s = windows.s;
    Acc<T>* weights = row + s.Q;
    for (int p = 0; p < s.P; ++p, dy += s.Q) {
        window_weights(windows, count_include_pad, p, weights);
        for (int i = 0; i < s.Q; ++i) row[i] = weights[i] * static_cast<Acc<T>>(dy[i]);
        windows.for_taps(p, [&](const Inside& q, int64_t pixel) INLINE_LAMBDA {
            with_stride(s.stride_w, [&](auto stride) INLINE_LAMBDA {
                for (int i = 0; i < q.hi - q.lo; ++i) dx[pixel + int64_t(i) * stride] += row[q.lo + i];
            });
        });
    }
}

// work(plane, scratch of this thread) for every plane.
template <class A, class Work>
void for_planes(const Windows& windows, int64_t scratch, const Work& work) {
    const int64_t slot = (scratch + 15) / 16 * 16;  // no two threads write to one cache line
    std::vector<A> buffer(windows.threads * slot);
    parallel_for(windows.planes(), windows.threads,
                 [&](int64_t plane, int thread) { work(plane, buffer.data() + thread * slot); });
}

// dx from add(plane, scratch, sums), which adds a plane's gradient into zeros: into dx itself, or for 16-bit storage,
// where windows may overlap and sums are rounded once, into floats.
template <class T, class Add>
void fill_planes(const Windows& windows, int64_t scratch, T* dx, const Add& add) {
    const int64_t size = windows.in_size();
    for_planes<Acc<T>>(windows, scratch + (is_narrow<T> ? size : 0), [&](int64_t plane, Acc<T>* row) {
        T* out = dx + plane * size;
        Acc<T>* sums;
        if constexpr (is_narrow<T>)
            sums = row + scratch;
        else
            sums = out;
        std::fill_n(sums, size, Acc<T>(0));
        add(plane, row, sums);
        if constexpr (is_narrow<T>) convert(sums, size, out);
    });
}

}  // namespace

void max_pool2d_fwd(const ConvShape& s, DType dtype, Address x, Address y, Address index) {
    if (int64_t(s.H) * s.W > std::numeric_limits<int32_t>::max())
        throw std::invalid_argument("max_pool2d: a plane has fewer than 2**31 pixels, but came " + s.text());
    with_dtype(dtype, [&](auto t) {
        using T = decltype(t);
        const Windows windows(s);
        for_planes<Acc<T>>(windows, s.Q, [&](int64_t plane, Acc<T>* row) {
            max_plane(windows, reinterpret_cast<const T*>(x) + plane * windows.in_size(), row,
                      reinterpret_cast<T*>(y) + plane * windows.out_size(),
                      reinterpret_cast<int32_t*>(index) + plane * windows.out_size());
        });
    });
}

void max_pool2d_bwd(const ConvShape& s, DType dtype, Address dy, Address index, Address dx) {
    with_dtype(dtype, [&](auto t) {
        using T = decltype(t);
        const Windows windows(s);
        const int64_t in = windows.in_size(), out = windows.out_size();
        fill_planes(windows, 0, reinterpret_cast<T*>(dx), [&](int64_t plane, Acc<T>*, Acc<T>* sums) {
            const T* grad = reinterpret_cast<const T*>(dy) + plane * out;
            const int32_t* where = reinterpret_cast<const int32_t*>(index) + plane * out;
            for (int64_t i = 0; i < out; ++i)
                if (where[i] >= 0 && where[i] < in) sums[where[i]] += static_cast<Acc<T>>(grad[i]);
        });
    });
}

void avg_pool2d_fwd(const ConvShape& s, DType dtype, bool count_include_pad, Address x, Address y) {
    with_dtype(dtype, [&](auto t) {
        using T = decltype(t);
        const Windows windows(s);
        for_planes<Acc<T>>(windows, 2 * int64_t(s.Q), [&](int64_t plane, Acc<T>* row) {
            avg_plane(windows, count_include_pad, reinterpret_cast<const T*>(x) + plane * windows.in_size(), row,
                      reinterpret_cast<T*>(y) + plane * windows.out_size());
        });
    });
}

void avg_pool2d_bwd(const ConvShape& s, DType dtype, bool count_include_pad, Address dy, Address dx) {
    with_dtype(dtype, [&](auto t) {
        using T = decltype(t);
        const Windows windows(s);
        fill_planes(windows, 2 * int64_t(s.Q), reinterpret_cast<T*>(dx),
                    [&](int64_t plane, Acc<T>* row, Acc<T>* dx_plane) {
                        avg_plane_bwd(windows, count_include_pad,
                                      reinterpret_cast<const T*>(dy) + plane * windows.out_size(), row, dx_plane);
                    });
    });
}
