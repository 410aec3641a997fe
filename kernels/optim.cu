// The steps of SGD and Adam over many parameters at once.
//
//   value, velocity, mean, square   (count,) float32 per tensor      read and written
//   grad                            (count,) dtype or float32        read
//   stored                          (count,) dtype, or null          written: value rounded
//
// One launch takes up to kTensors tensors, whose addresses travel in the kernel's parameters (4 KB hold them): block
// row y works on tensor y, its threads take elements in a grid-stride loop, and the blocks beyond a small tensor end at
// once. Speed: memory, each array read and written once. Called by gpucnn/optim (bound in csrc/bind_cuda.cpp).
#include "common.cuh"

namespace {

constexpr int kTensors = 64, kArrays = 5;

struct TensorList {
    int64_t count[kTensors];
    void* array[kArrays][kTensors];
};

template <class T, class G>
__global__ void sgd_kernel(TensorList list, SgdOptions<float> o) {
    const int tensor = blockIdx.y;
    float* value = static_cast<float*>(list.array[0][tensor]);
    const G* grad = static_cast<const G*>(list.array[1][tensor]);
    float* velocity = static_cast<float*>(list.array[2][tensor]);
    T* stored = static_cast<T*>(list.array[3][tensor]);
    for (int64_t i = thread_index(); i < list.count[tensor]; i += thread_count()) {
        float g = static_cast<float>(grad[i]);
        if (o.weight_decay != 0) g += o.weight_decay * value[i];
        if (velocity) {
            const float v = velocity[i] * o.momentum + g;
            velocity[i] = v;
            g = o.nesterov ? g + o.momentum * v : v;
        }
        const float result = value[i] - o.lr * g;
        value[i] = result;
        if (stored) stored[i] = static_cast<T>(result);
    }
}

template <class T, class G>
__global__ void adam_kernel(TensorList list, AdamOptions<float> o) {
    const int tensor = blockIdx.y;
    float* value = static_cast<float*>(list.array[0][tensor]);
    const G* grad = static_cast<const G*>(list.array[1][tensor]);
    float* mean = static_cast<float*>(list.array[2][tensor]);
    float* square = static_cast<float*>(list.array[3][tensor]);
    T* stored = static_cast<T*>(list.array[4][tensor]);
    for (int64_t i = thread_index(); i < list.count[tensor]; i += thread_count()) {
        float g = static_cast<float>(grad[i]), p = value[i];
        if (o.weight_decay != 0) g += o.weight_decay * p;
        p *= o.shrink;
        const float m = mean[i] + o.mean_rate * (g - mean[i]);
        const float s = square[i] * o.beta2 + o.square_rate * (g * g);
        mean[i] = m;
        square[i] = s;
        p -= o.lr * (m / (sqrtf(s) * o.root_scale + o.eps));
        value[i] = p;
        if (stored) stored[i] = static_cast<T>(p);
    }
}

using Addresses = std::vector<std::uintptr_t>;

// launch_one(T{}, G{}, list, grid) for every kTensors tensors, T the dtype of the parameters, G that of the gradients.
template <class LaunchOne>
void over_lists(const char* op, DType dtype, DType grad_dtype, const std::vector<int64_t>& counts,
                std::initializer_list<const Addresses*> arrays, LaunchOne&& launch_one) {
    for (const Addresses* addresses : arrays)
        if (addresses->size() != counts.size())
            throw std::invalid_argument(std::string(op) + ": lists are equally long, but came " +
                                        std::to_string(addresses->size()) + " for " + std::to_string(counts.size()));
    if (grad_dtype != dtype && grad_dtype != DType::float32)
        throw std::invalid_argument(std::string(op) + ": gradients are of the parameters' dtype or float32, but came " +
                                    name_of(grad_dtype) + " for " + name_of(dtype));
    for (size_t first = 0; first < counts.size(); first += kTensors) {
        const size_t tensors = std::min<size_t>(kTensors, counts.size() - first);
        TensorList list;
        int64_t largest = 0;
        for (size_t t = 0; t < tensors; ++t) {
            list.count[t] = counts[first + t];
            largest = std::max(largest, list.count[t]);
            int row = 0;
            for (const Addresses* addresses : arrays)
                list.array[row++][t] = reinterpret_cast<void*>((*addresses)[first + t]);
        }
        if (largest == 0) continue;
        dim3 grid = blocks_for(largest, 4 * kThreads);  // four elements a thread hide the latency of memory
        grid.y = unsigned(tensors);
        with_dtype(dtype, [&](auto element) {
            if (grad_dtype == dtype)
                launch_one(element, element, list, grid);
            else
                launch_one(element, float(), list, grid);
        });
        check(cudaGetLastError(), op, std::to_string(tensors) + " tensors, the largest of " + std::to_string(largest));
    }
}

}  // namespace

void sgd_step(DType dtype, DType grad_dtype, const std::vector<int64_t>& counts, const Addresses& value,
              const Addresses& grad, const Addresses& velocity, const Addresses& stored, double lr, double momentum,
              double weight_decay, bool nesterov, cudaStream_t stream) {
    const SgdOptions<float> options(SgdOptions<double>{lr, momentum, weight_decay, nesterov});
    over_lists("sgd_step", dtype, grad_dtype, counts, {&value, &grad, &velocity, &stored},
               [&](auto t, auto g, const TensorList& list, dim3 grid) {
                   launch(sgd_kernel<decltype(t), decltype(g)>, grid, kThreads, 0, stream, list, options);
               });
}

void adam_step(DType dtype, DType grad_dtype, const std::vector<int64_t>& counts, const Addresses& value,
               const Addresses& grad, const Addresses& mean, const Addresses& square, const Addresses& stored,
               double lr, double shrink, double mean_rate, double beta2, double square_rate, double root_scale,
               double eps, double weight_decay, cudaStream_t stream) {
    const AdamOptions<float> options(
        AdamOptions<double>{lr, shrink, mean_rate, beta2, square_rate, root_scale, eps, weight_decay});
    over_lists("adam_step", dtype, grad_dtype, counts, {&value, &grad, &mean, &square, &stored},
               [&](auto t, auto g, const TensorList& list, dim3 grid) {
                   launch(adam_kernel<decltype(t), decltype(g)>, grid, kThreads, 0, stream, list, options);
               });
}
