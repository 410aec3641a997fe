// Batch normalisation per channel: statistics, y = (x - mean) / sqrt(var + eps) * weight + bias, and its gradient; with
// what follows it in a network: the sum with a residual, and ReLU.
//
//   x, y, dy, dx, residual, masked               (N, C, HW) of the storage dtype
//   mean, var, weight, bias, dweight, dbias      (C,) float32; var is biased (divided by N HW)
//   stats reads x, writes mean and var;   fwd reads x, the four and, unless it is null, residual, writes y;
//   bwd reads x, dy, mean, var, weight, writes dweight, dbias and, unless it is null, dx; behind a ReLU it also reads
//   y, and writes masked: dy where y > 0, else 0, the gradient of the residual
//
// Sums over a channel: one block per channel, each thread every blockDim-th value, then block_reduce: a fixed order, no
// atomics. The variance is the mean square of x - mean in a second pass, and that pass also corrects the rounding of
// the mean, so a mean far larger than the deviation costs no accuracy. y and dx: one thread per element. Speed: memory:
// x is read twice for stats; x and dy once for the sums and once for dx (y and masked once). C blocks only: fewer
// channels than multiprocessors leave some idle. HW = 1 has kernels of its own, in norm_rows.cu, as here a warp would
// read one value of each of 32 rows. Called by gpucnn/ops/norm.py (bound in csrc/bind_cuda.cpp).
#include "reduce.cuh"

namespace {

constexpr int kChannelThreads = 512;

// The sums over channel c of the two values that `value` makes of an offset; those of channel c are (n C + c) HW + i.
template <class F>
__device__ Pair channel_sums(int64_t N, int64_t C, int64_t HW, int64_t c, F value) {
    Pair sums{0, 0};
    for (int64_t j = threadIdx.x; j < N * HW; j += blockDim.x) {
        const Pair one = value((j / HW * C + c) * HW + j % HW);
        sums.first += one.first;
        sums.second += one.second;
    }
    return {block_reduce(sums.first, Sum()), block_reduce(sums.second, Sum())};
}

template <class T>
__global__ void stats_kernel(int64_t N, int64_t C, int64_t HW, const T* __restrict__ x, float* __restrict__ mean,
                             float* __restrict__ var) {
    const float count = float(N * HW);
    for (int64_t c = blockIdx.x; c < C; c += gridDim.x) {
        const auto total = [&](int64_t i) { return Pair{static_cast<Acc>(x[i]), 0}; };
        const float centre = channel_sums(N, C, HW, c, total).first / count;
        const auto about_centre = [&](int64_t i) {
            const float deviation = static_cast<Acc>(x[i]) - centre;
            return Pair{deviation, deviation * deviation};
        };
        const Pair sums = channel_sums(N, C, HW, c, about_centre);
        if (threadIdx.x == 0) {
            const float rest = sums.first / count;
            mean[c] = centre + rest;
            var[c] = fmaxf(sums.second / count - rest * rest, 0.0f);
        }
    }
}

template <class T>
__global__ void norm_fwd_kernel(int64_t N, int64_t C, int64_t HW, const T* __restrict__ x,
                                const float* __restrict__ mean, const float* __restrict__ var,
                                const float* __restrict__ weight, const float* __restrict__ bias, float eps,
                                const T* __restrict__ residual, bool relu, T* __restrict__ y) {
    for (int64_t i = thread_index(); i < N * C * HW; i += thread_count()) {
        const int64_t c = i / HW % C;
        const float scale = weight[c] / sqrtf(var[c] + eps);
        float value = (static_cast<float>(x[i]) - mean[c]) * scale + bias[c];
        if (residual != nullptr) value += static_cast<float>(residual[i]);
        y[i] = static_cast<T>(relu && value < 0 ? 0.0f : value);  // a NaN stays one
    }
}

template <class T>
__global__ void norm_sums_kernel(int64_t N, int64_t C, int64_t HW, const T* __restrict__ x, const T* __restrict__ dy,
                                 const T* __restrict__ y, const float* __restrict__ mean, const float* __restrict__ var,
                                 float eps, T* __restrict__ masked, float* __restrict__ dweight,
                                 float* __restrict__ dbias) {
    for (int64_t c = blockIdx.x; c < C; c += gridDim.x) {
        const float centre = mean[c], deviation = sqrtf(var[c] + eps);
        const auto both = [&](int64_t i) {
            T gradient = dy[i];
            if (y != nullptr) {
                if (!(static_cast<Acc>(y[i]) > 0)) gradient = static_cast<T>(0.0f);
                masked[i] = gradient;
            }
            const float g = static_cast<Acc>(gradient);
            return Pair{g, g * (static_cast<Acc>(x[i]) - centre)};
        };
        const Pair sums = channel_sums(N, C, HW, c, both);
        if (threadIdx.x == 0) {
            dbias[c] = sums.first;
            dweight[c] = sums.second / deviation;
        }
    }
}

// In training the mean and the variance moved with x, which takes the mean of dy and its part along x out of dx. dx may
// be dy.
template <class T>
__global__ void norm_bwd_kernel(bool training, int64_t N, int64_t C, int64_t HW, const T* __restrict__ x, const T* dy,
                                const float* __restrict__ mean, const float* __restrict__ var,
                                const float* __restrict__ weight, float eps, const float* __restrict__ dweight,
                                const float* __restrict__ dbias, T* dx) {
    const float count = float(N * HW);
    for (int64_t i = thread_index(); i < N * C * HW; i += thread_count()) {
        const int64_t c = i / HW % C;
        const float deviation = sqrtf(var[c] + eps);
        float g = static_cast<float>(dy[i]);
        if (training) {
            const float normal = (static_cast<float>(x[i]) - mean[c]) / deviation;
            g -= (dbias[c] + normal * dweight[c]) / count;
        }
        dx[i] = static_cast<T>(g * (weight[c] / deviation));
    }
}

std::string text_of(int64_t N, int64_t C, int64_t HW) {
    return "x (" + std::to_string(N) + ", " + std::to_string(C) + ", " + std::to_string(HW) + ")";
}

void require_sizes(const char* op, int64_t N, int64_t C, int64_t HW) {
    if (N < 0 || C < 0 || HW < 0)
        throw std::invalid_argument(std::string(op) + ": sizes must not be negative (" + text_of(N, C, HW) + ")");
}

}  // namespace

