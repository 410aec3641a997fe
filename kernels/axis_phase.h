// The gradient of an image along one axis: pixels that are congruent modulo the stride meet the same taps, and between
// them form a convolution of stride 1. Each such phase is a problem of its own, so that no product with a zero is made.
#pragma once
#include "conv_shape.h"

namespace {

// The taps that the pixels of one phase of an axis meet, and where the phase lies.
struct AxisPhase {
    int size, first, apart;          // positions; the pixels first, first + apart, ...
    int taps, first_tap, tap_apart;  // the filter's taps first_tap, first_tap + tap_apart, ...
    unsigned shift, step;            // of the source image: position p and tap t meet at p + shift + t step
};

HOST_DEVICE inline AxisPhase phase_of_axis(int index, int size, int pad, int stride, int dilation, int taps) {
    int divisor = stride;  // gcd(stride, dilation)
    for (int rest = dilation % stride; rest;) {
        const int next = divisor % rest;
        divisor = rest;
        rest = next;
    }
    const int period = stride / divisor;
    const unsigned from = unsigned(index) + pad;
    int first = 0;  // of the taps with first dilation = from, modulo the stride
    const int last = period < taps ? period : taps;
    for (unsigned rest = from % stride, next = dilation % stride; first < last && rest != 0; ++first)
        rest = rest < next ? rest + stride - next : rest - next;
    AxisPhase phase{(size - index - 1) / stride + 1, index, stride, 0, first, period, 0, 0};
    if (first == last) return phase;
    phase.taps = (taps - first - 1) / period + 1;
    const unsigned before = unsigned(first) * dilation;  // divisions of 64 bits would be calls
    phase.shift = from < before ? 0u - (before - from) / stride : (from - before) / stride;
    phase.step = 0u - unsigned(dilation / divisor);
    return phase;
}

}  // namespace
