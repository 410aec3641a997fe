// Softmax and log-softmax over the last axis, forward and gradient, and softmax cross-entropy with its gradient.
//
//   x, y, dy, dx   (rows, cols);   fwd reads x and writes y;   bwd reads the saved y and dy and writes dx
//   cross_entropy  reads x, labels (rows,) and weight (cols,), writes loss (rows,) and dx
//
// One block per row, of 32 to 512 threads by the number of columns; each thread takes every blockDim-th column, and the
// maximum and the sum come from block_reduce. The row's maximum is subtracted first, so no exponential overflows.
// Speed: memory; the row is read three times forward (twice from cache), twice backward.
// Called by gpucnn/ops/ (bound in csrc/bind_cuda.cpp).
#include "reduce.cuh"

namespace {

template <class T, bool kLog>
__global__ void softmax_fwd_kernel(int64_t rows, int64_t cols, const T* __restrict__ x, T* __restrict__ y) {
    for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
        const T* in = x + row * cols;
        T* out = y + row * cols;
        float largest = Max::identity;
        for (int64_t i = threadIdx.x; i < cols; i += blockDim.x) largest = fmaxf(largest, static_cast<float>(in[i]));
        largest = block_reduce(largest, Max());
        Acc sum = 0;
        for (int64_t i = threadIdx.x; i < cols; i += blockDim.x) sum += expf(static_cast<float>(in[i]) - largest);
        sum = block_reduce(sum, Sum());
        const float log_sum = logf(sum);
        for (int64_t i = threadIdx.x; i < cols; i += blockDim.x) {
            const float shifted = static_cast<float>(in[i]) - largest;
            out[i] = static_cast<T>(kLog ? shifted - log_sum : expf(shifted) / sum);
        }
    }
}

// softmax: dx = y (dy - sum(y dy)).   log-softmax: dx = dy - exp(y) sum(dy).
template <class T, bool kLog>
__global__ void softmax_bwd_kernel(int64_t rows, int64_t cols, const T* __restrict__ y, const T* __restrict__ dy,
                                   T* __restrict__ dx) {
    for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
        const T *result = y + row * cols, *in = dy + row * cols;
        T* out = dx + row * cols;
        Acc sum = 0;
        for (int64_t i = threadIdx.x; i < cols; i += blockDim.x)
            sum += kLog ? static_cast<float>(in[i]) : static_cast<float>(result[i]) * static_cast<float>(in[i]);
        sum = block_reduce(sum, Sum());
        for (int64_t i = threadIdx.x; i < cols; i += blockDim.x) {
            const float v = static_cast<float>(result[i]), g = static_cast<float>(in[i]);
            out[i] = static_cast<T>(kLog ? g - expf(v) * sum : v * (g - sum));
        }
    }
}

// The target t of a row has `share` weight everywhere and `most` more at the label. With x' = x - largest:
// loss = -sum(t log p) = sum(t) log(sum(exp(x'))) - sum(t x'),  dx = sum(t) p - t.
template <class T>
__global__ void cross_entropy_kernel(int64_t rows, int64_t cols, const T* __restrict__ x,
                                     const int64_t* __restrict__ labels, const float* __restrict__ weight,
                                     float smoothing, float* __restrict__ loss, T* __restrict__ dx) {
    const float share = smoothing / cols;
    for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
        const T* in = x + row * cols;
        const int64_t label = labels[row];
        const bool known = label >= 0 && label < cols;
        float largest = Max::identity;
        for (int64_t i = threadIdx.x; i < cols; i += blockDim.x) largest = fmaxf(largest, static_cast<float>(in[i]));
        largest = block_reduce(largest, Max());
        Acc sum = 0, weights = 0, spread = 0;
        for (int64_t i = threadIdx.x; i < cols; i += blockDim.x) {
            const float shifted = static_cast<float>(in[i]) - largest, w = weight ? weight[i] : 1.0f;
            sum += expf(shifted);
            weights += w;
            spread += w * shifted;
        }
        sum = block_reduce(sum, Sum());
        if (share > 0) {
            weights = block_reduce(weights, Sum());
            spread = block_reduce(spread, Sum());
        }
        const float most = known ? (1 - smoothing) * (weight ? weight[label] : 1.0f) : nanf("");
        const float total = most + (share > 0 ? share * weights : 0.0f);
        if (threadIdx.x == 0) {
            const float at = known ? static_cast<float>(in[label]) - largest : 0.0f;
            loss[row] = total * logf(sum) - most * at - (share > 0 ? share * spread : 0.0f);
        }
        if (!dx) continue;
        for (int64_t i = threadIdx.x; i < cols; i += blockDim.x) {
            const float p = expf(static_cast<float>(in[i]) - largest) / sum;
            const float target = share * (weight ? weight[i] : 1.0f) + (i == label ? most : 0.0f);
            dx[row * cols + i] = static_cast<T>(total * p - target);
        }
    }
}

std::string text_of(int64_t rows, int64_t cols) {
    return "x (" + std::to_string(rows) + ", " + std::to_string(cols) + ")";
}

void require_sizes(const char* op, int64_t rows, int64_t cols) {
    if (rows < 0 || cols < 0)
        throw std::invalid_argument(std::string(op) + ": sizes must not be negative (" + text_of(rows, cols) + ")");
}

}  // namespace

void softmax_fwd(DType dtype, bool log, int64_t rows, int64_t cols, const void* x, void* y, cudaStream_t stream) {
    require_sizes("softmax_fwd", rows, cols);
    if (rows == 0 || cols == 0) return;
    with_dtype(dtype, [&](auto element) {
        using T = decltype(element);
        launch(log ? softmax_fwd_kernel<T, true> : softmax_fwd_kernel<T, false>, blocks_for(rows, 1),
               threads_to_reduce(cols), 0, stream, rows, cols, static_cast<const T*>(x), static_cast<T*>(y));
    });
    check(cudaGetLastError(), "softmax_fwd", text_of(rows, cols));
}

void softmax_bwd(DType dtype, bool log, int64_t rows, int64_t cols, const void* y, const void* dy, void* dx,
                 cudaStream_t stream) {
    require_sizes("softmax_bwd", rows, cols);
    if (rows == 0 || cols == 0) return;
    with_dtype(dtype, [&](auto element) {
        using T = decltype(element);
        launch(log ? softmax_bwd_kernel<T, true> : softmax_bwd_kernel<T, false>, blocks_for(rows, 1),
               threads_to_reduce(cols), 0, stream, rows, cols, static_cast<const T*>(y), static_cast<const T*>(dy),
               static_cast<T*>(dx));
    });
    check(cudaGetLastError(), "softmax_bwd", text_of(rows, cols));
}

void cross_entropy(DType dtype, int64_t rows, int64_t cols, const void* x, const int64_t* labels, const float* weight,
                   double smoothing, float* loss, void* dx, cudaStream_t stream) {
    require_sizes("cross_entropy", rows, cols);
    if (rows == 0) return;
    with_dtype(dtype, [&](auto element) {
        using T = decltype(element);
        launch(cross_entropy_kernel<T>, blocks_for(rows, 1), threads_to_reduce(cols), 0, stream, rows, cols,
               static_cast<const T*>(x), labels, weight, float(smoothing), loss, static_cast<T*>(dx));
    });
    check(cudaGetLastError(), "cross_entropy", text_of(rows, cols));
}
