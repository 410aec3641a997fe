// The steps of SGD and Adam over any number of parameters: one pass over each, in chunks that all threads share.
// Bounded by memory. The arithmetic is that of the formulas in gpucnn/optim, one rounding an operation: compiled
// without contraction (CMakeLists.txt), so the bits do not depend on the instruction set. Called by bind_cpu.cpp.
#include <cmath>
#include <stdexcept>
#include <string>

#include "cpu.h"
#include "element.h"
#include "threads.h"

namespace {

constexpr int64_t kChunk = 16384;  // elements: some microseconds of work, and small beside the caches

template <class T>
T* at(Address address, int64_t first) {
    return address ? reinterpret_cast<T*>(address) + first : nullptr;
}

// velocity is null without momentum; stored is null where the parameter is value itself.
template <class T, class G, class A = Acc<T>>
MULTIVERSION void sgd(int64_t count, A* __restrict value, const G* __restrict grad, A* __restrict velocity,
                      T* __restrict stored, const SgdOptions<A> o) {
    for (int64_t i = 0; i < count; ++i) {
        A g = static_cast<A>(grad[i]);
        if (o.weight_decay != 0) g += o.weight_decay * value[i];
        if (velocity) {
            const A v = velocity[i] * o.momentum + g;
            velocity[i] = v;
            g = o.nesterov ? g + o.momentum * v : v;
        }
        const A result = value[i] - o.lr * g;
        value[i] = result;
        if (stored) stored[i] = static_cast<T>(result);
    }
}

template <class T, class G, class A = Acc<T>>
MULTIVERSION void adam(int64_t count, A* __restrict value, const G* __restrict grad, A* __restrict mean,
                       A* __restrict square, T* __restrict stored, const AdamOptions<A> o) {
    for (int64_t i = 0; i < count; ++i) {
        A g = static_cast<A>(grad[i]), p = value[i];
        if (o.weight_decay != 0) g += o.weight_decay * p;
        p *= o.shrink;
        const A m = mean[i] + o.mean_rate * (g - mean[i]);
        const A s = square[i] * o.beta2 + o.square_rate * (g * g);
        mean[i] = m;
        square[i] = s;
        const A root = std::sqrt(s) * o.root_scale + o.eps;
        p -= o.lr * (m / root);
        value[i] = p;
        if (stored) stored[i] = static_cast<T>(p);
    }
}

// work(T{}, G{}, tensor, first, count) for each chunk of each tensor, T the dtype of the parameters, G that of their
// gradients: T or Acc<T>.
template <class Work>
void over_chunks(const char* op, DType dtype, DType grad_dtype, const std::vector<int64_t>& counts,
                 std::initializer_list<const std::vector<Address>*> lists, Work&& work) {
    for (const auto* list : lists)
        if (list->size() != counts.size())
            throw std::invalid_argument(std::string(op) + ": lists are equally long, but came " +
                                        std::to_string(list->size()) + " for " + std::to_string(counts.size()));
    struct Chunk {
        size_t tensor;
        int64_t first;
    };
    std::vector<Chunk> chunks;
    int64_t total = 0;
    for (size_t t = 0; t < counts.size(); ++t) {
        if (counts[t] < 0) throw std::invalid_argument(std::string(op) + ": counts must not be negative");
        for (int64_t first = 0; first < counts[t]; first += kChunk) chunks.push_back({t, first});
        total += counts[t];
    }
    with_dtype(dtype, [&](auto t) {
        using T = decltype(t);
        const auto run = [&](auto g) {
            // A vector of elements is an operation: what is less than some 100 us is not worth another thread.
            parallel_for(chunks.size(), threads_for(total / 8), [&](int64_t unit, int) {
                const Chunk& chunk = chunks[unit];
                const int64_t count = std::min(kChunk, counts[chunk.tensor] - chunk.first);
                work(t, g, chunk.tensor, chunk.first, count);
            });
        };
        if (grad_dtype == dtype) return run(t);
        if (is_narrow<T> && grad_dtype == DType::float32) return run(Acc<T>{});
        throw std::invalid_argument(std::string(op) + ": gradients are of the parameters' dtype or float32, but came " +
                                    name_of(grad_dtype) + " for " + name_of(dtype));
    });
}

}  // namespace

void sgd_step(DType dtype, DType grad_dtype, const std::vector<int64_t>& counts, const std::vector<Address>& value,
              const std::vector<Address>& grad, const std::vector<Address>& velocity,
              const std::vector<Address>& stored, double lr, double momentum, double weight_decay, bool nesterov) {
    const SgdOptions<double> options{lr, momentum, weight_decay, nesterov};
    over_chunks("sgd_step", dtype, grad_dtype, counts, {&value, &grad, &velocity, &stored},
                [&](auto t, auto g, size_t i, int64_t first, int64_t count) {
                    using T = decltype(t);
                    using A = Acc<T>;
                    sgd<T>(count, at<A>(value[i], first), at<decltype(g)>(grad[i], first), at<A>(velocity[i], first),
                           at<T>(stored[i], first), SgdOptions<A>(options));
                });
}

void adam_step(DType dtype, DType grad_dtype, const std::vector<int64_t>& counts, const std::vector<Address>& value,
               const std::vector<Address>& grad, const std::vector<Address>& mean, const std::vector<Address>& square,
               const std::vector<Address>& stored, double lr, double shrink, double mean_rate, double beta2,
               double square_rate, double root_scale, double eps, double weight_decay) {
    const AdamOptions<double> options{lr, shrink, mean_rate, beta2, square_rate, root_scale, eps, weight_decay};
    over_chunks("adam_step", dtype, grad_dtype, counts, {&value, &grad, &mean, &square, &stored},
                [&](auto t, auto g, size_t i, int64_t first, int64_t count) {
                    using T = decltype(t);
                    using A = Acc<T>;
                    adam<T>(count, at<A>(value[i], first), at<decltype(g)>(grad[i], first), at<A>(mean[i], first),
                            at<A>(square[i], first), at<T>(stored[i], first), AdamOptions<A>(options));
                });
}
