// Softmax and log-softmax over the rows of a matrix, and softmax cross-entropy with its gradient. The row's maximum is
// subtracted first, so that no exponential overflows. Bounded by the exponentials. Called by bind_cpu.cpp.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <string>

#include "cpu.h"
#include "element.h"
#include "exp.h"
#include "threads.h"

namespace {

template <class T>
MULTIVERSION Acc<T> largest_of(const T* x, int64_t cols) {
    Acc<T> largest = -std::numeric_limits<Acc<T>>::infinity();
#pragma omp simd reduction(max : largest)
    for (int64_t i = 0; i < cols; ++i) largest = std::max(largest, static_cast<Acc<T>>(x[i]));
    return largest;
}

template <class T>
MULTIVERSION Acc<T> sum_of_exponentials(const T* x, int64_t cols, Acc<T> largest) {
    Acc<T> sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < cols; ++i) sum += exp_nonpositive(static_cast<Acc<T>>(x[i]) - largest);
    return sum;
}

template <class T>
MULTIVERSION void fwd_row(bool log, int64_t cols, const T* x, T* y) {
    using A = Acc<T>;
    const A largest = largest_of(x, cols), sum = sum_of_exponentials(x, cols, largest);
    if (log) {
        const A shift = std::log(sum);
        for (int64_t i = 0; i < cols; ++i) y[i] = static_cast<T>(static_cast<A>(x[i]) - largest - shift);
    } else {
        const A factor = A(1) / sum;
        for (int64_t i = 0; i < cols; ++i)
            y[i] = static_cast<T>(exp_nonpositive(static_cast<A>(x[i]) - largest) * factor);
    }
}

// softmax: dx = y (dy - sum(dy y));  log-softmax: dx = dy - exp(y) sum(dy).
template <class T>
MULTIVERSION void bwd_row(bool log, int64_t cols, const T* y, const T* dy, T* dx) {
    using A = Acc<T>;
    A sum = 0;
    if (log) {
#pragma omp simd reduction(+ : sum)
        for (int64_t i = 0; i < cols; ++i) sum += static_cast<A>(dy[i]);
        for (int64_t i = 0; i < cols; ++i)
            dx[i] = static_cast<T>(static_cast<A>(dy[i]) - exp_nonpositive(static_cast<A>(y[i])) * sum);
    } else {
#pragma omp simd reduction(+ : sum)
        for (int64_t i = 0; i < cols; ++i) sum += static_cast<A>(dy[i]) * static_cast<A>(y[i]);
        for (int64_t i = 0; i < cols; ++i) dx[i] = static_cast<T>(static_cast<A>(y[i]) * (static_cast<A>(dy[i]) - sum));
    }
}

// The sum of weight (x - largest), where no weight means ones.
template <class T>
MULTIVERSION Acc<T> weighted_sum(const T* x, const Acc<T>* weight, int64_t cols, Acc<T> largest) {
    using A = Acc<T>;
    A sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < cols; ++i) sum += (weight ? weight[i] : A(1)) * (static_cast<A>(x[i]) - largest);
    return sum;
}

// dx = factor exp(x - largest) - share weight.
template <class T>
MULTIVERSION void logit_gradient(const T* x, const Acc<T>* weight, int64_t cols, Acc<T> largest, Acc<T> factor,
                                 Acc<T> share, T* dx) {
    using A = Acc<T>;
    for (int64_t i = 0; i < cols; ++i)
        dx[i] = static_cast<T>(factor * exp_nonpositive(static_cast<A>(x[i]) - largest) -
                               share * (weight ? weight[i] : A(1)));
}

// One row of cross_entropy. The target t has `share` times weight everywhere and `most` more at the label:
// loss = -sum(t log p) = sum(t) log(sum(exp(x'))) - sum(t x') with x' = x - largest;  dx = sum(t) p - t.
template <class T>
Acc<T> cross_entropy_row(const T* x, int64_t label, const Acc<T>* weight, Acc<T> total_weight, Acc<T> smoothing,
                         int64_t cols, T* dx) {
    using A = Acc<T>;
    const A largest = largest_of(x, cols), sum = sum_of_exponentials(x, cols, largest);
    const A most = (A(1) - smoothing) * (weight ? weight[label] : A(1)), share = smoothing / cols;
    const A total = most + share * total_weight;
    const A spread = smoothing > 0 ? share * weighted_sum(x, weight, cols, largest) : A(0);
    if (dx) {
        logit_gradient(x, weight, cols, largest, total / sum, share, dx);
        const A p = exp_nonpositive(static_cast<A>(x[label]) - largest) / sum;
        dx[label] = static_cast<T>(total * p - share * (weight ? weight[label] : A(1)) - most);
    }
    return total * std::log(sum) - most * (static_cast<A>(x[label]) - largest) - spread;
}

void check(const char* op, int64_t rows, int64_t cols) {
    if (rows < 0 || cols < 0)
        throw std::invalid_argument(std::string(op) + ": sizes must not be negative, but came (" +
                                    std::to_string(rows) + ", " + std::to_string(cols) + ")");
}

}  // namespace

void softmax_fwd(DType dtype, bool log, int64_t rows, int64_t cols, Address x, Address y) {
    check("softmax_fwd", rows, cols);
    with_dtype(dtype, [&](auto t) {
        using T = decltype(t);
        parallel_for(rows, threads_for(rows * cols), [&](int64_t row, int) {
            fwd_row(log, cols, reinterpret_cast<const T*>(x) + row * cols, reinterpret_cast<T*>(y) + row * cols);
        });
    });
}

void softmax_bwd(DType dtype, bool log, int64_t rows, int64_t cols, Address y, Address dy, Address dx) {
    check("softmax_bwd", rows, cols);
    with_dtype(dtype, [&](auto t) {
        using T = decltype(t);
        parallel_for(rows, threads_for(rows * cols), [&](int64_t row, int) {
            const int64_t i = row * cols;
            bwd_row(log, cols, reinterpret_cast<const T*>(y) + i, reinterpret_cast<const T*>(dy) + i,
                    reinterpret_cast<T*>(dx) + i);
        });
    });
}

void cross_entropy(DType dtype, int64_t rows, int64_t cols, Address x, Address labels, Address weight, double smoothing,
                   Address loss, Address dx) {
    check("cross_entropy", rows, cols);
    const auto* label = reinterpret_cast<const int64_t*>(labels);
    for (int64_t row = 0; row < rows; ++row)
        if (label[row] < 0 || label[row] >= cols)
            throw std::invalid_argument("cross_entropy: labels lie in [0, " + std::to_string(cols) + "), but came " +
                                        std::to_string(label[row]));
    with_dtype(dtype, [&](auto t) {
        using T = decltype(t);
        using A = Acc<T>;
        const auto* weights = reinterpret_cast<const A*>(weight);
        const A total = weights ? std::accumulate(weights, weights + cols, A(0)) : A(cols);
        parallel_for(rows, threads_for(rows * cols), [&](int64_t row, int) {
            reinterpret_cast<A*>(loss)[row] = cross_entropy_row(reinterpret_cast<const T*>(x) + row * cols, label[row],
                                                                weights, total, static_cast<A>(smoothing), cols,
                                                                dx ? reinterpret_cast<T*>(dx) + row * cols : nullptr);
        });
    });
}
