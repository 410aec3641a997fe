// Kernels that use or misuse what the host shim offers; test_shim.py and test_ptx.py call the C functions below.
#include "ptx.cuh"
#include "selftest.h"

namespace {

// Every thread reads what its neighbour wrote: right only if the barrier is there.
__global__ void rotate(bool barrier, int* out) {
    __shared__ int box[64];
    box[threadIdx.x] = int(threadIdx.x);
    if (barrier) __syncthreads();
    out[blockIdx.x * 64 + threadIdx.x] = box[(threadIdx.x + 1) % 64];
}

__global__ void read_unwritten(unsigned* out) {
    __shared__ unsigned box[2];
    out[0] = box[1];
    out[1] = static_cast<unsigned*>(simt::dynamic_shared())[3];
    box[1] = 0;
}

__global__ void half_at_the_barrier() {
    if (threadIdx.x < 32) __syncthreads();
}

__global__ void two_barriers() {
    if (threadIdx.x < 32)
        __syncthreads();
    else
        __syncthreads();
}

__global__ void barrier_or_shuffle() {
    if (threadIdx.x == 5)
        __syncthreads();
    else
        __shfl_xor_sync(0xffffffffu, 1, 1);
}

__global__ void shuffle_with_the_dead() {
    if (threadIdx.x == 3) return;
    __shfl_xor_sync(0xffffffffu, 1, 1);
}

__global__ void warp_functions(int* out) {
    const int lane = int(threadIdx.x) % 32, value = 100 + int(threadIdx.x);
    int* row = out + threadIdx.x * 8;
    row[0] = __shfl_xor_sync(0xffffffffu, value, 5);
    row[1] = __shfl_down_sync(0xffffffffu, value, 3);
    row[2] = __shfl_up_sync(0xffffffffu, value, 2);
    row[3] = __shfl_sync(0xffffffffu, value, 7);
    row[4] = int(__ballot_sync(0xffffffffu, lane % 3 == 0));
    row[5] = __any_sync(0xffffffffu, threadIdx.x == 40);
    row[6] = __all_sync(0xffffffffu, threadIdx.x < 40);
    row[7] = lane < 8 ? __shfl_xor_sync(0xffu, value, 1) : -1;
    __syncwarp();
}

__global__ void positions(int* out) {
    const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
    const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    atomicAdd(&out[block * blockDim.x * blockDim.y * blockDim.z + thread], 1);
}

__global__ void arrivals(int* counter, int* order) {
    order[atomicAdd(counter, 1)] = int(blockIdx.x * blockDim.x + threadIdx.x);
}

// Four matrices (4, 8, 8) through shared memory to the words of each lane (32, 4).
__global__ void load_matrices(bool transposed, const uint16_t* matrices, uint32_t* words) {
    char* shared = dynamic_shared();
    const int lane = int(threadIdx.x);
    for (int i = 0; i < 8; ++i) reinterpret_cast<uint16_t*>(shared)[lane * 8 + i] = matrices[lane * 8 + i];
    __syncwarp();
    uint32_t mine[4];
    if (transposed)
        ldmatrix_x4<true>(mine, shared + lane * 16);
    else
        ldmatrix_x4<false>(mine, shared + lane * 16);
    for (int i = 0; i < 4; ++i) words[lane * 4 + i] = mine[i];
}

// d (16, 8) += a (16, 8 words) b (8 columns, 8 words), by the lane map that ptx.cuh states.
template <class T>
__global__ void multiply(const uint32_t* a, const uint32_t* b, float* d) {
    const int g = int(threadIdx.x) / 4, t = int(threadIdx.x) % 4;
    const uint32_t mine_a[4] = {a[g * 8 + t], a[(g + 8) * 8 + t], a[g * 8 + t + 4], a[(g + 8) * 8 + t + 4]};
    const uint32_t mine_b[2] = {b[g * 8 + t], b[g * 8 + t + 4]};
    float sums[4];
    for (int i = 0; i < 4; ++i) sums[i] = d[(g + i / 2 * 8) * 8 + 2 * t + i % 2];
    mma<T>(sums, mine_a, mine_b);
    for (int i = 0; i < 4; ++i) d[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = sums[i];
}

// Two groups of copies, of which `waited` are waited for: 16 bytes, then 4 and 4 zeros; `offset` bytes from aligned.
__global__ void copy(int waited, int offset, const char* in, char* out) {
    char* shared = dynamic_shared();
    cp_async<16>(shared + offset, in + offset, true);
    cp_async_commit();
    cp_async<4>(shared + 16, in + 16, true);
    cp_async<4>(shared + 20, nullptr, false);
    cp_async_commit();
    if (waited == 2) cp_async_wait<0>();
    if (waited == 1) cp_async_wait<1>();
    for (int i = 0; i < 24; ++i) out[i] = shared[i];
}

template <class T>
void round_all(int64_t count, const float* in, float* out) {
    for (int64_t i = 0; i < count; ++i) out[i] = static_cast<float>(static_cast<T>(in[i]));
}

}  // namespace

EXPORT const char* run_rotate(bool barrier, int* out) {
    return message_of([&] { launch(rotate, 3, 64, 0, nullptr, barrier, out); });
}
EXPORT const char* run_read_unwritten(unsigned* out) {
    return message_of([&] { launch(read_unwritten, 2, 1, 16, nullptr, out); });
}
EXPORT const char* run_misuse(int which) {
    void (*const kernels[])() = {half_at_the_barrier, two_barriers, barrier_or_shuffle, shuffle_with_the_dead};
    return message_of([&] { launch(kernels[which], 2, 64, 0, nullptr); });
}
EXPORT const char* run_warp_functions(int* out) {
    return message_of([&] { launch(warp_functions, 1, 64, 0, nullptr, out); });
}
EXPORT const char* run_positions(int* out) {
    return message_of([&] { launch(positions, dim3(3, 2, 4), dim3(5, 3, 2), 0, nullptr, out); });
}
EXPORT const char* run_arrivals(int* counter, int* order) {
    return message_of([&] { launch(arrivals, 4, 8, 0, nullptr, counter, order); });
}
EXPORT const char* run_configuration(unsigned x, unsigned y, unsigned threads, size_t shared) {
    return message_of([&] {
        launch(half_at_the_barrier, dim3(x, y), threads, shared, nullptr);
        check(cudaGetLastError(), "selftest", "x " + std::to_string(x));
    });
}
EXPORT const char* run_load_matrices(bool transposed, const uint16_t* matrices, uint32_t* words) {
    return message_of([&] { launch(load_matrices, 1, 32, 512, nullptr, transposed, matrices, words); });
}
EXPORT const char* run_mma_float16(const uint32_t* a, const uint32_t* b, float* d) {
    return message_of([&] { launch(multiply<__half>, 1, 32, 0, nullptr, a, b, d); });
}
EXPORT const char* run_mma_bfloat16(const uint32_t* a, const uint32_t* b, float* d) {
    return message_of([&] { launch(multiply<__nv_bfloat16>, 1, 32, 0, nullptr, a, b, d); });
}
EXPORT const char* run_mma_float32(const uint32_t* a, const uint32_t* b, float* d) {
    return message_of([&] { launch(multiply<float>, 1, 32, 0, nullptr, a, b, d); });
}
EXPORT const char* run_copy(int waited, int offset, const char* in, char* out) {
    return message_of([&] { launch(copy, 1, 1, 64, nullptr, waited, offset, in, out); });
}
EXPORT void round_tf32(int64_t count, const float* in, float* out) {
    for (int64_t i = 0; i < count; ++i) out[i] = float_of(to_tf32(in[i]));
}
EXPORT void pair(bool float16, float low, float high, uint32_t* word, float* values) {
    *word = float16 ? pair_of<__half>(low, high) : pair_of<__nv_bfloat16>(low, high);
    for (int i = 0; i < 2; ++i)
        values[i] = float16 ? static_cast<float>(of_pair<__half>(*word, i))
                            : static_cast<float>(of_pair<__nv_bfloat16>(*word, i));
}
EXPORT void round_float16(int64_t count, const float* in, float* out) { round_all<__half>(count, in, out); }
EXPORT void round_bfloat16(int64_t count, const float* in, float* out) { round_all<__nv_bfloat16>(count, in, out); }
