// Plain FFTs in float32 in the place of cuFFT: in place, two dimensions, strict about what surrounds a call. A stream
// and a work area must be set before each one, which then leaves garbage in all of the work area and between the rows.
#include "cufft.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

namespace {

struct Plan {
    int n_h, n_w, batch = 0;  // 0: not made
    cufftType type;
    size_t work_bytes;
    bool automatic = true, stream_set = false;
    void* work_area = nullptr;
};

std::mutex mutex;
std::map<cufftHandle, Plan> plans;
cufftHandle next_handle = 1;

Plan* find(cufftHandle handle) {
    const std::lock_guard<std::mutex> lock(mutex);
    const auto at = plans.find(handle);
    return at == plans.end() ? nullptr : &at->second;
}

float2 product(float2 a, float2 b) { return {a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x}; }

// The powers of the root of unity exp(sign 2 pi i / n), each rounded once.
std::vector<float2> roots_of(int n, int sign) {
    std::vector<float2> roots(n);
    for (int k = 0; k < n; ++k) {
        const double angle = sign * 2 * std::acos(-1.0) * k / n;
        roots[k] = {float(std::cos(angle)), float(std::sin(angle))};
    }
    return roots;
}

// out (n) = the transform of in (n), whose elements are `stride` apart; roots of length n times `step`.
void fft(int n, const float2* in, int stride, float2* out, const float2* roots, int step) {
    int radix = 2;
    while (radix * radix <= n && n % radix) ++radix;
    if (n % radix) radix = n;
    if (n == 1) {
        *out = *in;
        return;
    }
    const int m = n / radix;
    for (int q = 0; q < radix; ++q) fft(m, in + q * stride, stride * radix, out + q * m, roots, step * radix);
    std::vector<float2> parts(radix);
    for (int k = 0; k < m; ++k) {
        for (int q = 0; q < radix; ++q) parts[q] = product(out[q * m + k], roots[q * k * step]);
        for (int r = 0; r < radix; ++r) {
            float2 sum = parts[0];
            for (int q = 1; q < radix; ++q) {
                const float2 part = product(parts[q], roots[q * r % radix * m * step]);
                sum = {sum.x + part.x, sum.y + part.y};
            }
            out[k + r * m] = sum;
        }
    }
}

void columns(const Plan& p, std::vector<float2>& spectrum, int sign) {
    const int half = p.n_w / 2 + 1;
    const auto roots = roots_of(p.n_h, sign);
    std::vector<float2> column(p.n_h);
    for (int v = 0; v < half; ++v) {
        fft(p.n_h, &spectrum[v], half, column.data(), roots.data(), 1);
        for (int u = 0; u < p.n_h; ++u) spectrum[u * half + v] = column[u];
    }
}

// One image in place: n_h rows of 2 (n_w / 2 + 1) floats.
void transform(const Plan& p, float* data) {
    const int half = p.n_w / 2 + 1, size = p.n_h * half;
    std::vector<float2> spectrum(size), line(p.n_w), transformed(p.n_w);
    const int sign = p.type == CUFFT_R2C ? -1 : 1;
    const auto roots = roots_of(p.n_w, sign);
    if (p.type == CUFFT_R2C) {
        for (int h = 0; h < p.n_h; ++h) {
            for (int w = 0; w < p.n_w; ++w) line[w] = {data[h * 2 * half + w], 0};
            fft(p.n_w, line.data(), 1, transformed.data(), roots.data(), 1);
            std::copy(transformed.begin(), transformed.begin() + half, &spectrum[h * half]);
        }
        columns(p, spectrum, sign);
        std::memcpy(data, spectrum.data(), size * sizeof(float2));
        return;
    }
    std::memcpy(spectrum.data(), data, size * sizeof(float2));
    columns(p, spectrum, sign);
    for (int h = 0; h < p.n_h; ++h) {
        const float2* row = &spectrum[h * half];
        for (int v = 0; v < half; ++v) {  // the other half is the conjugate
            line[(p.n_w - v) % p.n_w] = {row[v].x, -row[v].y};
            line[v] = row[v];
        }
        line[0].y = 0;
        if (p.n_w % 2 == 0) line[p.n_w / 2].y = 0;
        fft(p.n_w, line.data(), 1, transformed.data(), roots.data(), 1);
        for (int w = 0; w < 2 * half; ++w)
            data[h * 2 * half + w] = w < p.n_w ? transformed[w].x : std::numeric_limits<float>::quiet_NaN();
    }
}

cufftResult execute(cufftHandle handle, cufftType type, void* in, void* out) {
    Plan* const p = find(handle);
    if (!p || !p->batch) return CUFFT_INVALID_PLAN;
    if (p->type != type) return CUFFT_INVALID_TYPE;
    if (in != out) return CUFFT_NOT_IMPLEMENTED;
    if (!std::exchange(p->stream_set, false)) return CUFFT_EXEC_FAILED;
    void* const work_area = std::exchange(p->work_area, nullptr);
    if (!work_area) return CUFFT_NO_WORKSPACE;
    if (reinterpret_cast<uintptr_t>(in) % 16 || reinterpret_cast<uintptr_t>(work_area) % 256)
        return CUFFT_UNALIGNED_DATA;
    std::memset(work_area, 0xFF, p->work_bytes);
    for (int i = 0; i < p->batch; ++i)
        transform(*p, static_cast<float*>(in) + int64_t(i) * p->n_h * 2 * (p->n_w / 2 + 1));
    return CUFFT_SUCCESS;
}

}  // namespace

