// Kernels that use or misuse the models of Hopper's instructions; test_ptx_hopper.py calls the C functions below.
#include "ptx_hopper.cuh"
#include "selftest.h"

namespace {

constexpr int kRowsA = 64, kDepth = 64;  // of a product; rows are 128 bytes

enum Slip {
    none,
    no_wait_for_load,
    wrong_parity,
    no_init_fence,
    no_fence,
    no_wait_for_product,
    operand_overwritten,
    sums_written,
    too_few_bytes,
    other_swizzle,
    not_aligned
};

__device__ char* aligned_shared() {
    char* const shared = dynamic_shared();
    return shared + (0u - shared_address(shared)) % 1024;
}

// box (rows, 64) <- an im2col or tiled load, as it lies in shared memory.
__global__ void load_box(CUtensorMap map, bool im2col, int rows, const int* at, uint16_t* box) {
    __shared__ Barrier barrier;
    char* const shared = aligned_shared();
    barrier_init(&barrier, 1);
    barrier_init_fence();
    barrier_arrive_expecting(&barrier, rows * 128);
    if (im2col)
        tma_load_im2col(shared, &map, &barrier, at[0], at[1], at[2], at[3], at[4], at[5]);
    else
        tma_load_box(shared, &map, &barrier, at[0], at[1], at[2]);
    barrier_wait(&barrier, 0);
    for (int i = 0; i < rows * 64; ++i) box[i] = reinterpret_cast<const uint16_t*>(shared)[i];
}

enum StoreSlip { stored, lane_not_fenced, overwritten, overwritten_later, store_not_waited, not_committed };

// A store by a warp of the box (rows, 64) that it copies to shared memory as it lies, then of another into the same
// memory.
__global__ void store_box(CUtensorMap map, StoreSlip slip, int rows, const int* at, const uint16_t* box) {
    auto* const shared = reinterpret_cast<uint16_t*>(aligned_shared());
    for (int turn = 0; turn < 2; ++turn) {
        const int lane = int(threadIdx.x);
        for (int i = lane; i < rows * 64; i += 32) shared[i] = box[turn * rows * 64 + i];
        if (slip != lane_not_fenced || lane != 9) tma_store_fence();
        __syncwarp();
        if (lane == 0) {
            tma_store_box(shared, &map, at[3 * turn], at[3 * turn + 1], at[3 * turn + 2]);
            if (slip == overwritten) shared[5] ^= 1;
            if (slip != not_committed) tma_store_commit();
            if (slip == overwritten_later && turn == 1)
                tma_store_wait<1>();
            else if (slip != store_not_waited)
                tma_store_wait<0>();
            if (slip == overwritten_later && turn == 1) shared[5] ^= 1, tma_store_wait<0>();
        }
        __syncwarp();
    }
}

// d (64, kRowsB) += a (64, 64) b (kRowsB, 64)^T, with a slip if wanted.
template <class T, int kRowsB>
__global__ void multiply(CUtensorMap a, CUtensorMap b, Slip slip, float* d) {
    __shared__ Barrier barrier;
    char* const shared = aligned_shared() + (slip == not_aligned ? 128 : 0);
    char* const shared_b = shared + kRowsA * 128;
    if (threadIdx.x == 0) {
        barrier_init(&barrier, 1);
        if (slip != no_init_fence) barrier_init_fence();
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        barrier_arrive_expecting(&barrier, (kRowsA + kRowsB - (slip == too_few_bytes)) * 128);
        tma_load_box(shared, &a, &barrier, 0, 0, 0);
        tma_load_box(shared_b, &b, &barrier, 0, 0, 0);
    }
    if (slip != no_wait_for_load) barrier_wait(&barrier, slip == wrong_parity);
    const int warp = int(threadIdx.x) / 32, g = int(threadIdx.x) % 32 / 4, t = int(threadIdx.x) % 4;
    const auto place = [&](int i) { return &d[(16 * warp + g + i / 2 % 2 * 8) * kRowsB + i / 4 * 8 + 2 * t + i % 2]; };
    float sums[kRowsB / 2];
    for (int i = 0; i < kRowsB / 2; ++i) sums[i] = *place(i);
    if (slip != no_fence) wgmma_fence(sums);
    uint64_t operand_a = wgmma_operand(shared), operand_b = wgmma_operand(shared_b);
    if (slip == other_swizzle) operand_a ^= uint64_t(3) << 62;
    for (int k = 0; k < kDepth / 16; ++k) wgmma<T>(sums, operand_a + 2 * k, operand_b + 2 * k);
    wgmma_commit();
    if (slip == operand_overwritten && threadIdx.x == 0) shared_b[77] ^= 1;
    if (slip == sums_written) sums[5] = 0;
    if (slip == no_wait_for_product)
        wgmma_wait<1>(sums);
    else
        wgmma_wait<0>(sums);
    for (int i = 0; i < kRowsB / 2; ++i) *place(i) = sums[i];
}

// d (64, 128) += a^T b for a (64 terms, 64) and b (64 terms, 128), by boxes of 64 columns.
template <class T>
__global__ void multiply_transposed(CUtensorMap a, CUtensorMap b, float* d) {
    __shared__ Barrier barrier;
    char* const shared = aligned_shared();
    constexpr int kBox = kDepth * 128, kColumns = 128;
    if (threadIdx.x == 0) {
        barrier_init(&barrier, 1);
        barrier_init_fence();
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        barrier_arrive_expecting(&barrier, 3 * kBox);
        tma_load_box(shared, &a, &barrier, 0, 0, 0);
        tma_load_box(shared + kBox, &b, &barrier, 0, 0, 0);
        tma_load_box(shared + 2 * kBox, &b, &barrier, 64, 0, 0);
    }
    barrier_wait(&barrier, 0);
    const int warp = int(threadIdx.x) / 32, g = int(threadIdx.x) % 32 / 4, t = int(threadIdx.x) % 4;
    float sums[64] = {};
    wgmma_fence(sums);
    const uint64_t operand_a = wgmma_transposed_operand(shared, kBox);
    const uint64_t operand_b = wgmma_transposed_operand(shared + kBox, kBox);
    for (int k = 0; k < kDepth / 16; ++k) wgmma<T, true>(sums, operand_a + 128 * k, operand_b + 128 * k);
    wgmma_commit();
    wgmma_wait<0>(sums);
    for (int i = 0; i < 64; ++i) d[(16 * warp + g + i / 2 % 2 * 8) * kColumns + i / 4 * 8 + 2 * t + i % 2] += sums[i];
}

// Boxes of 64 columns of a matrix (rows, columns).
CUtensorMap matrix_map(const void* data, int rows, int columns = kDepth) {
    const cuuint64_t size[] = {cuuint64_t(columns), 1, cuuint64_t(rows)}, row = size[0] * 2, apart[] = {row, row};
    const cuuint32_t box[] = {kDepth, 1, cuuint32_t(rows)}, strides[] = {1, 1, 1};
    CUtensorMap map;
    if (cuTensorMapEncodeTiled(&map, CU_TENSOR_MAP_DATA_TYPE_FLOAT16, 3, const_cast<void*>(data), size, apart, box,
                               strides, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                               CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) != CUDA_SUCCESS)
        throw std::runtime_error("cuTensorMapEncodeTiled refuses");
    return map;
}

// size: x, y, z; a box (64, box_y, box_z)
CUtensorMap tiled_map(const void* data, const cuuint64_t* size, const cuuint32_t* box, bool swizzled) {
    const cuuint64_t apart[] = {size[0] * 2, size[0] * size[1] * 2};
    const cuuint32_t strides[] = {1, 1, 1};
    CUtensorMap map;
    if (cuTensorMapEncodeTiled(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 3, const_cast<void*>(data), size, apart, box,
                               strides, CU_TENSOR_MAP_INTERLEAVE_NONE,
                               swizzled ? CU_TENSOR_MAP_SWIZZLE_128B : CU_TENSOR_MAP_SWIZZLE_NONE,
                               CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) != CUDA_SUCCESS)
        throw std::runtime_error("cuTensorMapEncodeTiled refuses");
    return map;
}

template <class T, int kRowsB>
const char* multiply_message(int slip, const void* a, const void* b, float* d) {
    return message_of([&] {
        constexpr int bytes = (kRowsA + kRowsB) * 128 + 1024 + 128;
        launch(multiply<T, kRowsB>, 1, 128, bytes, nullptr, matrix_map(a, kRowsA), matrix_map(b, kRowsB), Slip(slip),
               d);
        check(cudaGetLastError(), "selftest", "product");
    });
}

// Waits for phases 0 to 2 of a barrier that 2 of the 3 warps complete; counts what was seen.
__global__ void phases(bool third, int* seen) {
    __shared__ Barrier barrier;
    if (threadIdx.x == 0) barrier_init(&barrier, 2);
    __syncthreads();
    const unsigned turns = third ? 3 : 2;
    if (threadIdx.x == 32 || threadIdx.x == 64)
        for (unsigned turn = 0; turn < turns; ++turn) {
            atomicAdd(seen, 1);
            barrier_arrive(&barrier);
            barrier_wait(&barrier, turn % 2);
        }
    if (threadIdx.x == 0) {
        barrier_wait(&barrier, 1);  // before phase 0, the one before it counts as over
        barrier_wait(&barrier, 0);
        seen[1] = *seen;
        if (third) return;
        barrier_wait(&barrier, 1);
        barrier_wait(&barrier, 0);  // phase 2 never ends
    }
}

enum Numbers { allowed, too_few, too_many, no_multiple, different, one_missing };

__global__ void registers(Numbers which) {
    if (which == too_few) return give_registers<16>();
    if (which == too_many) return take_registers<264>();
    if (which == no_multiple) return give_registers<28>();
    if (which == different && threadIdx.x == 77) return give_registers<32>();
    if (which == one_missing && threadIdx.x == 77) return;
    if (threadIdx.x < 128)
        give_registers<24>();
    else
        take_registers<256>();
    take_registers<48>();
}

// Warps 0 and 2 of three hand each other numbers twice; the last lane of all stays away if wanted.
__global__ void exchange_numbers(bool one_missing, int* out) {
    __shared__ int numbers[96];
    if (threadIdx.x / 32 == 1 || (one_missing && threadIdx.x == 95)) return;
    for (int turn = 1; turn < 3; ++turn) {
        numbers[threadIdx.x] = turn * int(threadIdx.x);
        sync_part_of_block<1, 64>();
        out[threadIdx.x] += numbers[95 - threadIdx.x];
        sync_part_of_block<2, 64>();
    }
}

}  // namespace

