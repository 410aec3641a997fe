// Batch normalisation: statistics, forward and backward, with what follows it in a network: a sum with another tensor,
// and ReLU. A unit of work is a channel: its N planes of HW pixels. Sums are in double, and the variance takes a second
// pass about the mean: exact enough where the mean is far larger than the deviation. Bounded by memory traffic. Rows of
// channels (HW = 1) have loops of their own, in batch_norm_rows.cpp. Called by bind_cpu.cpp.
#include "batch_norm.h"

#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

#include "cpu.h"
#include "element.h"
#include "threads.h"

namespace {

struct Planes {
    int64_t N, C, HW;
    int64_t count() const { return N * HW; }  // of one channel
    int64_t offset(int64_t n, int64_t c) const { return (n * C + c) * HW; }
    int threads() const { return threads_for(C * count() / 2); }
};

template <class T>
MULTIVERSION double sum_of(const T* x, int64_t count) {
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < count; ++i) sum += static_cast<Acc<T>>(x[i]);
    return sum;
}

template <class T>
MULTIVERSION double sum_of_squares_about(const T* x, int64_t count, double mean) {
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < count; ++i) {
        const double d = static_cast<double>(static_cast<Acc<T>>(x[i])) - mean;
        sum += d * d;
    }
    return sum;
}

// The sum of dy (x - mean).
template <class T>
MULTIVERSION double covariance_sum(const T* x, const T* dy, int64_t count, double mean) {
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < count; ++i)
        sum += static_cast<Acc<T>>(dy[i]) * (static_cast<double>(static_cast<Acc<T>>(x[i])) - mean);
    return sum;
}

// y = (x - mean) scale + bias (+ residual), then ReLU, which keeps a NaN.
template <bool added, bool relu, class T>
MULTIVERSION void normalise(const T* x, const T* residual, int64_t count, Acc<T> mean, Acc<T> scale, Acc<T> bias,
                            T* y) {
    for (int64_t i = 0; i < count; ++i) {
        Acc<T> value = (static_cast<Acc<T>>(x[i]) - mean) * scale + bias;
        if (added) value += static_cast<Acc<T>>(residual[i]);
        y[i] = static_cast<T>(relu && value < 0 ? Acc<T>(0) : value);
    }
}

// dx = dy scale - (x - mean) slope - shift; dx may be dy.
template <class T>
MULTIVERSION void input_gradient(const T* x, const T* dy, int64_t count, Acc<T> mean, Acc<T> scale, Acc<T> slope,
                                 Acc<T> shift, T* dx) {
#pragma GCC ivdep
    for (int64_t i = 0; i < count; ++i)
        dx[i] = static_cast<T>(static_cast<Acc<T>>(dy[i]) * scale - (static_cast<Acc<T>>(x[i]) - mean) * slope - shift);
}

template <class T>
void stats(const Planes& p, const T* x, Acc<T>* mean, Acc<T>* var) {
    parallel_for(p.C, p.threads(), [&](int64_t c, int) {
        double sum = 0, squares = 0;
        for (int64_t n = 0; n < p.N; ++n) sum += sum_of(x + p.offset(n, c), p.HW);
        const double exact_mean = sum / p.count();
        for (int64_t n = 0; n < p.N; ++n) squares += sum_of_squares_about(x + p.offset(n, c), p.HW, exact_mean);
        mean[c] = static_cast<Acc<T>>(exact_mean);
        var[c] = static_cast<Acc<T>>(squares / p.count());
    });
}

template <class T>
void fwd(const Planes& p, const T* x, const Acc<T>* mean, const Acc<T>* var, const Acc<T>* weight, const Acc<T>* bias,
         double eps, const T* residual, bool relu, T* y) {
    const auto loop = residual ? (relu ? normalise<true, true, T> : normalise<true, false, T>)
                               : (relu ? normalise<false, true, T> : normalise<false, false, T>);
    parallel_for(p.C, p.threads(), [&](int64_t c, int) {
        const auto scale = static_cast<Acc<T>>(weight[c] / std::sqrt(var[c] + eps));
        for (int64_t n = 0; n < p.N; ++n) {
            const int64_t plane = p.offset(n, c);
            loop(x + plane, residual ? residual + plane : nullptr, p.HW, mean[c], scale, bias[c], y + plane);
        }
    });
}

