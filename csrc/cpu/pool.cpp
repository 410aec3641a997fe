// Max and average pooling. A unit of work is one plane (image, channel). Windows are walked tap by tap over a row of
// outputs, which vectorises for every window. Bounded by memory traffic. Called by bind_cpu.cpp.
#include <limits>
#include <vector>

#include "columns.h"
#include "convert_array.h"
#include "cpu.h"
#include "threads.h"

namespace {

constexpr int row_block = 128;  // outputs of a row that are held on the stack

int threads_of(const ConvShape& s) {
    return threads_for(int64_t(s.N) * s.C * (int64_t(s.P) * s.Q * s.R * s.S + int64_t(s.H) * s.W) / 4);
}

// Best value and its index so far, against in[i stride] at index first + i stride. A NaN wins and stays.
template <class T>
INLINE void keep_larger(Acc<T>* best, int32_t* index, const T* in, int count, int stride, int32_t first) {
    for (int i = 0; i < count; ++i) {
        const Acc<T> value = in[int64_t(i) * stride], old = best[i];
        const bool take = (index[i] < 0) | (!(value <= old) & (old == old));
        best[i] = take ? value : old;
        index[i] = take ? first + i * stride : index[i];
    }
}

template <class T>
MULTIVERSION void max_plane(const ConvShape& s, const T* x, T* y, int32_t* index) {
    for (int p = 0; p < s.P; ++p)
        for (int q0 = 0; q0 < s.Q; q0 += row_block) {
            const int q1 = std::min(q0 + row_block, s.Q);
            Acc<T> best[row_block];
            int32_t* where = index + int64_t(p) * s.Q + q0;
            std::fill_n(best, q1 - q0, -std::numeric_limits<Acc<T>>::infinity());
            std::fill_n(where, q1 - q0, -1);
            for (int r = 0; r < s.R; ++r) {
                const int64_t h = int64_t(p) * s.stride_h - s.pad_h + int64_t(r) * s.dil_h;
                if (h < 0 || h >= s.H) continue;
                for (int t = 0; t < s.S; ++t) {
                    const int64_t offset = int64_t(t) * s.dil_w - s.pad_w;
                    const Inside q(q0, q1, offset, s.stride_w, s.W);
                    if (q.lo == q.hi) continue;
                    const int64_t first = h * s.W + int64_t(q.lo) * s.stride_w + offset;
                    if (s.stride_w == 1)
                        keep_larger(best + (q.lo - q0), where + (q.lo - q0), x + first, q.hi - q.lo, 1, first);
                    else if (s.stride_w == 2)
                        keep_larger(best + (q.lo - q0), where + (q.lo - q0), x + first, q.hi - q.lo, 2, first);
                    else
                        keep_larger(best + (q.lo - q0), where + (q.lo - q0), x + first, q.hi - q.lo, s.stride_w, first);
                }
            }
            for (int i = 0; i < q1 - q0; ++i) y[int64_t(p) * s.Q + q0 + i] = static_cast<T>(best[i]);
        }
}

// The 2x2 windows of LeNet and VGG: one pass over short rows, 2.5 times the speed of the loop over taps.
template <class T>
MULTIVERSION void max_plane_2x2(const ConvShape& s, const T* x, T* y, int32_t* index) {
    for (int p = 0; p < s.P; ++p) {
        const T *top = x + 2 * int64_t(p) * s.W, *bottom = top + s.W;
        const int32_t first = 2 * p * s.W;
        for (int q = 0; q < s.Q; ++q) {
            Acc<T> best = top[2 * q];
            int32_t where = first + 2 * q;
            auto against = [&](Acc<T> value, int32_t at) {
                const bool take = !(value <= best) & (best == best);
                best = take ? value : best;
                where = take ? at : where;
            };
            against(top[2 * q + 1], first + 2 * q + 1);
            against(bottom[2 * q], first + s.W + 2 * q);
            against(bottom[2 * q + 1], first + s.W + 2 * q + 1);
            y[int64_t(p) * s.Q + q] = static_cast<T>(best);
            index[int64_t(p) * s.Q + q] = where;
        }
    }
}

bool is_2x2(const ConvShape& s) {
    return s.R == 2 && s.S == 2 && s.stride_h == 2 && s.stride_w == 2 && s.pad_h == 0 && s.pad_w == 0 && s.dil_h == 1 &&
           s.dil_w == 1;
}

// Where 16-bit gradients could add up, they do so in float, one plane per thread.
template <class T, class Fill>
void fill_planes(const ConvShape& s, T* dx, const Fill& fill) {
    const int64_t plane = int64_t(s.H) * s.W;
    const int threads = threads_of(s);
    std::vector<std::vector<Acc<T>>> sums(is_narrow<T> ? threads : 0);
    parallel_for(int64_t(s.N) * s.C, threads, [&](int64_t i, int thread) {
        T* out = dx + i * plane;
        if constexpr (is_narrow<T>) {
            sums[thread].assign(plane, 0);
            fill(i, sums[thread].data());
            convert(sums[thread].data(), plane, out);
        } else {
            std::fill_n(out, plane, T(0));
            fill(i, out);
        }
    });
}

// f(window row p, first valid q, end, pixel of q = 0) for every tap (r, t) of every window.
template <class F>
INLINE void for_taps(const ConvShape& s, int p, F&& f) {
    for (int r = 0; r < s.R; ++r) {
        const int64_t h = int64_t(p) * s.stride_h - s.pad_h + int64_t(r) * s.dil_h;
        if (h < 0 || h >= s.H) continue;
        for (int t = 0; t < s.S; ++t) {
            const int64_t offset = int64_t(t) * s.dil_w - s.pad_w;
            const Inside q(0, s.Q, offset, s.stride_w, s.W);
            f(q, h * s.W + offset);
        }
    }
}

// 1 / the number of pixels of each window of row p.
template <class A>
INLINE void window_weights(const ConvShape& s, bool count_include_pad, int p, A* weights) {
    if (count_include_pad) {
        std::fill_n(weights, s.Q, A(1) / A(int64_t(s.R) * s.S));
        return;
    }
    std::fill_n(weights, s.Q, A(0));
    for_taps(s, p, [&](const Inside& q, int64_t) {
        for (int i = q.lo; i < q.hi; ++i) weights[i] += 1;
    });
    for (int i = 0; i < s.Q; ++i) weights[i] = A(1) / std::max(A(1), weights[i]);
}

template <class T>
MULTIVERSION void avg_plane(const ConvShape& s, bool count_include_pad, const T* x, Acc<T>* row, T* y) {
    Acc<T>* weights = row + s.Q;
    for (int p = 0; p < s.P; ++p) {
        window_weights(s, count_include_pad, p, weights);
        std::fill_n(row, s.Q, Acc<T>(0));
        for_taps(s, p, [&](const Inside& q, int64_t pixel) {
            for (int i = q.lo; i < q.hi; ++i) row[i] += static_cast<Acc<T>>(x[pixel + int64_t(i) * s.stride_w]);
        });
        for (int i = 0; i < s.Q; ++i) y[int64_t(p) * s.Q + i] = static_cast<T>(row[i] * weights[i]);
    }
}

template <class T>
MULTIVERSION void avg_plane_bwd(const ConvShape& s, bool count_include_pad, const T* dy, Acc<T>* row, Acc<T>* dx) {
    Acc<T>* weights = row + s.Q;
    for (int p = 0; p < s.P; ++p) {
        window_weights(s, count_include_pad, p, weights);
        for (int i = 0; i < s.Q; ++i) row[i] = weights[i] * static_cast<Acc<T>>(dy[int64_t(p) * s.Q + i]);
        for_taps(s, p, [&](const Inside& q, int64_t pixel) {
            for (int i = q.lo; i < q.hi; ++i) dx[pixel + int64_t(i) * s.stride_w] += row[i];
        });
    }
}

}  // namespace

