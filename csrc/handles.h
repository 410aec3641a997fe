// The handles of NVIDIA's libraries: the only global state of the CUDA extension.
#pragma once
#include <cublas_v2.h>
#include <cufft.h>

#include <cstddef>
#include <memory>

// The calling thread's cuBLAS handle for the current device, set to `stream`. The first call of a thread on a device
// creates it (or takes one that an ended thread left). Throws std::runtime_error when cuBLAS or CUDA fails.
cublasHandle_t cublas_handle(cudaStream_t stream);

// cuFFT plans that no thread holds are kept for later; of more than this many, those that were not used for longest are
// destroyed. A plan that was used while its stream was captured is kept for ever: the graph uses its tables.
constexpr int kMostFftPlans = 256;

// A cuFFT plan for float32 on the current device, which no other thread has for as long as this object lives.
// Transforms are made in place: `batch` images one after another, n_h rows of 2 (n_w / 2 + 1) floats, or n_w / 2 + 1
// complex numbers. A new plan allocates its tables, so the first call of its kind must not be captured into a graph.
// Nothing else allocates: the work area is the caller's. Throws std::runtime_error when cuFFT or CUDA fails.
class FftPlan {
  public:
    FftPlan(int n_h, int n_w, int batch, bool inverse);
    ~FftPlan();
    FftPlan(const FftPlan&) = delete;
    FftPlan& operator=(const FftPlan&) = delete;

    size_t work_bytes() const;
    void run(float* data, void* work_area, cudaStream_t stream);

    struct Kept;

  private:
    std::unique_ptr<Kept> plan_;
};