// With g = dy, or dy where y > 0 if there was a ReLU, and xhat = (x - mean) / deviation:
// dbias = sum(g),  dweight = sum(g xhat),
// dx = weight / deviation (g - dbias / count - xhat dweight / count), the last two terms in training only.
template <class T>
void bwd(const Planes& p, bool training, const T* x, const T* dy, const T* y, const Acc<T>* mean, const Acc<T>* var,
         const Acc<T>* weight, double eps, T* masked, T* dx, Acc<T>* dweight, Acc<T>* dbias) {
    const T* const gradient = y ? masked : dy;
    parallel_for(p.C, p.threads(), [&](int64_t c, int) {
        const double deviation = std::sqrt(var[c] + eps);
        double sum = 0, covariance = 0;
        for (int64_t n = 0; n < p.N; ++n) {
            const int64_t plane = p.offset(n, c);
            if (y) mask(y + plane, dy + plane, p.HW, masked + plane);
            sum += sum_of(gradient + plane, p.HW);
            covariance += covariance_sum(x + plane, gradient + plane, p.HW, mean[c]);
        }
        dbias[c] = static_cast<Acc<T>>(sum);
        dweight[c] = static_cast<Acc<T>>(covariance / deviation);
        if (!dx) return;
        const double scale = weight[c] / deviation;
        const double slope = training ? scale * covariance / (deviation * deviation * p.count()) : 0;
        const double shift = training ? scale * sum / p.count() : 0;
        for (int64_t n = 0; n < p.N; ++n) {
            const int64_t plane = p.offset(n, c);
            input_gradient<T>(x + plane, gradient + plane, p.HW, mean[c], scale, slope, shift, dx + plane);
        }
    });
}

// `least` pixels of each channel are needed.
Planes planes(const char* op, int64_t N, int64_t C, int64_t HW, int64_t least) {
    if (N < 0 || C < 0 || HW < 0 || N * HW < least)
        throw std::invalid_argument(std::string(op) + ": takes at least " + std::to_string(least) +
                                    " pixels a channel, but came (N " + std::to_string(N) + ", C " + std::to_string(C) +
                                    ", HW " + std::to_string(HW) + ")");
    return {N, C, HW};
}

template <class T>
T* at(Address address) {
    return reinterpret_cast<T*>(address);
}

}  // namespace

int64_t batch_norm_workspace(int64_t, int64_t, int64_t) { return 0; }

void batch_norm_stats(DType dtype, int64_t N, int64_t C, int64_t HW, Address x, Address mean, Address var, Address,
                      int64_t) {
    const Planes p = planes("batch_norm_stats", N, C, HW, 1);
    with_dtype(dtype, [&](auto t) {
        using T = decltype(t);
        if (HW == 1 && C > 0) return batch_norm_rows::stats(N, C, at<const T>(x), at<Acc<T>>(mean), at<Acc<T>>(var));
        stats(p, at<const T>(x), at<Acc<T>>(mean), at<Acc<T>>(var));
    });
}

void batch_norm_fwd(DType dtype, int64_t N, int64_t C, int64_t HW, Address x, Address mean, Address var, Address weight,
                    Address bias, double eps, Address residual, bool relu, Address y) {
    const Planes p = planes("batch_norm_fwd", N, C, HW, 0);
    with_dtype(dtype, [&](auto t) {
        using T = decltype(t);
        using A = const Acc<T>;
        if (HW == 1 && C > 0)
            return batch_norm_rows::fwd(N, C, at<const T>(x), at<A>(mean), at<A>(var), at<A>(weight), at<A>(bias), eps,
                                        at<const T>(residual), relu, at<T>(y));
        fwd(p, at<const T>(x), at<A>(mean), at<A>(var), at<A>(weight), at<A>(bias), eps, at<const T>(residual), relu,
            at<T>(y));
    });
}

void batch_norm_bwd(DType dtype, bool training, int64_t N, int64_t C, int64_t HW, Address x, Address dy, Address y,
                    Address mean, Address var, Address weight, double eps, Address masked, Address dx, Address dweight,
                    Address dbias, Address, int64_t) {
    const Planes p = planes("batch_norm_bwd", N, C, HW, 0);
    if (y && !masked) throw std::invalid_argument("batch_norm_bwd: behind a ReLU (y) its gradient (masked) is written");
    with_dtype(dtype, [&](auto t) {
        using T = decltype(t);
        using A = const Acc<T>;
        if (HW == 1 && C > 0)
            return batch_norm_rows::bwd(N, C, training, at<const T>(x), at<const T>(dy), at<const T>(y), at<A>(mean),
                                        at<A>(var), at<A>(weight), eps, at<T>(masked), at<T>(dx), at<Acc<T>>(dweight),
                                        at<Acc<T>>(dbias));
        bwd(p, training, at<const T>(x), at<const T>(dy), at<const T>(y), at<A>(mean), at<A>(var), at<A>(weight), eps,
            at<T>(masked), at<T>(dx), at<Acc<T>>(dweight), at<Acc<T>>(dbias));
    });
}
