// Stand-in for CUDA's header of this name: what kernels/ and csrc/cuda use of it, on the host.
#pragma once
#include <cmath>
#include <cstdint>

#include "simt.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(bytes) __attribute__((aligned(bytes)))
// Block-local storage: blocks run one at a time, so a static will do; the engine poisons the section before each block.
// The enclosing function must have internal linkage (an anonymous namespace), or GCC puts the variable elsewhere.
#define __shared__ static __attribute__((section("simt_shared")))

#define SIMT_HERE (simt::Site{__FILE__, __LINE__})
#define __syncthreads() simt::wait_for_block(SIMT_HERE)
#define __syncwarp(...) ((void)simt::exchange(simt::mask_or_all(__VA_ARGS__), 0, SIMT_HERE))
#define __shfl_sync(mask, value, source) simt::shuffle(mask, value, int(source) & 31, SIMT_HERE)
#define __shfl_xor_sync(mask, value, bits) simt::shuffle(mask, value, int(simt::lane()) ^ int(bits), SIMT_HERE)
#define __shfl_down_sync(mask, value, by) simt::shuffle(mask, value, int(simt::lane()) + int(by), SIMT_HERE)
#define __shfl_up_sync(mask, value, by) simt::shuffle(mask, value, int(simt::lane()) - int(by), SIMT_HERE)
#define __ballot_sync(mask, predicate) simt::vote(mask, predicate, SIMT_HERE)
#define __any_sync(mask, predicate) (simt::vote(mask, predicate, SIMT_HERE) != 0)
#define __all_sync(mask, predicate) (simt::vote(mask, predicate, SIMT_HERE) == (mask))

namespace simt {
inline unsigned mask_or_all(unsigned mask = 0xffffffffu) { return mask; }
}  // namespace simt

using std::isnan;

struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
inline float normcdff(float x) { return static_cast<float>(0.5 * std::erfc(-double(x) * 0.70710678118654752)); }

// Threads run one at a time, so a plain read and write is atomic.
template <class T>
T atomicAdd(T* address, T value) {
    const T old = *address;
    *address = old + value;
    return old;
}

template <class T>
T atomicMax(T* address, T value) {
    const T old = *address;
    if (value > old) *address = value;
    return old;
}

enum cudaError_t { cudaSuccess = 0, cudaErrorInvalidValue = 1, cudaErrorInvalidConfiguration = 9 };
struct CUstream_st;
using cudaStream_t = CUstream_st*;

const char* cudaGetErrorString(cudaError_t status);
cudaError_t cudaGetLastError();  // and forgets it
cudaError_t cudaGetDevice(int* device);
cudaError_t cudaRuntimeGetVersion(int* version);
enum cudaStreamCaptureStatus { cudaStreamCaptureStatusNone = 0, cudaStreamCaptureStatusActive = 1 };
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status);  // address 1 stands for one

// One device of two multiprocessors, of compute capability 9.0 unless simt_hopper(false) was called.
enum cudaDeviceAttr { cudaDevAttrMultiProcessorCount = 16 };
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device);
struct cudaFuncAttributes {
    size_t sharedSizeBytes;  // of all static shared memory: 0 or not, no more
};
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* kernel);
enum cudaFuncAttribute {
    cudaFuncAttributeMaxDynamicSharedMemorySize = 8,
    cudaFuncAttributePreferredSharedMemoryCarveout = 9
};
enum cudaSharedCarveout { cudaSharedmemCarveoutMaxShared = 100 };
cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value);
enum cudaDriverEntryPointQueryResult { cudaDriverEntryPointSuccess = 0, cudaDriverEntryPointSymbolNotFound = 1 };
constexpr unsigned long long cudaEnableDefault = 0;
cudaError_t cudaGetDriverEntryPointByVersion(const char* name, void** function, unsigned version,
                                             unsigned long long flags, cudaDriverEntryPointQueryResult* found);
cudaError_t cudaMemsetAsync(void* address, int value, size_t bytes, cudaStream_t stream);
