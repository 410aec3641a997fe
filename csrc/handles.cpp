#include "handles.h"

#include <list>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace {

// Handles that no thread holds, by device. Never destroyed: when the process ends, CUDA may be gone already.
struct Pool {
    std::mutex mutex;
    std::map<int, std::vector<cublasHandle_t>> free;
};

Pool& pool() {
    static Pool* const instance = new Pool;
    return *instance;
}

// A thread's handles; they return to the pool when it ends.
struct Held {
    std::map<int, cublasHandle_t> handles;

    ~Held() {
        const std::lock_guard<std::mutex> lock(pool().mutex);
        for (const auto& [device, handle] : handles) pool().free[device].push_back(handle);
    }
};

cublasHandle_t take(int device) {
    const std::lock_guard<std::mutex> lock(pool().mutex);
    auto& free = pool().free[device];
    cublasHandle_t handle = nullptr;
    if (free.empty()) {
        const cublasStatus_t status = cublasCreate(&handle);
        if (status != CUBLAS_STATUS_SUCCESS)
            throw std::runtime_error(std::string("cublas: a handle is needed for device ") + std::to_string(device) +
                                     ", but cublasCreate says " + cublasGetStatusString(status));
    } else {
        handle = free.back();
        free.pop_back();
    }
    return handle;
}

}  // namespace

cublasHandle_t cublas_handle(cudaStream_t stream) {
    thread_local Held held;
    int device = 0;
    const cudaError_t found = cudaGetDevice(&device);
    if (found != cudaSuccess)
        throw std::runtime_error(std::string("cublas: needs a current device, but CUDA says ") +
                                 cudaGetErrorString(found));
    cublasHandle_t& handle = held.handles[device];
    if (!handle) handle = take(device);
    const cublasStatus_t status = cublasSetStream(handle, stream);
    if (status != CUBLAS_STATUS_SUCCESS)
        throw std::runtime_error(std::string("cublas: the stream should be set, but cublasSetStream says ") +
                                 cublasGetStatusString(status));
    return handle;
}

struct FftPlan::Kept {
    using Key = std::tuple<int, int, int, int, bool>;  // device, n_h, n_w, batch, inverse
    Key key;
    cufftHandle handle;
    size_t work_bytes;
    bool captured;
};

namespace {

using Kept = FftPlan::Kept;

std::string text_of(const Kept::Key& key) {
    const auto& [device, n_h, n_w, batch, inverse] = key;
    return std::to_string(batch) + (inverse ? " inverse" : "") + " transforms of " + std::to_string(n_h) + "x" +
           std::to_string(n_w) + " on device " + std::to_string(device);
}

void check_cufft(cufftResult status, const char* what, const Kept::Key& key) {
    if (status == CUFFT_SUCCESS) return;
    throw std::runtime_error("cufft: " + std::string(what) + " should succeed, but came status " +
                             std::to_string(int(status)) + " (" + text_of(key) + ")");
}

// Plans that no thread holds, the last used first. Never destroyed: when the process ends, CUDA may be gone already.
struct Cache {
    std::mutex mutex;
    std::list<std::unique_ptr<Kept>> free;
    int evictable = 0;  // of free
};

Cache& cache() {
    static Cache* const instance = new Cache;
    return *instance;
}

std::unique_ptr<Kept> take(const Kept::Key& key) {
    const std::lock_guard<std::mutex> lock(cache().mutex);
    for (auto at = cache().free.begin(); at != cache().free.end(); ++at) {
        if ((*at)->key != key) continue;
        std::unique_ptr<Kept> plan = std::move(*at);
        cache().free.erase(at);
        cache().evictable -= !plan->captured;
        return plan;
    }
    return nullptr;
}

std::unique_ptr<Kept> make(const Kept::Key& key) {
    const auto& [device, n_h, n_w, batch, inverse] = key;
    std::unique_ptr<Kept> plan(new Kept{key, CUFFT_PLAN_NULL, 0, false});
    check_cufft(cufftCreate(&plan->handle), "cufftCreate", key);
    int n[] = {n_h, n_w}, real[] = {n_h, 2 * (n_w / 2 + 1)}, complex[] = {n_h, n_w / 2 + 1};
    const int real_size = real[0] * real[1], complex_size = complex[0] * complex[1];
    cufftResult status = cufftSetAutoAllocation(plan->handle, 0);
    if (status == CUFFT_SUCCESS)
        status = inverse ? cufftMakePlanMany(plan->handle, 2, n, complex, 1, complex_size, real, 1, real_size,
                                             CUFFT_C2R, batch, &plan->work_bytes)
                         : cufftMakePlanMany(plan->handle, 2, n, real, 1, real_size, complex, 1, complex_size,
                                             CUFFT_R2C, batch, &plan->work_bytes);
    if (status != CUFFT_SUCCESS) cufftDestroy(plan->handle);
    check_cufft(status, "cufftMakePlanMany", key);
    return plan;
}

}  // namespace

FftPlan::FftPlan(int n_h, int n_w, int batch, bool inverse) {
    Kept::Key key{0, n_h, n_w, batch, inverse};
    const cudaError_t found = cudaGetDevice(&std::get<0>(key));
    if (found != cudaSuccess)
        throw std::runtime_error(std::string("cufft: needs a current device, but CUDA says ") +
                                 cudaGetErrorString(found));
    plan_ = take(key);
    if (!plan_) plan_ = make(key);
}

FftPlan::~FftPlan() {
    const std::lock_guard<std::mutex> lock(cache().mutex);
    cache().evictable += !plan_->captured;
    cache().free.push_front(std::move(plan_));
    for (auto at = cache().free.end(); cache().evictable > kMostFftPlans;) {
        if ((*--at)->captured) continue;
        cufftDestroy((*at)->handle);  // waits for what the device still does with it
        at = cache().free.erase(at);
        --cache().evictable;
    }
}

size_t FftPlan::work_bytes() const { return plan_->work_bytes; }

void FftPlan::run(float* data, void* work_area, cudaStream_t stream) {
    const Kept::Key& key = plan_->key;
    cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
    const cudaError_t asked = cudaStreamIsCapturing(stream, &capture);
    if (asked != cudaSuccess)
        throw std::runtime_error(std::string("cufft: the stream should be usable, but CUDA says ") +
                                 cudaGetErrorString(asked) + " (" + text_of(key) + ")");
    if (capture != cudaStreamCaptureStatusNone) plan_->captured = true;
    check_cufft(cufftSetStream(plan_->handle, stream), "cufftSetStream", key);
    check_cufft(cufftSetWorkArea(plan_->handle, work_area), "cufftSetWorkArea", key);
    auto* const spectra = reinterpret_cast<cufftComplex*>(data);
    if (std::get<4>(key))
        check_cufft(cufftExecC2R(plan_->handle, spectra, data), "cufftExecC2R", key);
    else
        check_cufft(cufftExecR2C(plan_->handle, data, spectra), "cufftExecR2C", key);
}
