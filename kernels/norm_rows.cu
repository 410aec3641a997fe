// Batch normalisation of rows of C neighbouring values: images in channels_last order, and matrices (N, C).
//
// A block takes up to 32 threads of neighbouring channels, 4 bytes each where C and the addresses allow it, and some of
// the rows: a part. Each of its 512 threads sums every so-many-th row of its part, then the block halves its rows of
// threads until one is left. The sums of parts lie in the workspace, and whoever needs a total adds them up in the same
// way: a fixed order, no atomics. As norm.cu, the mean first, then what is about it. 264 blocks: two for each of an
// H100's multiprocessors, with 8 rows on the way in each thread; twice as many and 4 rows where nothing is summed.
// Speed: memory, 80 % of its bandwidth is expected from 10 MB on: x is read twice for stats (the second time backwards,
// from what L2 still holds), once for y; x and dy twice for the gradient. Below that the launches cost more: 3 for
// stats and for the gradient. Called by norm.cu.
#include "neighbours.cuh"
#include "reduce.cuh"

namespace {

constexpr int kRowThreads = 512, kRowBlocks = 264, kLeastRows = 64;  // of a part
constexpr int kAhead = 4;                                            // rows that are read before the first is written

// The rows (count, C), and how blocks share them: blockIdx.x tells the channels, blockIdx.y the part.
struct Rows {
    int64_t count, C;
    int width, columns;  // channels of a thread; threads side by side, a power of two
    int64_t parts, part_rows;

    Rows(int64_t count, int64_t C, int width) : count(count), C(C), width(width), columns(1) {
        while (columns < 32 && columns * width < C) columns *= 2;
        const int64_t most = count < kLeastRows ? 1 : count / kLeastRows;
        parts = std::min(ceil_div<int64_t>(kRowBlocks, blocks_of_channels()), most);
        part_rows = ceil_div(count, parts);
        parts = count ? ceil_div(count, part_rows) : 1;
    }
    int64_t blocks_of_channels() const { return ceil_div(C, int64_t(columns) * width); }
    dim3 grid() const { return dim3(unsigned(blocks_of_channels()), unsigned(parts)); }
    dim3 grid_without_sums() const { return dim3(unsigned(blocks_of_channels()), unsigned(2 * parts)); }
    dim3 grid_of_totals() const { return dim3(unsigned(blocks_of_channels())); }