void batch_norm_stats(DType dtype, int64_t N, int64_t C, int64_t HW, const void* x, float* mean, float* var,
                      float* workspace, int64_t bytes, cudaStream_t stream) {
    require_sizes("batch_norm_stats", N, C, HW);
    if (C == 0) return;
    if (HW == 1) {
        batch_norm_rows_stats(dtype, N, C, x, mean, var, workspace, bytes, stream);
        return check(cudaGetLastError(), "batch_norm_stats", text_of(N, C, HW));
    }
    with_dtype(dtype, [&](auto element) {
        using T = decltype(element);
        launch(stats_kernel<T>, blocks_for(C, 1), kChannelThreads, 0, stream, N, C, HW, static_cast<const T*>(x), mean,
               var);
    });
    check(cudaGetLastError(), "batch_norm_stats", text_of(N, C, HW));
}

void batch_norm_fwd(DType dtype, int64_t N, int64_t C, int64_t HW, const void* x, const float* mean, const float* var,
                    const float* weight, const float* bias, double eps, const void* residual, bool relu, void* y,
                    cudaStream_t stream) {
    require_sizes("batch_norm_fwd", N, C, HW);
    if (N * C * HW == 0) return;
    if (HW == 1) {
        batch_norm_rows_fwd(dtype, N, C, x, mean, var, weight, bias, eps, residual, relu, y, stream);
        return check(cudaGetLastError(), "batch_norm_fwd", text_of(N, C, HW));
    }
    with_dtype(dtype, [&](auto element) {
        using T = decltype(element);
        launch(norm_fwd_kernel<T>, blocks_for(N * C * HW), kThreads, 0, stream, N, C, HW, static_cast<const T*>(x),
               mean, var, weight, bias, eps, static_cast<const T*>(residual), relu, static_cast<T*>(y));
    });
    check(cudaGetLastError(), "batch_norm_fwd", text_of(N, C, HW));
}

void batch_norm_bwd(DType dtype, bool training, int64_t N, int64_t C, int64_t HW, const void* x, const void* dy,
                    const void* y, const float* mean, const float* var, const float* weight, double eps, void* masked,
                    void* dx, float* dweight, float* dbias, float* workspace, int64_t bytes, cudaStream_t stream) {
    require_sizes("batch_norm_bwd", N, C, HW);
    if (y != nullptr && masked == nullptr)
        throw std::invalid_argument("batch_norm_bwd: behind a ReLU (y) its gradient (masked) is written");
    if (C == 0) return;
    if (HW == 1) {
        batch_norm_rows_bwd(dtype, training, N, C, x, dy, y, mean, var, weight, eps, masked, dx, dweight, dbias,
                            workspace, bytes, stream);
        return check(cudaGetLastError(), "batch_norm_bwd", text_of(N, C, HW));
    }
    with_dtype(dtype, [&](auto element) {
        using T = decltype(element);
        launch(norm_sums_kernel<T>, blocks_for(C, 1), kChannelThreads, 0, stream, N, C, HW, static_cast<const T*>(x),
               static_cast<const T*>(dy), static_cast<const T*>(y), mean, var, eps, static_cast<T*>(masked), dweight,
               dbias);
        check(cudaGetLastError(), "batch_norm_bwd", text_of(N, C, HW));
        if (dx == nullptr || N * HW == 0) return;
        launch(norm_bwd_kernel<T>, blocks_for(N * C * HW), kThreads, 0, stream, training, N, C, HW,
               static_cast<const T*>(x), static_cast<const T*>(y != nullptr ? masked : dy), mean, var, weight, eps,
               dweight, dbias, static_cast<T*>(dx));
        check(cudaGetLastError(), "batch_norm_bwd", text_of(N, C, HW));
    });
}
