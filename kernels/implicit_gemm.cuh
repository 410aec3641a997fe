// What the implicit GEMM kernels share: the tiles, how they lie in shared memory, and the product of two of them.
//
// A block computes a tile (kM, kN) of D = A B, in steps of kDepth terms, from tiles of A and B in shared memory that a
// ring of kStages holds. Both operands come in one of two layouts, always in chunks of 16 bytes that ldmatrix reads:
//   by operand   a row per row of A or column of B, of 64 bytes along the summed axis (kDepth elements)
//   by term      a row per term of the sum, of the operand's kM or kN elements; for 16-bit types only, whose matrices
//                ldmatrix can transpose
// Chunks are permuted by XOR with the row, so that the 8 rows that ldmatrix, or 8 lanes that store, touch together lie
// in different banks.
#pragma once
#include "ptx.cuh"

constexpr int kRowBytes = 64;

template <int kTileM, int kTileN, int kTileWarpsM, int kTileWarpsN, int kTileStages>
struct Tile {
    static constexpr int kM = kTileM, kN = kTileN, kWarpsM = kTileWarpsM, kWarpsN = kTileWarpsN, kStages = kTileStages;
    static constexpr int kThreads = 32 * kWarpsM * kWarpsN;
    static constexpr int kBytesA = kM * kRowBytes, kStageBytes = (kM + kN) * kRowBytes;
    static constexpr int kSharedBytes = kStages * kStageBytes;
};
using LargeTile = Tile<128, 128, 2, 4, 3>;  // 48 KiB, the most that needs no opting in
using SmallTile = Tile<64, 64, 2, 2, 4>;

template <class T>
constexpr int kChunk = 16 / sizeof(T);  // elements
template <class T>
constexpr int kDepth = kRowBytes / sizeof(T);  // terms of the sum in one stage

// Where a chunk lies, in bytes, by operand and by term.
__device__ inline int at_operand(int row, int chunk) { return row * kRowBytes + ((chunk ^ (row >> 1 & 3)) << 4); }
template <int kRow>  // elements of 2 bytes
__device__ inline int at_term(int term, int chunk) {
    return term * kRow * 2 + ((chunk ^ (term & 7)) << 4);
}

// The sums of a thread: value(i, j) belongs to row(i), column(j) of the tile; kRows x kColumns of them.
// promote(steps), after that many calls of multiply, moves sums out of the tensor cores where it is time to.
// multiply(a, b, rows, columns) adds the product of two tiles, of which only so many rows and columns are wanted.

// Tensor cores: a warp computes (kM / kWarpsM, kN / kWarpsN) by products of (16, 8). With kSplit (T = float), each
// operand is big + small, both TF32, and three products (small small is below 2^-22 of the result) give float32
// accuracy (Ootomo & Yokota 2022). An infinite operand gives NaN, as its small part is infinity minus infinity.
// Tensor cores truncate, so that errors of terms of one sign add up: sums run through them for 8 terms only with
// kSplit, for 4 steps (128 terms) of 16-bit types, then add up outside, rounded. TF32 rounds its operands more
// coarsely. kRoundedA: A holds TF32 numbers already.
template <class T, class Tile, bool kByTerm, bool kSplit, bool kRoundedA = false>
class TensorCoreProduct {
    static constexpr int kSquaresM = Tile::kM / Tile::kWarpsM / 16, kSquaresN = Tile::kN / Tile::kWarpsN / 8;
    static constexpr int kParts = kSplit ? 2 : 1;
    static constexpr int kStepsInTensorCores = sizeof(T) == 2 ? 4 : 0;  // 0: sums are not promoted by steps
    float sums_[kSquaresM][kSquaresN][4];
    float promoted_[kSquaresM][kSquaresN][4];  // the compiler drops it where it stays 0

