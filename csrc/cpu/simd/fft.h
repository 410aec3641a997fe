// Complex FFTs of the lengths in kFftLengths, straight-line butterflies on vectors: every lane is a transform of its
// own, so nothing is shuffled. X_k = sum over j of x_j e^(-2 pi i jk / n), not scaled. The inverse is the same with
// real and imaginary parts swapped at both ends.
#pragma once
#include <utility>

#include "vec.h"

namespace {

// cos(2 pi k / n), to the last bit of a float: at compile time, by the series on an eighth of a turn.
constexpr double cosine(int64_t k, int64_t n) {
    k = (k % n + n) % n * 8, n *= 8;
    if (2 * k > n) k = n - k;
    if (4 * k > n) return -cosine(n / 2 - k, n);
    const bool sine = 8 * k > n;  // cos(x) = sin(quarter turn - x)
    const double x = 6.283185307179586476925286766559 * static_cast<double>(sine ? n / 4 - k : k) / n;
    double sum = 0, term = sine ? x : 1;
    for (int i = sine ? 1 : 0; i < 24; i += 2) {
        sum += term;
        term *= -x * x / ((i + 1) * (i + 2));
    }
    return sum;
}
constexpr double sine(int64_t k, int64_t n) { return cosine(4 * k - n, 4 * n); }

// f(0), f(1), ... with the index as a compile-time constant.
template <class F, int... I>
INLINE void repeat(const F& f, std::integer_sequence<int, I...>) {
    (f(std::integral_constant<int, I>{}), ...);
}
template <int N, class F>
INLINE void repeat(const F& f) {
    repeat(f, std::make_integer_sequence<int, N>{});
}

// (re, im) *= e^(-2 pi i k / N).
template <int k, int N>
INLINE void turn(Vec& re, Vec& im) {
    const Vec a = re, b = im;
    constexpr int eighth = 8 * k % (8 * N);
    constexpr float half = static_cast<float>(cosine(1, 8));
    if constexpr (eighth == 0) {
        return;
    } else if constexpr (eighth == N) {
        re = (a + b) * half, im = (b - a) * half;
    } else if constexpr (eighth == 2 * N) {
        re = b, im = -a;
    } else if constexpr (eighth == 3 * N) {
        re = (b - a) * half, im = (a + b) * -half;
    } else {
        constexpr float c = static_cast<float>(cosine(k, N)), s = static_cast<float>(sine(k, N));
        re = a * c + b * s;
        im = b * c - a * s;
    }
}

// In place and in natural order; N = 2, 3, 4, or a product of them.
template <int N>
INLINE void butterfly(Vec* re, Vec* im) {
    if constexpr (N == 2) {
        const Vec a = re[0], b = im[0];
        re[0] = a + re[1], im[0] = b + im[1];
        re[1] = a - re[1], im[1] = b - im[1];
    } else if constexpr (N == 3) {
        constexpr float s = static_cast<float>(sine(1, 3));
        const Vec sum_re = re[1] + re[2], sum_im = im[1] + im[2];
        const Vec turned_re = (im[1] - im[2]) * s, turned_im = (re[2] - re[1]) * s;
        const Vec rest_re = re[0] - sum_re * 0.5f, rest_im = im[0] - sum_im * 0.5f;
        re[0] += sum_re, im[0] += sum_im;
        re[1] = rest_re + turned_re, im[1] = rest_im + turned_im;
        re[2] = rest_re - turned_re, im[2] = rest_im - turned_im;
    } else {
        // Cooley & Tukey 1965: j = b + B a, k = p + A q.
        constexpr int A = N == 6 || N == 4 ? 2 : N == 12 ? 3 : N / 4, B = N / A;
        Vec half_re[N], half_im[N];
        repeat<B>([&](auto b) INLINE_LAMBDA {
            Vec r[A], i[A];
            repeat<A>([&](auto a) INLINE_LAMBDA { r[a] = re[b + B * a], i[a] = im[b + B * a]; });
            butterfly<A>(r, i);
            repeat<A>([&](auto p) INLINE_LAMBDA {
                turn<b * p, N>(r[p], i[p]);
                half_re[p * B + b] = r[p], half_im[p * B + b] = i[p];
            });
        });
        repeat<A>([&](auto p) INLINE_LAMBDA {
            butterfly<B>(half_re + p * B, half_im + p * B);
            repeat<B>([&](auto q)
                          INLINE_LAMBDA { re[p + A * q] = half_re[p * B + q], im[p + A * q] = half_im[p * B + q]; });
        });
    }
}

// Where the numbers of a transform lie: element j at re + j * stride and im + j * stride, a vector each. Outside of
// [begin, end) inputs count as zero and outputs are not written.
template <class Pointer>
struct Line {
    Pointer re, im;
    int64_t stride;
    int begin, end;