    __device__ int column() const { return int(threadIdx.x) % columns; }
    __device__ int row() const { return int(threadIdx.x) / columns; }
    __device__ int rows() const { return kRowThreads / columns; }  // of threads
    __device__ int64_t channel() const { return (int64_t(blockIdx.x) * columns + column()) * width; }
};

template <int width>
struct Sums {
    Pair of[width];
};

// The totals over the rows of threads, handed to every thread of a column. All threads of the block must call it.
template <int width>
__device__ Sums<width> sum_over_threads(const Rows& g, Sums<width> mine) {
    __shared__ Sums<width> all[kRowThreads];
    __syncthreads();  // slower threads may still read the totals of the call before
    all[threadIdx.x] = mine;
    for (int rows = g.rows() / 2; rows > 0; rows /= 2) {
        __syncthreads();
        if (g.row() >= rows) continue;
        for (int k = 0; k < width; ++k) {
            all[threadIdx.x].of[k].first += all[threadIdx.x + rows * g.columns].of[k].first;
            all[threadIdx.x].of[k].second += all[threadIdx.x + rows * g.columns].of[k].second;
        }
    }
    __syncthreads();
    return all[g.column()];
}

// parts (parts, 2, C) <- what value(offset, sums) adds up over this block's part of the rows, for the thread's channels
// at offset = row C + channel; rows in rising order, or from the last one back.
template <int width, bool back = false, class F>
__device__ void sum_part(const Rows& g, float* parts, F value) {
    const int64_t channel = g.channel(), first = blockIdx.y * g.part_rows;
    const int64_t last = first + g.part_rows < g.count ? first + g.part_rows : g.count;
    Sums<width> sums{};
    if (channel < g.C) {
#pragma unroll 8
        for (int64_t m = first + g.row(); m < last; m += g.rows())
            value((back ? first + last - 1 - m : m) * g.C + channel, sums);
    }
    sums = sum_over_threads(g, sums);
    if (g.row() > 0 || channel >= g.C) return;
    for (int k = 0; k < width; ++k) {
        parts[2 * blockIdx.y * g.C + channel + k] = sums.of[k].first;
        parts[(2 * blockIdx.y + 1) * g.C + channel + k] = sums.of[k].second;
    }
}

// The sums of all parts of the thread's channels.
template <int width>
__device__ Sums<width> sum_of_parts(const Rows& g, const float* parts) {
    const int64_t channel = g.channel();
    Sums<width> sums{};
    for (int64_t part = g.row(); channel < g.C && part < g.parts; part += g.rows())
        for (int k = 0; k < width; ++k) {
            sums.of[k].first += parts[2 * part * g.C + channel + k];
            sums.of[k].second += parts[(2 * part + 1) * g.C + channel + k];
        }
    return sum_over_threads(g, sums);
}

template <class T, int width>
__global__ void __launch_bounds__(kRowThreads)
    row_totals_kernel(Rows g, const T* __restrict__ x, float* __restrict__ totals) {
    sum_part<width>(g, totals, [&](int64_t i, Sums<width>& sums) {
        const Neighbours<T, width> values = neighbours<width>(x + i);
        for (int k = 0; k < width; ++k) sums.of[k].first += static_cast<Acc>(values.value[k]);
    });
}

template <class T, int width>
__global__ void __launch_bounds__(kRowThreads)
    row_deviations_kernel(Rows g, const T* __restrict__ x, const float* __restrict__ totals,
                          float* __restrict__ deviations) {
    const Sums<width> total = sum_of_parts<width>(g, totals);
    float centre[width];
    for (int k = 0; k < width; ++k) centre[k] = total.of[k].first / float(g.count);
    sum_part<width, true>(g, deviations, [&](int64_t i, Sums<width>& sums) {
        const Neighbours<T, width> values = neighbours<width>(x + i);
        for (int k = 0; k < width; ++k) {
            const float deviation = static_cast<Acc>(values.value[k]) - centre[k];
            sums.of[k].first += deviation;
            sums.of[k].second += deviation * deviation;
        }
    });
}

template <int width>
__global__ void __launch_bounds__(kRowThreads)
    row_stats_kernel(Rows g, const float* __restrict__ totals, const float* __restrict__ deviations,
                     float* __restrict__ mean, float* __restrict__ var) {
    const Sums<width> total = sum_of_parts<width>(g, totals), about = sum_of_parts<width>(g, deviations);
    if (g.row() > 0 || g.channel() >= g.C) return;
    for (int k = 0; k < width; ++k) {
        const float rest = about.of[k].first / float(g.count);
        mean[g.channel() + k] = total.of[k].first / float(g.count) + rest;
        var[g.channel() + k] = fmaxf(about.of[k].second / float(g.count) - rest * rest, 0.0f);
    }
}

// store(offset, load(offset)) for the thread's channels of all its rows.
template <class Load, class Store>
__device__ void for_rows(const Rows& g, Load load, Store store) {
    const int64_t first = int64_t(blockIdx.y) * g.rows() + g.row(), step = int64_t(g.rows()) * gridDim.y;
    if (g.channel() >= g.C) return;
    for (int64_t m = first; m < g.count; m += kAhead * step) {
        decltype(load(m)) held[kAhead];
        for (int j = 0; j < kAhead; ++j)
            if (m + j * step < g.count) held[j] = load((m + j * step) * g.C + g.channel());
        for (int j = 0; j < kAhead; ++j)
            if (m + j * step < g.count) store((m + j * step) * g.C + g.channel(), held[j]);
    }
}

template <class T, int width>
struct TwoRows {
    Neighbours<T, width> x, other;
};

template <class T, int width>
__global__ void __launch_bounds__(kRowThreads)
    row_fwd_kernel(Rows g, const T* __restrict__ x, const float* __restrict__ mean, const float* __restrict__ var,
                   const float* __restrict__ weight, const float* __restrict__ bias, float eps,
                   const T* __restrict__ residual, bool relu, T* __restrict__ y) {
    float centre[width], scale[width], shift[width];
    for (int k = 0; k < width && g.channel() < g.C; ++k) {
        const int64_t c = g.channel() + k;
        centre[k] = mean[c];
        scale[k] = weight[c] / sqrtf(var[c] + eps);
        shift[k] = bias[c];
    }
    const auto load = [&](int64_t i) {
        TwoRows<T, width> held;
        held.x = neighbours<width>(x + i);
        if (residual != nullptr) held.other = neighbours<width>(residual + i);
        return held;
    };
    for_rows(g, load, [&](int64_t i, const TwoRows<T, width>& held) {
        Neighbours<T, width> out;
        for (int k = 0; k < width; ++k) {
            float value = (static_cast<float>(held.x.value[k]) - centre[k]) * scale[k] + shift[k];
            if (residual != nullptr) value += static_cast<float>(held.other.value[k]);
            out.value[k] = static_cast<T>(relu && value < 0 ? 0.0f : value);  // a NaN stays one
        }
        neighbours<width>(y + i) = out;
    });
}

template <class T, int width>
__global__ void __launch_bounds__(kRowThreads)
    row_gradients_kernel(Rows g, const T* __restrict__ x, const T* __restrict__ dy, const T* __restrict__ y,
                         const float* __restrict__ mean, T* __restrict__ masked, float* __restrict__ sums_of_parts) {
    float centre[width];
    for (int k = 0; k < width; ++k) centre[k] = g.channel() < g.C ? mean[g.channel() + k] : 0.0f;
    sum_part<width>(g, sums_of_parts, [&](int64_t i, Sums<width>& sums) {
        const Neighbours<T, width> values = neighbours<width>(x + i);
        Neighbours<T, width> gradient = neighbours<width>(dy + i);
        if (y != nullptr) {
            const Neighbours<T, width> outputs = neighbours<width>(y + i);
            for (int k = 0; k < width; ++k)
                if (!(static_cast<Acc>(outputs.value[k]) > 0)) gradient.value[k] = static_cast<T>(0.0f);
            neighbours<width>(masked + i) = gradient;
        }
        for (int k = 0; k < width; ++k) {
            const float slope = static_cast<Acc>(gradient.value[k]);
            sums.of[k].first += slope;
            sums.of[k].second += slope * (static_cast<Acc>(values.value[k]) - centre[k]);
        }
    });
}

template <int width>
__global__ void __launch_bounds__(kRowThreads)
    row_parameters_kernel(Rows g, const float* __restrict__ sums_of_parts, const float* __restrict__ var, float eps,
                          float* __restrict__ dweight, float* __restrict__ dbias) {
    const Sums<width> sums = sum_of_parts<width>(g, sums_of_parts);
    if (g.row() > 0 || g.channel() >= g.C) return;
    for (int k = 0; k < width; ++k) {
        dbias[g.channel() + k] = sums.of[k].first;
        dweight[g.channel() + k] = sums.of[k].second / sqrtf(var[g.channel() + k] + eps);
    }
}

// dx may be dy.
template <class T, int width>
__global__ void __launch_bounds__(kRowThreads)
    row_bwd_kernel(Rows g, bool training, const T* __restrict__ x, const T* dy, const float* __restrict__ mean,
                   const float* __restrict__ var, const float* __restrict__ weight, float eps,
                   const float* __restrict__ dweight, const float* __restrict__ dbias, T* dx) {
    float centre[width], scale[width], slope[width], shift[width];
    for (int k = 0; k < width && g.channel() < g.C; ++k) {
        const int64_t c = g.channel() + k;
        const float deviation = sqrtf(var[c] + eps);
        centre[k] = mean[c];
        scale[k] = weight[c] / deviation;
        slope[k] = dweight[c] / float(g.count) / deviation;
        shift[k] = dbias[c] / float(g.count);
    }
    const auto load = [&](int64_t i) {
        TwoRows<T, width> held;
        held.other = neighbours<width>(dy + i);
        if (training) held.x = neighbours<width>(x + i);
        return held;
    };
    for_rows(g, load, [&](int64_t i, const TwoRows<T, width>& held) {
        Neighbours<T, width> out;
        for (int k = 0; k < width; ++k) {
            float gradient = static_cast<float>(held.other.value[k]);
            if (training) gradient -= shift[k] + (static_cast<float>(held.x.value[k]) - centre[k]) * slope[k];
            out.value[k] = static_cast<T>(gradient * scale[k]);
        }
        neighbours<width>(dx + i) = out;
    });
}

// f(T(), width), constants.
template <class F>
void with_channels(DType dtype, int64_t C, std::initializer_list<const void*> arrays, F&& f) {
    with_dtype(dtype, [&](auto element) {
        using T = decltype(element);
        with_width<4 / sizeof(T), T>(C, arrays, [&](auto width) { f(element, width); });
    });
}

void require_workspace(const char* op, int64_t count, int64_t C, int64_t bytes) {
    const int64_t least = batch_norm_workspace(count, C, 1);
    if (bytes < least)
        throw std::invalid_argument(std::string(op) + ": needs a workspace of " + std::to_string(least) +
                                    " bytes, but has " + std::to_string(bytes) + " (x (" + std::to_string(count) +
                                    ", " + std::to_string(C) + "))");
}

}  // namespace

