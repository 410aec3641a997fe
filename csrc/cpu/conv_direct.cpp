// Convolution as its definition says: the reference meaning of every other algorithm, threaded, with inner loops over
// a row so that they vectorise. Needs no workspace. Bounded by loads: two per multiply-add. Called by bind_cpu.cpp.
#include "columns.h"
#include "cpu.h"
#include "element.h"
#include "threads.h"

namespace {

constexpr int row_block = 512;  // outputs of a row that are summed on the stack

// sums[i] += factor in[i stride].
template <class T>
INLINE void add_gathered(Acc<T>* sums, const T* in, int count, int stride, Acc<T> factor) {
    if (stride == 1)
        for (int i = 0; i < count; ++i) sums[i] += factor * static_cast<Acc<T>>(in[i]);
    else
        for (int i = 0; i < count; ++i) sums[i] += factor * static_cast<Acc<T>>(in[int64_t(i) * stride]);
}

// sums[i stride] += factor in[i].
template <class T>
INLINE void add_scattered(Acc<T>* sums, const T* in, int count, int stride, Acc<T> factor) {
    if (stride == 1)
        for (int i = 0; i < count; ++i) sums[i] += factor * static_cast<Acc<T>>(in[i]);
    else
        for (int i = 0; i < count; ++i) sums[int64_t(i) * stride] += factor * static_cast<Acc<T>>(in[i]);
}

// The sum of a[i stride] b[i].
template <class T>
INLINE Acc<T> dot(const T* a, const T* b, int count, int stride) {
    Acc<T> sum = 0;
    if (stride == 1) {
#pragma omp simd reduction(+ : sum)
        for (int i = 0; i < count; ++i) sum += static_cast<Acc<T>>(a[i]) * static_cast<Acc<T>>(b[i]);
    } else {
#pragma omp simd reduction(+ : sum)
        for (int i = 0; i < count; ++i) sum += static_cast<Acc<T>>(a[int64_t(i) * stride]) * static_cast<Acc<T>>(b[i]);
    }
    return sum;
}

template <class T>
INLINE void round_to(T* out, const Acc<T>* sums, int count) {
    for (int i = 0; i < count; ++i) out[i] = static_cast<T>(sums[i]);
}

int threads_of(const ConvShape& s) { return threads_for(s.y_size() * s.Cg() * s.R * s.S / 4); }

INLINE int64_t tap_offset(int tap, int dil, int pad) { return int64_t(tap) * dil - pad; }

// One row of y: (n, k, p) = unit.
template <class T>
MULTIVERSION void fwd_row(const ConvShape& s, const T* x, const T* w, const T* bias, bool relu, T* y, int64_t unit) {
    const int64_t n = unit / s.P / s.K, k = unit / s.P % s.K, p = unit % s.P;
    const int64_t Cg = s.Cg();
    const T* image = x + (n * s.C + k / s.Kg() * Cg) * s.H * s.W;
    Acc<T> sums[row_block];
    for (int q0 = 0; q0 < s.Q; q0 += row_block) {
        const int q1 = std::min(q0 + row_block, s.Q);
        std::fill_n(sums, q1 - q0, Acc<T>(0));
        for (int t = 0; t < s.S; ++t) {
            const int64_t offset = tap_offset(t, s.dil_w, s.pad_w);
            const Inside q(q0, q1, offset, s.stride_w, s.W);
            if (q.lo == q.hi) continue;
            for (int64_t c = 0; c < Cg; ++c)
                for (int r = 0; r < s.R; ++r) {
                    const int64_t h = p * s.stride_h + tap_offset(r, s.dil_h, s.pad_h);
                    if (h < 0 || h >= s.H) continue;
                    add_gathered(sums + (q.lo - q0), image + (c * s.H + h) * s.W + q.lo * int64_t(s.stride_w) + offset,
                                 q.hi - q.lo, s.stride_w, static_cast<Acc<T>>(w[((k * Cg + c) * s.R + r) * s.S + t]));
                }
        }
        if (bias || relu) {
            const Acc<T> offset = bias ? static_cast<Acc<T>>(bias[k]) : Acc<T>(0);
            for (int i = 0; i < q1 - q0; ++i) sums[i] = relu && sums[i] + offset < 0 ? Acc<T>(0) : sums[i] + offset;
        }
        round_to(y + unit * s.Q + q0, sums, q1 - q0);
    }
}

// One row of dx: (n, channel, h) = unit.
template <class T>
MULTIVERSION void dgrad_row(const ConvShape& s, const T* dy, const T* w, T* dx, int64_t unit) {
    const int64_t n = unit / s.H / s.C, channel = unit / s.H % s.C, h = unit % s.H;
    const int64_t Cg = s.Cg(), Kg = s.Kg(), g = channel / Cg;
    Acc<T> sums[row_block];
    for (int w0 = 0; w0 < s.W; w0 += row_block) {
        const int w1 = std::min(w0 + row_block, s.W);
        std::fill_n(sums, w1 - w0, Acc<T>(0));
        for (int t = 0; t < s.S; ++t) {
            // Outputs whose pixel lies in [w0, w1), seen as an image that starts at w0.
            const int64_t offset = tap_offset(t, s.dil_w, s.pad_w) - w0;
            const Inside q(0, s.Q, offset, s.stride_w, w1 - w0);
            if (q.lo == q.hi) continue;
            for (int r = 0; r < s.R; ++r) {
                const int64_t down = h - tap_offset(r, s.dil_h, s.pad_h), p = down / s.stride_h;
                if (down < 0 || down % s.stride_h || p >= s.P) continue;
                for (int64_t k = g * Kg; k < (g + 1) * Kg; ++k)
                    add_scattered(sums + q.lo * int64_t(s.stride_w) + offset,
                                  dy + ((n * s.K + k) * s.P + p) * s.Q + q.lo, q.hi - q.lo, s.stride_w,
                                  static_cast<Acc<T>>(w[((k * Cg + channel % Cg) * s.R + r) * s.S + t]));
            }
        }
        round_to(dx + unit * s.W + w0, sums, w1 - w0);
    }
}

// One tap of dw: (k, c, r, t) = unit. Images are summed apart, then added: shorter sums round less.
template <class T>
MULTIVERSION void wgrad_tap(const ConvShape& s, const T* x, const T* dy, T* dw, int64_t unit) {
    const int64_t Cg = s.Cg(), taps = int64_t(s.R) * s.S;
    const int64_t k = unit / taps / Cg, channel = k / s.Kg() * Cg + unit / taps % Cg;
    const int64_t down = tap_offset(static_cast<int>(unit % taps / s.S), s.dil_h, s.pad_h);
    const int64_t right = tap_offset(static_cast<int>(unit % s.S), s.dil_w, s.pad_w);
    const Inside p(0, s.P, down, s.stride_h, s.H), q(0, s.Q, right, s.stride_w, s.W);
    Acc<T> sum = 0;
    for (int64_t n = 0; n < s.N && q.lo < q.hi; ++n) {
        const T* plane = x + (n * s.C + channel) * s.H * s.W + q.lo * int64_t(s.stride_w) + right;
        const T* grad = dy + (n * s.K + k) * s.P * s.Q + q.lo;
        Acc<T> image_sum = 0;
        for (int64_t row = p.lo; row < p.hi; ++row)
            image_sum += dot(plane + (row * s.stride_h + down) * s.W, grad + row * s.Q, q.hi - q.lo, s.stride_w);
        sum += image_sum;
    }
    dw[unit] = static_cast<T>(sum);
}

}  // namespace

