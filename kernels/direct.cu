// direct: the convolution as its definition says, for any shape and without workspace. The reference row on the GPU:
// simple rather than quick, and one of the two rows that every other one is compared with.
//
//   x (N, C, H, W)    w (K, C/groups, R, S)    y (N, K, P, Q); dx, dw, dy alike
//   fwd reads x, w, bias (K,) or null and writes y;   dgrad reads dy, w and writes dx;   wgrad reads x, dy and writes
//   dw
//
// fwd and dgrad: one thread per output element. wgrad: one block per element of dw, whose N P Q products its threads
// share and then sum in a tree of fixed order. Sums in float32, one rounding, no atomics: the same bits every run.
// Speed: the loads; two per multiply-add, from L1 and L2 (no reuse in registers).
// Called by the rows "direct" (bound in csrc/bind_cuda.cpp).
#include "reduce.cuh"

namespace {

template <class T>
__global__ void direct_fwd_kernel(ConvShape s, const T* __restrict__ x, const T* __restrict__ w,
                                  const T* __restrict__ bias, bool relu, T* __restrict__ y) {
    const int64_t count = int64_t(s.N) * s.K * s.P * s.Q;
    for (int64_t i = thread_index(); i < count; i += thread_count()) {
        const int64_t q = i % s.Q, p = i / s.Q % s.P, nk = i / s.Q / s.P;
        const int k = int(nk % s.K);
        const int64_t n = nk / s.K;
        const T* image = x + (n * s.C + int64_t(k / s.Kg()) * s.Cg()) * s.H * s.W;
        const T* tap = w + int64_t(k) * s.Cg() * s.R * s.S;
        Acc sum = 0;
        for (int c = 0; c < s.Cg(); ++c, image += int64_t(s.H) * s.W) {
            for (int r = 0; r < s.R; ++r) {
                const int64_t h = p * s.stride_h - s.pad_h + int64_t(r) * s.dil_h;
                for (int t = 0; t < s.S; ++t, ++tap) {
                    const int64_t v = q * s.stride_w - s.pad_w + int64_t(t) * s.dil_w;
                    if (h < 0 || h >= s.H || v < 0 || v >= s.W) continue;
                    sum += static_cast<Acc>(image[h * s.W + v]) * static_cast<Acc>(*tap);
                }
            }
        }
        if (bias) sum += static_cast<Acc>(bias[k]);
        y[i] = static_cast<T>(relu && sum < 0 ? Acc(0) : sum);
    }
}

template <class T>
__global__ void direct_dgrad_kernel(ConvShape s, const T* __restrict__ dy, const T* __restrict__ w,
                                    T* __restrict__ dx) {
    const int64_t count = int64_t(s.N) * s.C * s.H * s.W;
    for (int64_t i = thread_index(); i < count; i += thread_count()) {
        const int64_t v = i % s.W, h = i / s.W % s.H, nc = i / s.W / s.H;
        const int c = int(nc % s.C);
        const int64_t n = nc / s.C;
        const int first_k = c / s.Cg() * s.Kg();
        Acc sum = 0;
        for (int r = 0; r < s.R; ++r) {
            const int64_t p_stride = h + s.pad_h - int64_t(r) * s.dil_h;  // p times stride_h
            const int64_t p = p_stride / s.stride_h;
            if (p_stride < 0 || p_stride % s.stride_h || p >= s.P) continue;
            for (int t = 0; t < s.S; ++t) {
                const int64_t q_stride = v + s.pad_w - int64_t(t) * s.dil_w;
                const int64_t q = q_stride / s.stride_w;
                if (q_stride < 0 || q_stride % s.stride_w || q >= s.Q) continue;
                for (int k = first_k; k < first_k + s.Kg(); ++k) {
                    const int64_t tap = ((int64_t(k) * s.Cg() + c % s.Cg()) * s.R + r) * s.S + t;
                    sum += static_cast<Acc>(dy[((n * s.K + k) * s.P + p) * s.Q + q]) * static_cast<Acc>(w[tap]);
                }
            }
        }
        dx[i] = static_cast<T>(sum);
    }
}

template <class T>
__global__ void direct_wgrad_kernel(ConvShape s, const T* __restrict__ x, const T* __restrict__ dy,
                                    T* __restrict__ dw) {
    const int64_t count = int64_t(s.K) * s.Cg() * s.R * s.S;
    const int64_t pixels = int64_t(s.P) * s.Q;
    for (int64_t i = blockIdx.x; i < count; i += gridDim.x) {
        const int t = int(i % s.S), r = int(i / s.S % s.R);
        const int64_t kc = i / s.S / s.R;
        const int k = int(kc / s.Cg()), c = k / s.Kg() * s.Cg() + int(kc % s.Cg());
        Acc sum = 0;
        for (int64_t j = threadIdx.x; j < s.N * pixels; j += blockDim.x) {
            const int64_t n = j / pixels, p = j % pixels / s.Q, q = j % s.Q;
            const int64_t h = p * s.stride_h - s.pad_h + int64_t(r) * s.dil_h;
            const int64_t v = q * s.stride_w - s.pad_w + int64_t(t) * s.dil_w;
            if (h < 0 || h >= s.H || v < 0 || v >= s.W) continue;
            sum += static_cast<Acc>(x[((n * s.C + c) * s.H + h) * s.W + v]) *
                   static_cast<Acc>(dy[(n * s.K + k) * pixels + p * s.Q + q]);
        }
        sum = block_reduce(sum, Sum());
        if (threadIdx.x == 0) dw[i] = static_cast<T>(sum);
    }
}

}  // namespace

void conv_direct_fwd(const ConvShape& shape, DType dtype, const void* x, const void* w, const void* bias, bool relu,
                     void* y, void*, int64_t, cudaStream_t stream) {
    if (shape.y_size() == 0) return;
    with_dtype(dtype, [&](auto element) {
        using T = decltype(element);
        launch(direct_fwd_kernel<T>, blocks_for(shape.y_size()), kThreads, 0, stream, shape, static_cast<const T*>(x),
               static_cast<const T*>(w), static_cast<const T*>(bias), relu, static_cast<T*>(y));
    });
    check(cudaGetLastError(), "conv_direct_fwd", shape.text());
}

void conv_direct_dgrad(const ConvShape& shape, DType dtype, const void* dy, const void* w, void* dx, void*, int64_t,
                       cudaStream_t stream) {
    if (shape.x_size() == 0) return;
    with_dtype(dtype, [&](auto element) {
        using T = decltype(element);
        launch(direct_dgrad_kernel<T>, blocks_for(shape.x_size()), kThreads, 0, stream, shape,
               static_cast<const T*>(dy), static_cast<const T*>(w), static_cast<T*>(dx));
    });
    check(cudaGetLastError(), "conv_direct_dgrad", shape.text());
}

void conv_direct_wgrad(const ConvShape& shape, DType dtype, const void* x, const void* dy, void* dw, void*, int64_t,
                       cudaStream_t stream) {
    with_dtype(dtype, [&](auto element) {
        using T = decltype(element);
        launch(direct_wgrad_kernel<T>, blocks_for(shape.w_size(), 1),
               threads_to_reduce(shape.N * int64_t(shape.P) * shape.Q), 0, stream, shape, static_cast<const T*>(x),
               static_cast<const T*>(dy), static_cast<T*>(dw));
    });
    check(cudaGetLastError(), "conv_direct_wgrad", shape.text());
}