// columns: 128 or 256
EXPORT const char* run_product_float16(int columns, int slip, const void* a, const void* b, float* d) {
    return (columns == 256 ? multiply_message<__half, 256> : multiply_message<__half, 128>)(slip, a, b, d);
}
EXPORT const char* run_product_bfloat16(int columns, int slip, const void* a, const void* b, float* d) {
    return (columns == 256 ? multiply_message<__nv_bfloat16, 256> : multiply_message<__nv_bfloat16, 128>)(slip, a, b,
                                                                                                          d);
}
// So many threads; those of the first warpgroup give registers away, the others take some.
EXPORT const char* run_registers(int threads, int which) {
    return message_of([&] { launch(registers, 1, threads, 0, nullptr, Numbers(which)); });
}
EXPORT const char* run_transposed_product(const void* a, const void* b, float* d) {
    return message_of([&] {
        launch(multiply_transposed<__half>, 1, 128, 3 * kDepth * 128 + 1024, nullptr, matrix_map(a, kDepth),
               matrix_map(b, kDepth, 128), d);
    });
}
EXPORT const char* run_phases(bool third, int* seen) {
    return message_of([&] { launch(phases, 1, 96, 0, nullptr, third, seen); });
}
EXPORT const char* run_exchange(bool one_missing, int* out) {
    return message_of([&] { launch(exchange_numbers, 1, 96, 0, nullptr, one_missing, out); });
}
// size: x, y, z; a box (64, box_y, box_z)
EXPORT const char* run_load_tiled(const void* data, const cuuint64_t* size, const cuuint32_t* box, const int* at,
                                  bool swizzled, uint16_t* out) {
    return message_of([&] {
        launch(load_box, 1, 1, 128 * 128 + 1024, nullptr, tiled_map(data, size, box, swizzled), false,
               int(box[1] * box[2]), at, out);
    });
}
// Two stores to data of size x, y, z; at and box hold what each needs.
EXPORT const char* run_store_tiled(int slip, void* data, const cuuint64_t* size, const cuuint32_t* box_size,
                                   const int* at, bool swizzled, const uint16_t* box) {
    return message_of([&] {
        launch(store_box, 1, 32, 128 * 128 + 1024, nullptr, tiled_map(data, size, box_size, swizzled), StoreSlip(slip),
               int(box_size[1] * box_size[2]), at, box);
    });
}
// size: c, w, h, n; corners and strides: w, h; at: c, w, h, n, offset w, offset h; a box (positions, 64)
EXPORT const char* run_load_im2col(const void* data, const cuuint64_t* size, const int* lower, const int* upper,
                                   const cuuint32_t* stride, int positions, const int* at, uint16_t* out) {
    return message_of([&] {
        const cuuint64_t apart[] = {size[0] * 2, size[0] * size[1] * 2, size[0] * size[1] * size[2] * 2};
        const cuuint32_t strides[] = {1, stride[0], stride[1], 1};
        CUtensorMap map;
        if (cuTensorMapEncodeIm2col(&map, CU_TENSOR_MAP_DATA_TYPE_FLOAT16, 4, const_cast<void*>(data), size, apart,
                                    lower, upper, 64, positions, strides, CU_TENSOR_MAP_INTERLEAVE_NONE,
                                    CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
                                    CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) != CUDA_SUCCESS)
            throw std::runtime_error("cuTensorMapEncodeIm2col refuses");
        launch(load_box, 1, 1, positions * 128 + 1024, nullptr, map, true, positions, at, out);
    });
}
