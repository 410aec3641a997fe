// The few functions of CUDA's runtime that the sources call.
#include <cstring>
#include <map>
#include <string>

#include "cuda.h"
#include "cuda_runtime.h"

namespace {

constexpr int kMostShared = 227 * 1024;  // bytes that a kernel may opt in to
bool hopper = true;

}  // namespace

const char* cudaGetErrorString(cudaError_t status) {
    return status == cudaErrorInvalidConfiguration ? "invalid configuration argument" : "invalid argument";
}

cudaError_t cudaGetLastError() { return simt::take_refusal() ? cudaErrorInvalidConfiguration : cudaSuccess; }

cudaError_t cudaGetDevice(int* device) {
    *device = 0;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int* version) {
    *version = 0;
    return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
    *status = reinterpret_cast<uintptr_t>(stream) == 1 ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
    return cudaSuccess;
}

// Whether the device is of compute capability 9.0.
extern "C" __attribute__((visibility("default"))) void simt_hopper(bool yes) { hopper = yes; }

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr, int) {
    *value = 2;
    return cudaSuccess;
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void*) {
    attributes->sharedSizeBytes = hopper ? 8 : 0;
    return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
    if (attribute == cudaFuncAttributePreferredSharedMemoryCarveout)
        return value >= -1 && value <= 100 ? cudaSuccess : cudaErrorInvalidValue;
    if (value < 0 || value > kMostShared) return cudaErrorInvalidValue;
    simt::allow_shared(kernel, size_t(value));
    return cudaSuccess;
}

cudaError_t cudaGetDriverEntryPointByVersion(const char* name, void** function, unsigned, unsigned long long,
                                             cudaDriverEntryPointQueryResult* found) {
    const std::map<std::string, void*> functions{
        {"cuTensorMapEncodeTiled", reinterpret_cast<void*>(cuTensorMapEncodeTiled)},
        {"cuTensorMapEncodeIm2col", reinterpret_cast<void*>(cuTensorMapEncodeIm2col)}};
    const auto at = functions.find(name);
    *found = at == functions.end() ? cudaDriverEntryPointSymbolNotFound : cudaDriverEntryPointSuccess;
    *function = at == functions.end() ? nullptr : at->second;
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* address, int value, size_t bytes, cudaStream_t) {
    std::memset(address, value, bytes);
    return cudaSuccess;
}