// How many plans there are.
extern "C" __attribute__((visibility("default"))) int simt_cufft_plans() {
    const std::lock_guard<std::mutex> lock(mutex);
    return int(plans.size());
}

cufftResult cufftCreate(cufftHandle* plan) {
    const std::lock_guard<std::mutex> lock(mutex);
    plans[*plan = next_handle++];
    return CUFFT_SUCCESS;
}

cufftResult cufftDestroy(cufftHandle plan) {
    const std::lock_guard<std::mutex> lock(mutex);
    return plans.erase(plan) ? CUFFT_SUCCESS : CUFFT_INVALID_PLAN;
}

cufftResult cufftSetAutoAllocation(cufftHandle plan, int automatic) {
    Plan* const p = find(plan);
    if (!p || p->batch) return CUFFT_INVALID_PLAN;
    p->automatic = automatic;
    return CUFFT_SUCCESS;
}

cufftResult cufftMakePlanMany(cufftHandle plan, int rank, int* n, int* inembed, int istride, int idist, int* onembed,
                              int ostride, int odist, cufftType type, int batch, size_t* work_bytes) {
    Plan* const p = find(plan);
    if (!p || p->batch) return CUFFT_INVALID_PLAN;
    if (p->automatic || rank != 2) return CUFFT_NOT_IMPLEMENTED;
    const bool forward = type == CUFFT_R2C;
    const int half = n[1] / 2 + 1;
    const int *const real = forward ? inembed : onembed, *const complex = forward ? onembed : inembed;
    const int real_size = forward ? idist : odist, complex_size = forward ? odist : idist;
    if (n[0] < 1 || n[1] < 1 || batch < 1) return CUFFT_INVALID_SIZE;
    if (istride != 1 || ostride != 1 || real[0] != n[0] || real[1] != 2 * half || complex[0] != n[0] ||
        complex[1] != half || complex_size != n[0] * half || real_size != 2 * complex_size)
        return CUFFT_INVALID_VALUE;
    p->n_h = n[0], p->n_w = n[1], p->type = type, p->batch = batch;
    // As much as the data for powers of two, and twice that for others: more than one would hope for.
    const bool powers_of_two = !(n[0] & (n[0] - 1)) && !(n[1] & (n[1] - 1));
    *work_bytes = p->work_bytes = size_t(batch) * complex_size * sizeof(float2) * (powers_of_two ? 1 : 2);
    return CUFFT_SUCCESS;
}

cufftResult cufftSetStream(cufftHandle plan, cudaStream_t) {
    Plan* const p = find(plan);
    if (!p || !p->batch) return CUFFT_INVALID_PLAN;
    p->stream_set = true;
    return CUFFT_SUCCESS;
}

cufftResult cufftSetWorkArea(cufftHandle plan, void* work_area) {
    Plan* const p = find(plan);
    if (!p || !p->batch) return CUFFT_INVALID_PLAN;
    p->work_area = work_area;
    return CUFFT_SUCCESS;
}

cufftResult cufftExecR2C(cufftHandle plan, cufftReal* in, cufftComplex* out) {
    return execute(plan, CUFFT_R2C, in, out);
}

cufftResult cufftExecC2R(cufftHandle plan, cufftComplex* in, cufftReal* out) {
    return execute(plan, CUFFT_C2R, in, out);
}