int64_t batch_norm_workspace(int64_t N, int64_t C, int64_t HW) {
    if (HW != 1 || N < 0 || C < 1) return 0;
    return 4 * std::max(Rows(N, C, 1).parts, Rows(N, C, 2).parts) * C * int64_t(sizeof(float));  // two times two sums
}

void batch_norm_rows_stats(DType dtype, int64_t count, int64_t C, const void* x, float* mean, float* var,
                           float* workspace, int64_t bytes, cudaStream_t stream) {
    require_workspace("batch_norm_stats", count, C, bytes);
    with_channels(dtype, C, {x}, [&](auto element, auto width) {
        using T = decltype(element);
        const Rows g(count, C, width.value);
        const auto* const values = static_cast<const T*>(x);
        float* const deviations = workspace + 2 * g.parts * C;
        launch(row_totals_kernel<T, width.value>, g.grid(), kRowThreads, 0, stream, g, values, workspace);
        launch(row_deviations_kernel<T, width.value>, g.grid(), kRowThreads, 0, stream, g, values, workspace,
               deviations);
        launch(row_stats_kernel<width.value>, g.grid_of_totals(), kRowThreads, 0, stream, g, workspace, deviations,
               mean, var);
    });
}

void batch_norm_rows_fwd(DType dtype, int64_t count, int64_t C, const void* x, const float* mean, const float* var,
                         const float* weight, const float* bias, double eps, const void* residual, bool relu, void* y,
                         cudaStream_t stream) {
    with_channels(dtype, C, {x, residual, y}, [&](auto element, auto width) {
        using T = decltype(element);
        const Rows g(count, C, width.value);
        launch(row_fwd_kernel<T, width.value>, g.grid_without_sums(), kRowThreads, 0, stream, g,
               static_cast<const T*>(x), mean, var, weight, bias, eps, static_cast<const T*>(residual), relu,
               static_cast<T*>(y));
    });
}

