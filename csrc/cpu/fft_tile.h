// The size of the tiles that an FFT convolution transforms.
#pragma once
#include <utility>

#include "simd/simd.h"

constexpr int kFftLengths[] = {8, 12, 16, 24, 32, 48, 64, 96, kLongestFft};

// (n_h, n_w) for a job that has everything but these: the fastest by a model of the time. It does not depend on the
// batch, except for wgrad, nor on threads and workspace.
std::pair<int, int> fft_tile(FftJob job, bool wgrad);
