// One convolution, always described in its forward sense: y (N,K,P,Q) from x (N,C,H,W) and w (K,C/groups,R,S).
// Travels by value from Python (gpucnn/conv/shape.py) to the kernels. Pooling uses the same struct with
// K = groups = C: its windows are the filters of a depthwise convolution.
#pragma once
#include <cstdint>
#include <stdexcept>
#include <string>

#ifdef __CUDACC__
#define HOST_DEVICE __host__ __device__
#else
#define HOST_DEVICE
#endif

struct ConvShape {
    int N, C, H, W;    // batch, input channels, image
    int K, R, S;       // output channels, filter
    int P, Q;          // output image
    int pad_h, pad_w;  // zeros on each side
    int stride_h, stride_w;
    int dil_h, dil_w;  // dilation: pixels between taps
    int groups;
    int channels_last;  // 1: images lie in memory as (N, H, W, C), and filters as ever

    HOST_DEVICE int Cg() const { return C / groups; }  // input channels of one group
    HOST_DEVICE int Kg() const { return K / groups; }  // output channels of one group

    int64_t x_size() const { return int64_t(N) * C * H * W; }
    int64_t w_size() const { return int64_t(K) * Cg() * R * S; }
    int64_t y_size() const { return int64_t(N) * K * P * Q; }

    // "(N, C, H, W) * (K, C/groups, R, S)" for messages.
    std::string text() const {
        auto four = [](int a, int b, int c, int d) {
            return "(" + std::to_string(a) + ", " + std::to_string(b) + ", " + std::to_string(c) + ", " +
                   std::to_string(d) + ")";
        };
        return "x " + four(N, C, H, W) + ", weight " + four(K, Cg(), R, S);
    }

    // Native code trusts raw addresses, so sizes that contradict each other are refused before any memory is touched.
    void validate() const {
        auto refuse = [&](const char* rule) {
            throw std::invalid_argument(std::string("ConvShape: ") + rule + " (" + text() + ")");
        };
        if (groups < 1) throw std::invalid_argument("ConvShape: groups must be positive");
        if (N < 0 || C < 1 || H < 1 || W < 1 || K < 1 || R < 1 || S < 1) refuse("sizes must be positive");
        if (stride_h < 1 || stride_w < 1 || dil_h < 1 || dil_w < 1) refuse("stride and dilation must be positive");
        if (pad_h < 0 || pad_w < 0) refuse("padding must not be negative");
        if (C % groups || K % groups) refuse("groups must divide both channel counts");
        auto out = [](int64_t in, int64_t pad, int64_t dil, int64_t taps, int64_t stride) {
            int64_t room = in + 2 * pad - dil * (taps - 1) - 1;
            return room < 0 ? 0 : room / stride + 1;
        };
        if (P < 1 || P != out(H, pad_h, dil_h, R, stride_h) || Q < 1 || Q != out(W, pad_w, dil_w, S, stride_w))
            refuse("the output size does not follow from the input size");
    }
};
