#include "handles.h"

#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
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