    __device__ static int lane() { return int(threadIdx.x) % 32; }
    __device__ static int first_row() { return int(threadIdx.x) / 32 / Tile::kWarpsN * (Tile::kM / Tile::kWarpsM); }
    __device__ static int first_column() { return int(threadIdx.x) / 32 % Tile::kWarpsN * (Tile::kN / Tile::kWarpsN); }

    // Words of four matrices into parts[0], rounded or split where T is float.
    template <bool kRounded>
    __device__ static void load(uint32_t (&parts)[kParts][4], const char* row) {
        ldmatrix_x4<kByTerm>(parts[0], row);
        if constexpr (std::is_same_v<T, float> && !kRounded)
            for (int i = 0; i < 4; ++i) {
                const float value = float_of(parts[0][i]);
                parts[0][i] = to_tf32(value);
                if constexpr (kSplit) parts[1][i] = to_tf32(value - float_of(parts[0][i]));
            }
    }

  public:
    static constexpr int kRows = 2 * kSquaresM, kColumns = 2 * kSquaresN;
    __device__ static int row(int i) { return first_row() + i / 2 * 16 + i % 2 * 8 + lane() / 4; }
    __device__ static int column(int j) { return first_column() + j / 2 * 8 + lane() % 4 * 2 + j % 2; }
    __device__ float value(int i, int j) const {
        const int at = i % 2 * 2 + j % 2;
        return sums_[i / 2][j / 2][at] + (kStepsInTensorCores ? promoted_[i / 2][j / 2][at] : 0.f);
    }

    __device__ void clear() {
        for (auto* sums : {&sums_, &promoted_})
            for (auto& row : *sums)
                for (auto& square : row)
                    for (float& sum : square) sum = 0;
    }

    __device__ void promote(int steps) {
        if constexpr (kStepsInTensorCores != 0) {
            if (steps % kStepsInTensorCores) return;
#pragma unroll
            for (int i = 0; i < kSquaresM; ++i)
#pragma unroll
                for (int j = 0; j < kSquaresN; ++j)
#pragma unroll
                    for (int at = 0; at < 4; ++at) {
                        promoted_[i][j][at] += sums_[i][j][at];
                        sums_[i][j][at] = 0;
                    }
        }
    }

    __device__ void multiply(const char* a, const char* b, int rows, int columns) {
        if (first_row() >= rows || first_column() >= columns) return;  // the whole warp
        const int in_matrix = lane() % 8, matrix = lane() / 8;
        a += kByTerm ? 0 : first_row() * kRowBytes;  // apart from the rest of the address, which 8 rows repeat
        b += kByTerm ? 0 : first_column() * kRowBytes;
#pragma unroll(kSplit ? 1 : 2)                  // registers are short where there are two parts
        for (int step = 0; step < 2; ++step) {  // 32 of the 64 bytes of a row each
            uint32_t parts_a[kSquaresM][kParts][4];
#pragma unroll
            for (int i = 0; i < kSquaresM; ++i) {  // matrices: 8 rows, the next 8; the same of the next 8 words
                const int chunk = (first_row() + 16 * i) / 8 + matrix % 2;
                load<kRoundedA>(
                    parts_a[i],
                    kByTerm ? a + at_term<Tile::kM>(matrix / 2 * 8 + in_matrix, chunk) + step * 16 * Tile::kM * 2
                            : a + at_operand(matrix % 2 * 8 + in_matrix, 2 * step + matrix / 2) + i * 16 * kRowBytes);
            }
#pragma unroll
            for (int j = 0; j < kSquaresN; j += 2) {  // matrices: 8 columns, their next 8 words; the next 8 columns
                const int chunk = first_column() / 8 + j + matrix / 2;
                uint32_t parts_b[kParts][4];
                load<false>(
                    parts_b,
                    kByTerm ? b + at_term<Tile::kN>(matrix % 2 * 8 + in_matrix, chunk) + step * 16 * Tile::kN * 2
                            : b + at_operand(matrix / 2 * 8 + in_matrix, 2 * step + matrix % 2) + j * 8 * kRowBytes);
                // One part of A with one of B at a time: neighbouring mma then add to different sums.
                const auto product = [&](int part_a, int part_b, auto& sums, int first) {
#pragma unroll
                    for (int square = 0; square < 2; ++square) {
                        const uint32_t words[2] = {parts_b[part_b][2 * square], parts_b[part_b][2 * square + 1]};
#pragma unroll
                        for (int i = 0; i < kSquaresM; ++i) mma<T>(sums[i][first + square], parts_a[i][part_a], words);
                    }
                };
                if constexpr (kSplit) {
                    float partial[kSquaresM][2][4] = {};
                    product(1, 0, partial, 0);  // the small ones first
                    product(0, 1, partial, 0);
                    product(0, 0, partial, 0);
#pragma unroll
                    for (int i = 0; i < kSquaresM; ++i)
#pragma unroll
                        for (int at = 0; at < 8; ++at) sums_[i][j + at / 4][at % 4] += partial[i][at / 4][at % 4];
                } else {
                    product(0, 0, sums_, j);
                }
            }
        }
    }
};

