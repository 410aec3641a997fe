// Softmax and log-softmax over the rows of a matrix. The row's maximum is subtracted first, so that no exponential
// overflows. Bounded by the exponentials. Called by bind_cpu.cpp.
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

#include "cpu.h"
#include "element.h"
#include "threads.h"

namespace {

template <class T>
void fwd_row(bool log, int64_t cols, const T* x, T* y) {
    using A = Acc<T>;
    A largest = -std::numeric_limits<A>::infinity();
    for (int64_t i = 0; i < cols; ++i) largest = std::max(largest, static_cast<A>(x[i]));
    A sum = 0;
    for (int64_t i = 0; i < cols; ++i) sum += std::exp(static_cast<A>(x[i]) - largest);
    const A shift = log ? std::log(sum) : A(0), factor = A(1) / sum;
    for (int64_t i = 0; i < cols; ++i) {
        const A centred = static_cast<A>(x[i]) - largest;
        y[i] = static_cast<T>(log ? centred - shift : std::exp(centred) * factor);
    }
}

// softmax: dx = y (dy - sum(dy y));  log-softmax: dx = dy - exp(y) sum(dy).
template <class T>
void bwd_row(bool log, int64_t cols, const T* y, const T* dy, T* dx) {
    using A = Acc<T>;
    A sum = 0;
    for (int64_t i = 0; i < cols; ++i) sum += static_cast<A>(dy[i]) * (log ? A(1) : static_cast<A>(y[i]));
    for (int64_t i = 0; i < cols; ++i) {
        const A value = y[i], grad = dy[i];
        dx[i] = static_cast<T>(log ? grad - std::exp(value) * sum : value * (grad - sum));
    }
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
        parallel_for(rows, threads_for(rows * cols * 8), [&](int64_t row, int) {
            fwd_row(log, cols, reinterpret_cast<const T*>(x) + row * cols, reinterpret_cast<T*>(y) + row * cols);
        });
    });
}

void softmax_bwd(DType dtype, bool log, int64_t rows, int64_t cols, Address y, Address dy, Address dx) {
    check("softmax_bwd", rows, cols);
    with_dtype(dtype, [&](auto t) {
        using T = decltype(t);
        parallel_for(rows, threads_for(rows * cols * 4), [&](int64_t row, int) {
            const int64_t i = row * cols;
            bwd_row(log, cols, reinterpret_cast<const T*>(y) + i, reinterpret_cast<const T*>(dy) + i,
                    reinterpret_cast<T*>(dx) + i);
        });
    });
}