void conv_direct_fwd(const ConvShape& s, DType dtype, Address x, Address w, Address bias, bool relu, Address y, Address,
                     int64_t) {
    with_dtype(dtype, [&](auto t) {
        using T = decltype(t);
        parallel_for(int64_t(s.N) * s.K * s.P, threads_of(s), [&](int64_t unit, int) {
            fwd_row(s, reinterpret_cast<const T*>(x), reinterpret_cast<const T*>(w), reinterpret_cast<const T*>(bias),
                    relu, reinterpret_cast<T*>(y), unit);
        });
    });
}

void conv_direct_dgrad(const ConvShape& s, DType dtype, Address dy, Address w, Address dx, Address, int64_t) {
    with_dtype(dtype, [&](auto t) {
        using T = decltype(t);
        parallel_for(int64_t(s.N) * s.C * s.H, threads_of(s), [&](int64_t unit, int) {
            dgrad_row(s, reinterpret_cast<const T*>(dy), reinterpret_cast<const T*>(w), reinterpret_cast<T*>(dx), unit);
        });
    });
}

void conv_direct_wgrad(const ConvShape& s, DType dtype, Address x, Address dy, Address dw, Address, int64_t) {
    with_dtype(dtype, [&](auto t) {
        using T = decltype(t);
        parallel_for(s.w_size(), threads_of(s), [&](int64_t unit, int) {
            wgrad_tap(s, reinterpret_cast<const T*>(x), reinterpret_cast<const T*>(dy), reinterpret_cast<T*>(dw), unit);
        });
    });
}