// Multiply-adds in float32, for tiles by operand: a thread has rows 4 apart and columns 8 apart, so that what a warp
// reads together is 4 neighbouring rows, or 8 columns, once each.
template <class Tile>
class ScalarProduct {
    static constexpr int kWarpM = Tile::kM / Tile::kWarpsN, kWarpN = Tile::kN / Tile::kWarpsM;  // taller than wide

  public:
    static constexpr int kRows = kWarpM / 4, kColumns = kWarpN / 8;
    __device__ static int row(int i) {
        return int(threadIdx.x) / 32 / Tile::kWarpsM * kWarpM + 4 * i + int(threadIdx.x) / 8 % 4;
    }
    __device__ static int column(int j) {
        return int(threadIdx.x) / 32 % Tile::kWarpsM * kWarpN + 8 * j + int(threadIdx.x) % 8;
    }
    __device__ float value(int i, int j) const { return sums_[i][j]; }
    __device__ void promote(int) {}

    __device__ void clear() {
        for (auto& row : sums_)
            for (float& sum : row) sum = 0;
    }

    __device__ void multiply(const char* a, const char* b, int, int) {
#pragma unroll 1
        for (int chunk = 0; chunk < 4; ++chunk) {
            // The permutation repeats after 8 rows: the addresses of the others are these and constants.
            const char* const first_right = b + at_operand(column(0), chunk);
            const char* const first_left[2] = {a + at_operand(row(0), chunk), a + at_operand(row(1), chunk)};
            float4 right[kColumns];
#pragma unroll
            for (int j = 0; j < kColumns; ++j)
                right[j] = *reinterpret_cast<const float4*>(first_right + j * 8 * kRowBytes);
#pragma unroll
            for (int i = 0; i < kRows; ++i) {
                const float4 left = *reinterpret_cast<const float4*>(first_left[i % 2] + i / 2 * 8 * kRowBytes);
#pragma unroll
                for (int j = 0; j < kColumns; ++j) {
                    sums_[i][j] += left.x * right[j].x;
                    sums_[i][j] += left.y * right[j].y;
                    sums_[i][j] += left.z * right[j].z;
                    sums_[i][j] += left.w * right[j].w;
                }
            }
        }
    }

  private:
    float sums_[kRows][kColumns];
};

