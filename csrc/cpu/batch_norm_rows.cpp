// Batch normalisation of rows of C neighbouring values: images in channels_last order, and matrices (N, C). A unit of
// work is a part of the rows. Loops run over a period: as many rows as make 256 values, so that few channels vectorise,
// too. The sums of a part are in double, as in batch_norm.cpp, and those of all parts are added in order; parts follow
// from the sizes alone. Bounded by memory traffic. Called by batch_norm.cpp.
#include <algorithm>
#include <cmath>
#include <vector>

#include "batch_norm.h"
#include "threads.h"

namespace {

struct Rows {
    int64_t rows, C;

    int64_t period() const { return (255 + C) / C * C; }
    // At most 64 parts, of 64 periods or more, so that their sums take little beside them.
    int64_t parts() const { return std::clamp<int64_t>(rows * C / (64 * period()), 1, 64); }

    // f(part, its first value, the values of it)
    template <class F>
    void for_parts(const F& f) const {
        const int64_t size = (rows + parts() - 1) / parts();
        parallel_for(parts(), threads_for(rows * C / 2), [&](int64_t part, int) {
            const int64_t first = std::min(part * size, rows);
            f(part, first * C, std::min(size, rows - first) * C);
        });
    }

    // The totals of two sums a channel, (2, C), from add(first value, count, sums), which adds up a part into sums (2,
    // period).
    template <class F>
    std::vector<double> totals(const F& add) const {
        const int64_t width = 2 * period();
        std::vector<double> sums(parts() * width), total(2 * C);
        for_parts([&](int64_t part, int64_t first, int64_t count) { add(first, count, &sums[part * width]); });
        for (int64_t part = 1; part < parts(); ++part)
            for (int64_t i = 0; i < width; ++i) sums[i] += sums[part * width + i];
        for (int64_t i = 0; i < period(); ++i) {
            total[i % C] += sums[i];
            total[C + i % C] += sums[period() + i];
        }
        return total;
    }

    // The values of the channels (C,), one after the other for a period.
    template <class A, class V>
    std::vector<A> repeated(const V* values) const {
        std::vector<A> all(period());
        for (int64_t i = 0; i < period(); ++i) all[i] = static_cast<A>(values[i % C]);
        return all;
    }
};

struct Two {
    double first, second;
    INLINE Two operator+(const Two& other) const { return {first + other.first, second + other.second}; }
};

// sums (2, period) += the sums of value(first + i, i) over all periods; four of them at a time, as sums lie in memory.
template <class F>
INLINE void add_periods(int64_t count, int64_t period, double* sums, F&& value) {
    double* const others = sums + period;
    int64_t first = 0;
    for (; first + 4 * period <= count; first += 4 * period)
#pragma GCC ivdep
        for (int64_t i = 0; i < period; ++i) {
            const Two sum = (value(first + i, i) + value(first + period + i, i)) +
                            (value(first + 2 * period + i, i) + value(first + 3 * period + i, i));
            sums[i] += sum.first;
            others[i] += sum.second;
        }
    for (; first < count; first += period) {
        const int64_t size = std::min(period, count - first);
#pragma GCC ivdep
        for (int64_t i = 0; i < size; ++i) {
            const Two sum = value(first + i, i);
            sums[i] += sum.first;
            others[i] += sum.second;
        }
    }
}

// sums of x - centre and of its squares
template <class T>
MULTIVERSION void add_deviations(const T* x, const double* centre, int64_t count, int64_t period, double* sums) {
    add_periods(count, period, sums, [&](int64_t at, int64_t i) INLINE_LAMBDA {
        const double d = static_cast<double>(static_cast<Acc<T>>(x[at])) - centre[i];
        return Two{d, d * d};
    });
}

// sums of dy and of dy (x - mean)
template <class T>
MULTIVERSION void add_gradients(const T* x, const T* dy, const double* mean, int64_t count, int64_t period,
                                double* sums) {
    add_periods(count, period, sums, [&](int64_t at, int64_t i) INLINE_LAMBDA {
        const double g = static_cast<Acc<T>>(dy[at]);
        return Two{g, g * (static_cast<double>(static_cast<Acc<T>>(x[at])) - mean[i])};
    });
}

template <bool added, bool relu, class T>
MULTIVERSION void normalise(const T* x, const T* residual, int64_t count, int64_t period, const Acc<T>* mean,
                            const Acc<T>* scale, const Acc<T>* bias, T* y) {
    for (int64_t first = 0; first < count; first += period) {
        const int64_t size = std::min(period, count - first);
#pragma GCC ivdep
        for (int64_t i = 0; i < size; ++i) {
            Acc<T> value = (static_cast<Acc<T>>(x[first + i]) - mean[i]) * scale[i] + bias[i];
            if (added) value += static_cast<Acc<T>>(residual[first + i]);
            y[first + i] = static_cast<T>(relu && value < 0 ? Acc<T>(0) : value);
        }
    }
}

template <class T>
MULTIVERSION void input_gradient(const T* x, const T* dy, int64_t count, int64_t period, const Acc<T>* mean,
                                 const Acc<T>* scale, const Acc<T>* slope, const Acc<T>* shift, T* dx) {
    for (int64_t first = 0; first < count; first += period) {
        const int64_t size = std::min(period, count - first);
#pragma GCC ivdep
        for (int64_t i = 0; i < size; ++i)
            dx[first + i] = static_cast<T>(static_cast<Acc<T>>(dy[first + i]) * scale[i] -
                                           (static_cast<Acc<T>>(x[first + i]) - mean[i]) * slope[i] - shift[i]);
    }
}

}  // namespace