    INLINE bool has(int j) const { return unsigned(j - begin) < unsigned(end - begin); }
};
using In = Line<const float*>;
using Out = Line<float*>;

// e^(-2 pi i bp / n) at [p * B + b].
template <int n, int A>
struct Twiddles {
    float re[n] = {}, im[n] = {};

    constexpr Twiddles() {
        constexpr int B = n / A;
        for (int p = 0; p < A; ++p)
            for (int b = 0; b < B; ++b) {
                re[p * B + b] = static_cast<float>(cosine(p * b, n));
                im[p * B + b] = static_cast<float>(-sine(p * b, n));
            }
    }
};

INLINE void take(const In& in, int j, Vec& re, Vec& im) {
    if (in.has(j))
        re = load(in.re + j * in.stride), im = load(in.im + j * in.stride);
    else
        re = im = Vec{};
}

INLINE void put(const Out& out, int k, Vec re, Vec im) {
    if (out.has(k)) store(out.re + k * out.stride, re), store(out.im + k * out.stride, im);
}

// A transform of n = A B elements: in registers where B is 1, else B butterflies of A and then A of B through a buffer.
template <int A, int B>
void fft(const In& in, const Out& out) {
    if constexpr (B == 1) {
        Vec re[A], im[A];
        repeat<A>([&](auto j) INLINE_LAMBDA { take(in, j, re[j], im[j]); });
        butterfly<A>(re, im);
        repeat<A>([&](auto k) INLINE_LAMBDA { put(out, k, re[k], im[k]); });
    } else {
        static constexpr Twiddles<A * B, A> twiddles;
        alignas(64) float buffer[A * B][2][kLanes];
        for (int b = 0; b < B; ++b) {
            Vec re[A], im[A];
            repeat<A>([&](auto a) INLINE_LAMBDA { take(in, b + B * a, re[a], im[a]); });
            butterfly<A>(re, im);
            repeat<A>([&](auto p) INLINE_LAMBDA {
                const float c = twiddles.re[p * B + b], s = twiddles.im[p * B + b];
                store(buffer[p * B + b][0], p == 0 ? re[p] : re[p] * c - im[p] * s);
                store(buffer[p * B + b][1], p == 0 ? im[p] : im[p] * c + re[p] * s);
            });
        }
        for (int p = 0; p < A; ++p) {
            Vec re[B], im[B];
            repeat<B>([&](auto b)
                          INLINE_LAMBDA { re[b] = load(buffer[p * B + b][0]), im[b] = load(buffer[p * B + b][1]); });
            butterfly<B>(re, im);
            repeat<B>([&](auto q) INLINE_LAMBDA { put(out, p + A * q, re[q], im[q]); });
        }
    }
}

using Fft = void (*)(const In&, const Out&);

inline Fft fft_of(int n) {
    switch (n) {
        case 8:
            return fft<8, 1>;
        case 12:
            return fft<12, 1>;
        case 16:
            return fft<16, 1>;
        case 24:
            return fft<4, 6>;
        case 32:
            return fft<4, 8>;
        case 48:
            return fft<6, 8>;
        case 64:
            return fft<8, 8>;
        case 96:
            return fft<8, 12>;
        default:  // kLongestFft
            return fft<8, 16>;
    }
}

}  // namespace