// The ring: `fetch` has start(tile of A, tile of B), which starts to bring the next step's tiles, and finish(the same),
// which stores what it holds in registers. All threads call this; at the end the shared memory is free again.
template <class Tile, class Fetch, class Product>
__device__ void sum_over_steps(int steps, Fetch& fetch, Product& product, int rows, int columns) {
    char* const memory = dynamic_shared();
    char* const end = memory + Tile::kSharedBytes;
    char* filling = memory;
    for (int step = 0; step < Tile::kStages - 1; ++step, filling += Tile::kStageBytes) {
        if (step < steps) {
            fetch.start(filling, filling + Tile::kBytesA);
            fetch.finish(filling, filling + Tile::kBytesA);
        }
        cp_async_commit();
    }
    char* reading = memory;
    for (int step = 0; step < steps; ++step) {
        cp_async_wait<Tile::kStages - 2>();
        __syncthreads();  // this step's tiles are there, and nobody reads those of the step before any more
        const bool more = step < steps - (Tile::kStages - 1);
        if (more) fetch.start(filling, filling + Tile::kBytesA);
        cp_async_commit();
        product.multiply(reading, reading + Tile::kBytesA, rows, columns);
        product.promote(step + 1);
        if (more) fetch.finish(filling, filling + Tile::kBytesA);
        if ((filling += Tile::kStageBytes) == end) filling = memory;
        if ((reading += Tile::kStageBytes) == end) reading = memory;
    }
    __syncthreads();
}

// Which kernel computes a product: the types behind with_product's f.
template <class T, class TileOfKind, class ProductOfKind>
struct Kind {
    using Element = T;
    using Tile = TileOfKind;
    using Product = ProductOfKind;
};

#ifdef __CUDACC__
constexpr int64_t kFullGpu = 132;  // blocks: an H200 has as many multiprocessors
#else
constexpr int64_t kFullGpu = 3;  // on the host, so that small tests reach the large tile and several splits
#endif

template <class Tile, bool kWgrad, class F>
void with_product_of_tile(DType dtype, bool split, F&& f) {
    with_dtype(dtype, [&](auto element) {
        using T = decltype(element);
        if constexpr (sizeof(T) == 2)
            f(Kind<T, Tile, TensorCoreProduct<T, Tile, kWgrad, false>>());
        else if (split)
            f(Kind<T, Tile, TensorCoreProduct<T, Tile, false, true>>());
        else if (dtype == DType::tf32)
            f(Kind<T, Tile, TensorCoreProduct<T, Tile, false, false, !kWgrad>>());
        else
            f(Kind<T, Tile, ScalarProduct<Tile>>());
    });
}

// Calls f with the Kind for `products` products (M, N), on tensor cores but for float32 without split. The large tile
// is for products that fill the GPU with it and do not leave half of it empty. kWgrad: 16-bit operands lie by term, and
// A is no filters, which conv_implicit_filters has rounded.
template <bool kWgrad, class F>
void with_product(DType dtype, bool split, int64_t products, int64_t M, int64_t N, F&& f) {
    const int64_t large_tiles = products * ceil_div(M, int64_t(LargeTile::kM)) * ceil_div(N, int64_t(LargeTile::kN));
    if (M > SmallTile::kM && N > SmallTile::kN && large_tiles >= kFullGpu)
        with_product_of_tile<LargeTile, kWgrad>(dtype, split, f);
    else
        with_product_of_tile<SmallTile, kWgrad>(dtype, split, f);
}

// What the kernels take; gpucnn/conv/algos.py says the same.
inline void require_taken(const char* op, const ConvShape& s, DType dtype, bool split) {
    if (split && dtype != DType::float32)
        throw std::invalid_argument(std::string(op) + ": takes float32, but came " + name_of(dtype));
    const int groups = s.channels_last ? 1 : s.groups;  // that lie apart
    const double image = std::max(double(s.C) * s.H * s.W, double(s.K) * s.P * s.Q) / groups;
    const double filter = double(s.R) * s.S * (std::max(s.Cg(), s.Kg()) + 8);
    if (std::max(image, filter) >= double(1u << 31))
        throw std::invalid_argument(
            std::string(op) + ": image and filter have fewer than 2^31 elements in a group, but " + "came " + s.text());
}

inline void require_direction(const char* op, const std::string& direction) {
    if (direction != "fwd" && direction != "dgrad" && direction != "wgrad")
        throw std::invalid_argument(std::string(op) + ": direction is fwd, dgrad or wgrad, but came " + direction);
}