namespace batch_norm_rows {

// One pass, about the first row: the square of its distance from the mean is at most rows times the variance, so that
// of the 53 bits of double no more are lost than rows has.
template <class T>
void stats(int64_t rows, int64_t C, const T* x, Acc<T>* mean, Acc<T>* var) {
    const Rows g{rows, C};
    const std::vector<double> centre = g.repeated<double>(x);
    const std::vector<double> sums = g.totals([&](int64_t first, int64_t count, double* out) {
        add_deviations(x + first, centre.data(), count, g.period(), out);
    });
    for (int64_t c = 0; c < C; ++c) {
        const double rest = sums[c] / rows, square = sums[C + c] / rows - rest * rest;
        mean[c] = static_cast<Acc<T>>(centre[c] + rest);
        var[c] = static_cast<Acc<T>>(square < 0 ? 0 : square);
    }
}

template <class T>
void fwd(int64_t rows, int64_t C, const T* x, const Acc<T>* mean, const Acc<T>* var, const Acc<T>* weight,
         const Acc<T>* bias, double eps, const T* residual, bool relu, T* y) {
    const auto loop = residual ? (relu ? normalise<true, true, T> : normalise<true, false, T>)
                               : (relu ? normalise<false, true, T> : normalise<false, false, T>);
    const Rows g{rows, C};
    std::vector<double> ratio(C);
    for (int64_t c = 0; c < C; ++c) ratio[c] = weight[c] / std::sqrt(var[c] + eps);
    const auto means = g.repeated<Acc<T>>(mean), scale = g.repeated<Acc<T>>(ratio.data()),
               biases = g.repeated<Acc<T>>(bias);
    g.for_parts([&](int64_t, int64_t first, int64_t count) {
        loop(x + first, residual ? residual + first : nullptr, count, g.period(), means.data(), scale.data(),
             biases.data(), y + first);
    });
}

template <class T>
void bwd(int64_t rows, int64_t C, bool training, const T* x, const T* dy, const T* y, const Acc<T>* mean,
         const Acc<T>* var, const Acc<T>* weight, double eps, T* masked, T* dx, Acc<T>* dweight, Acc<T>* dbias) {
    const Rows g{rows, C};
    const int64_t period = g.period();
    const T* const gradient = y ? masked : dy;
    const std::vector<double> wide_means = g.repeated<double>(mean);
    const std::vector<double> sums = g.totals([&](int64_t part, int64_t values, double* out) {
        const int64_t block = (4096 / (4 * period) + 1) * 4 * period;  // stays in L1 from loop to loop
        for (int64_t first = part; first < part + values; first += block) {
            const int64_t count = std::min(block, part + values - first);
            if (y) mask(y + first, dy + first, count, masked + first);
            add_gradients(x + first, gradient + first, wide_means.data(), count, period, out);
        }
    });
    std::vector<double> ratio(C), slope(C), shift(C);
    for (int64_t c = 0; c < C; ++c) {
        const double deviation = std::sqrt(var[c] + eps);
        dbias[c] = static_cast<Acc<T>>(sums[c]);
        dweight[c] = static_cast<Acc<T>>(sums[C + c] / deviation);
        ratio[c] = weight[c] / deviation;
        slope[c] = training ? ratio[c] * sums[C + c] / (deviation * deviation * rows) : 0;
        shift[c] = training ? ratio[c] * sums[c] / rows : 0;
    }
    if (!dx) return;
    const auto means = g.repeated<Acc<T>>(mean), scales = g.repeated<Acc<T>>(ratio.data()),
               slopes = g.repeated<Acc<T>>(slope.data()), shifts = g.repeated<Acc<T>>(shift.data());
    g.for_parts([&](int64_t, int64_t first, int64_t count) {
        input_gradient(x + first, gradient + first, count, period, means.data(), scales.data(), slopes.data(),
                       shifts.data(), dx + first);
    });
}

#define FOR_TYPE(T)                                                                                                   \
    template void stats(int64_t, int64_t, const T*, Acc<T>*, Acc<T>*);                                                \
    template void fwd(int64_t, int64_t, const T*, const Acc<T>*, const Acc<T>*, const Acc<T>*, const Acc<T>*, double, \
                      const T*, bool, T*);                                                                            \
    template void bwd(int64_t, int64_t, bool, const T*, const T*, const T*, const Acc<T>*, const Acc<T>*,             \
                      const Acc<T>*, double, T*, T*, Acc<T>*, Acc<T>*);
FOR_TYPE(float)
FOR_TYPE(double)
FOR_TYPE(Half)
FOR_TYPE(BFloat16)
#undef FOR_TYPE

}  // namespace batch_norm_rows