void max_pool2d_fwd(const ConvShape& s, DType dtype, Address x, Address y, Address index) {
    if (int64_t(s.H) * s.W > std::numeric_limits<int32_t>::max())
        throw std::invalid_argument("max_pool2d: a plane has fewer than 2**31 pixels, but came " + s.text());
    with_dtype(dtype, [&](auto t) {
        using T = decltype(t);
        const auto plane = is_2x2(s) ? max_plane_2x2<T> : max_plane<T>;
        const int64_t in = int64_t(s.H) * s.W, out = int64_t(s.P) * s.Q;
        parallel_for(int64_t(s.N) * s.C, threads_of(s), [&](int64_t i, int) {
            plane(s, reinterpret_cast<const T*>(x) + i * in, reinterpret_cast<T*>(y) + i * out,
                  reinterpret_cast<int32_t*>(index) + i * out);
        });
    });
}

void max_pool2d_bwd(const ConvShape& s, DType dtype, Address dy, Address index, Address dx) {
    with_dtype(dtype, [&](auto t) {
        using T = decltype(t);
        const int64_t in = int64_t(s.H) * s.W, out = int64_t(s.P) * s.Q;
        fill_planes(s, reinterpret_cast<T*>(dx), [&](int64_t plane, Acc<T>* sums) {
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
        const int threads = threads_of(s);
        std::vector<std::vector<Acc<T>>> rows(threads, std::vector<Acc<T>>(2 * int64_t(s.Q)));
        parallel_for(int64_t(s.N) * s.C, threads, [&](int64_t i, int thread) {
            avg_plane(s, count_include_pad, reinterpret_cast<const T*>(x) + i * s.H * s.W, rows[thread].data(),
                      reinterpret_cast<T*>(y) + i * s.P * s.Q);
        });
    });
}

void avg_pool2d_bwd(const ConvShape& s, DType dtype, bool count_include_pad, Address dy, Address dx) {
    with_dtype(dtype, [&](auto t) {
        using T = decltype(t);
        fill_planes(s, reinterpret_cast<T*>(dx), [&](int64_t plane, Acc<T>* sums) {
            std::vector<Acc<T>> row(2 * int64_t(s.Q));
            avg_plane_bwd(s, count_include_pad, reinterpret_cast<const T*>(dy) + plane * s.P * s.Q, row.data(), sums);
        });
    });
}
