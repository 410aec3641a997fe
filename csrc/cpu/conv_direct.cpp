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
MULTIVERSION void add_gathered(Acc<T>* sums, const T* in, int count, int stride, Acc<T> factor) {
    if (stride == 1)
        for (int i = 0; i < count; ++i) sums[i] += factor * static_cast<Acc<T>>(in[i]);
    else
        for (int i = 0; i < count; ++i) sums[i] += factor * static_cast<Acc<T>>(in[int64_t(i) * stride]);
}

// sums[i stride] += factor in[i].
template <class T>
MULTIVERSION void add_scattered(Acc<T>* sums, const T* in, int count, int stride, Acc<T> factor) {
    if (stride == 1)
        for (int i = 0; i < count; ++i) sums[i] += factor * static_cast<Acc<T>>(in[i]);
    else
        for (int i = 0; i < count; ++i) sums[int64_t(i) * stride] += factor * static_cast<Acc<T>>(in[i]);
}

// The sum of a[i stride] b[i].
template <class T>
MULTIVERSION Acc<T> dot(const T* a, const T* b, int count, int stride) {
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
void round_to(T* out, const Acc<T>* sums, int count) {
    for (int i = 0; i < count; ++i) out[i] = static_cast<T>(sums[i]);
}

int threads_of(const ConvShape& s) { return threads_for(s.y_size() * s.Cg() * s.R * s.S / 4); }

int64_t tap_offset(int tap, int dil, int pad) { return int64_t(tap) * dil - pad; }

// A unit is one row of y.
template <class T>
void fwd(const ConvShape& s, const T* x, const T* w, T* y) {
    const int64_t Cg = s.Cg(), Kg = s.Kg();
    parallel_for(int64_t(s.N) * s.K * s.P, threads_of(s), [&](int64_t unit, int) {
        const int64_t n = unit / s.P / s.K, k = unit / s.P % s.K, p = unit % s.P;
        const T* image = x + (n * s.C + k / Kg * Cg) * s.H * s.W;
        Acc<T> sums[row_block];
        for (int q0 = 0; q0 < s.Q; q0 += row_block) {
            const int q1 = std::min(q0 + row_block, s.Q);
            std::fill_n(sums, q1 - q0, Acc<T>(0));
            for (int64_t c = 0; c < Cg; ++c)
                for (int r = 0; r < s.R; ++r) {
                    const int64_t h = p * s.stride_h + tap_offset(r, s.dil_h, s.pad_h);
                    if (h < 0 || h >= s.H) continue;
                    for (int t = 0; t < s.S; ++t) {
                        const int64_t offset = tap_offset(t, s.dil_w, s.pad_w);
                        const Inside q(q0, q1, offset, s.stride_w, s.W);
                        add_gathered(sums + (q.lo - q0),
                                     image + (c * s.H + h) * s.W + q.lo * int64_t(s.stride_w) + offset, q.hi - q.lo,
                                     s.stride_w, static_cast<Acc<T>>(w[((k * Cg + c) * s.R + r) * s.S + t]));
                    }
                }
            round_to(y + unit * s.Q + q0, sums, q1 - q0);
        }
    });
}

// A unit is one row of dx.
template <class T>
void dgrad(const ConvShape& s, const T* dy, const T* w, T* dx) {
    const int64_t Cg = s.Cg(), Kg = s.Kg();
    parallel_for(int64_t(s.N) * s.C * s.H, threads_of(s), [&](int64_t unit, int) {
        const int64_t n = unit / s.H / s.C, channel = unit / s.H % s.C, h = unit % s.H, g = channel / Cg;
        Acc<T> sums[row_block];
        for (int w0 = 0; w0 < s.W; w0 += row_block) {
            const int w1 = std::min(w0 + row_block, s.W);
            std::fill_n(sums, w1 - w0, Acc<T>(0));
            for (int64_t k = g * Kg; k < (g + 1) * Kg; ++k)
                for (int r = 0; r < s.R; ++r) {
                    const int64_t down = h - tap_offset(r, s.dil_h, s.pad_h), p = down / s.stride_h;
                    if (down < 0 || down % s.stride_h || p >= s.P) continue;
                    for (int t = 0; t < s.S; ++t) {
                        // Outputs whose pixel lies in [w0, w1), seen as an image that starts at w0.
                        const int64_t offset = tap_offset(t, s.dil_w, s.pad_w) - w0;
                        const Inside q(0, s.Q, offset, s.stride_w, w1 - w0);
                        add_scattered(sums + q.lo * int64_t(s.stride_w) + offset,
                                      dy + ((n * s.K + k) * s.P + p) * s.Q + q.lo, q.hi - q.lo, s.stride_w,
                                      static_cast<Acc<T>>(w[((k * Cg + channel % Cg) * s.R + r) * s.S + t]));
                    }
                }
            round_to(dx + unit * s.W + w0, sums, w1 - w0);
        }
    });
}

// A unit is one tap (r, s) of one filter plane (k, c). Images are summed apart, then added: shorter sums round less.
template <class T>
void wgrad(const ConvShape& s, const T* x, const T* dy, T* dw) {
    const int64_t Cg = s.Cg(), Kg = s.Kg(), taps = int64_t(s.R) * s.S;
    parallel_for(s.w_size(), threads_of(s), [&](int64_t unit, int) {
        const int64_t k = unit / taps / Cg, channel = k / Kg * Cg + unit / taps % Cg;
        const int r = static_cast<int>(unit % taps / s.S), t = static_cast<int>(unit % s.S);
        const int64_t offset = tap_offset(t, s.dil_w, s.pad_w);
        const Inside q(0, s.Q, offset, s.stride_w, s.W);
        Acc<T> sum = 0;
        for (int64_t n = 0; n < s.N; ++n) {
            const T* plane = x + (n * s.C + channel) * s.H * s.W;
            const T* grad = dy + (n * s.K + k) * s.P * s.Q;
            Acc<T> image_sum = 0;
            for (int p = 0; p < s.P; ++p) {
                const int64_t h = int64_t(p) * s.stride_h + tap_offset(r, s.dil_h, s.pad_h);
                if (h < 0 || h >= s.H) continue;
                image_sum += dot(plane + h * s.W + q.lo * int64_t(s.stride_w) + offset, grad + int64_t(p) * s.Q + q.lo,
                                 q.hi - q.lo, s.stride_w);
            }
            sum += image_sum;
        }
        dw[unit] = static_cast<T>(sum);
    });
}

}  // namespace

void conv_direct_fwd(const ConvShape& s, DType dtype, Address x, Address w, Address y, Address, int64_t) {
    with_dtype(dtype, [&](auto t) {
        using T = decltype(t);
        fwd(s, reinterpret_cast<const T*>(x), reinterpret_cast<const T*>(w), reinterpret_cast<T*>(y));
    });
}

void conv_direct_dgrad(const ConvShape& s, DType dtype, Address dy, Address w, Address dx, Address, int64_t) {
    with_dtype(dtype, [&](auto t) {
        using T = decltype(t);
        dgrad(s, reinterpret_cast<const T*>(dy), reinterpret_cast<const T*>(w), reinterpret_cast<T*>(dx));
    });
}

void conv_direct_wgrad(const ConvShape& s, DType dtype, Address x, Address dy, Address dw, Address, int64_t) {
    with_dtype(dtype, [&](auto t) {
        using T = decltype(t);
        wgrad(s, reinterpret_cast<const T*>(x), reinterpret_cast<const T*>(dy), reinterpret_cast<T*>(dw));
    });
}
