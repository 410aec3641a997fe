// The handles of NVIDIA's libraries: the only global state of the CUDA extension.
#pragma once
#include <cublas_v2.h>

// The calling thread's cuBLAS handle for the current device, set to `stream`. The first call of a thread on a device
// creates it (or takes one that an ended thread left). Throws std::runtime_error when cuBLAS or CUDA fails.
cublasHandle_t cublas_handle(cudaStream_t stream);