void batch_norm_rows_bwd(DType dtype, bool training, int64_t count, int64_t C, const void* x, const void* dy,
                         const void* y, const float* mean, const float* var, const float* weight, double eps,
                         void* masked, void* dx, float* dweight, float* dbias, float* workspace, int64_t bytes,
                         cudaStream_t stream) {
    require_workspace("batch_norm_bwd", count, C, bytes);
    with_channels(dtype, C, {x, dy, y, masked, dx}, [&](auto element, auto width) {
        using T = decltype(element);
        const Rows g(count, C, width.value);
        const auto* const values = static_cast<const T*>(x);
        launch(row_gradients_kernel<T, width.value>, g.grid(), kRowThreads, 0, stream, g, values,
               static_cast<const T*>(dy), static_cast<const T*>(y), mean, static_cast<T*>(masked), workspace);
        launch(row_parameters_kernel<width.value>, g.grid_of_totals(), kRowThreads, 0, stream, g, workspace, var, eps,
               dweight, dbias);
        if (dx == nullptr || count == 0) return;
        launch(row_bwd_kernel<T, width.value>, g.grid_without_sums(), kRowThreads, 0, stream, g, training, values,
               static_cast<const T*>(y != nullptr ? masked : dy), mean, var, weight, eps, dweight, dbias,
               static_cast<T*>(dx));
    });
}
