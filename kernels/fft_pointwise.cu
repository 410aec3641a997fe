// Products of spectra: at each frequency, a product of matrices of complex numbers over the channels (or the tiles).
//
//   a    (rows, depth) spectra, b (depth, columns) spectra    read, in any order of rows, columns and groups
//   out  (rows, columns) spectra                              written, or added to
//
// A spectrum is `frequencies` complex numbers side by side, as cuFFT writes it, so a lane of a warp takes one
// frequency: loads coalesce without a transposition, and lanes share nothing. A thread sums kRows x kColumns products;
// 4 x 2 warps of a block share 32 frequencies, and the spectra that they read come through a ring of three stages of
// shared memory, by cp.async of 16 bytes. Neighbouring blocks differ in columns, then rows, and so find their spectra
// in L2. Speed of the 8 x 8 tile, counted: a warp and term: 256 FFMA and 16 loads of 8 bytes a lane, which keep half of
// the bandwidth of shared memory busy, and 12 KiB a block in 512 cycles from L2: bound by FFMA, about 90 % of its peak.
// Few rows or columns (one tile, depthwise) take tiles of 2, which are bound by memory: every spectrum is read once.
// Others: three real products a complex one (Gauss) would save 64 of the 256 FFMA, but add 24 sums and need 192
// registers of sums instead of 128: the tile falls to 8 x 5, and loads grow by a third; cuBLAS wants the channels side
// by side, and the transpositions (16 bytes read and written per number) cost as much as the products at 64 channels
// do. Sums run over the depth in order: the same bits in every run, and for any number of rows and columns. Called by
// csrc/cuda/conv_fft.cpp.
#include "ptx.cuh"

namespace {

constexpr int kLanes = 32;         // frequencies of a block
constexpr int kSpectrumChunk = 2;  // complex numbers in 16 bytes

template <int kRowsOfThread, int kColumnsOfThread>
struct ProductTile {
    static constexpr int kRows = kRowsOfThread, kColumns = kColumnsOfThread;
    static constexpr int kWarpsDown = 4, kWarpsAcross = 2, kThreadsOfTile = kLanes * kWarpsDown * kWarpsAcross;
    static constexpr int kM = kRows * kWarpsDown, kN = kColumns * kWarpsAcross;
    static constexpr int kLines = kM + kN;                                  // spectra that a term reads
    static constexpr int kDepth = kLines <= 12 ? 4 : kLines <= 24 ? 2 : 1;  // terms of a stage
    static constexpr int kStages = 3;
    static constexpr int kSharedBytes = kStages * kLines * kDepth * kLanes * int(sizeof(float2));
    static constexpr int kChunks = ceil_div(kLines * kDepth * kLanes / kSpectrumChunk, kThreadsOfTile);  // of a thread
};

// How one thread brings its chunks of a stage: each has a line (term, row of a or column of b) and two frequencies.
template <class Tile>
struct FetchSpectra {
    const float2* from[Tile::kChunks];  // of the stage's terms
    int64_t apart[Tile::kChunks];       // from stage to stage; 0: nothing is there
    int term[Tile::kChunks];

    __device__ static int chunk(int i) { return int(threadIdx.x) + i * Tile::kThreadsOfTile; }

    __device__ FetchSpectra(const SpectrumProduct& p, int64_t group, int64_t first_row, int64_t first_column,
                            int first_frequency) {
        const auto point = [&](int i, const SpectrumMatrix& matrix, int64_t at, int64_t along, bool inside) {
            const int frequency = first_frequency + chunk(i) % (kLanes / kSpectrumChunk) * kSpectrumChunk;
            inside = inside && frequency < p.frequencies;
            const int64_t spectrum = at + group * matrix.group + term[i] * along;
            from[i] = reinterpret_cast<const float2*>(matrix.data) +
                      (inside ? spectrum * p.frequencies + frequency : int64_t(0));
            apart[i] = inside ? along * Tile::kDepth * p.frequencies : 0;
        };
#pragma unroll
        for (int i = 0; i < Tile::kChunks; ++i) {
            const int line = chunk(i) / (kLanes / kSpectrumChunk);
            term[i] = line / Tile::kLines;
            const int64_t row = first_row + line % Tile::kLines;
            const int64_t column = first_column + line % Tile::kLines - Tile::kM;
            if (line % Tile::kLines < Tile::kM)
                point(i, p.a, row * p.a.row, p.a.column, row < p.rows);
            else
                point(i, p.b, column * p.b.column, p.b.row, column < p.columns);
        }
    }

    // Starts to bring the next stage, of which `terms` exist.
    __device__ void start(float2 (*stage)[kLanes], int64_t terms) {
#pragma unroll
        for (int i = 0; i < Tile::kChunks; ++i) {
            if (chunk(i) >= Tile::kLines * Tile::kDepth * kLanes / kSpectrumChunk) continue;
            const bool valid = apart[i] != 0 && term[i] < terms;
            cp_async<16>(&stage[0][0] + chunk(i) * kSpectrumChunk, from[i], valid);
            from[i] += apart[i];
        }
    }
};

template <class Tile>
__global__ void __launch_bounds__(Tile::kThreadsOfTile)
    product_kernel(SpectrumProduct p, int64_t tiles, int64_t tiles_m, int64_t tiles_n, int slices) {
    using Stage = float2[Tile::kLines * Tile::kDepth][kLanes];
    Stage* const ring = reinterpret_cast<Stage*>(dynamic_shared());
    const int lane = threadIdx.x % kLanes, warp = threadIdx.x / kLanes;
    const int down = warp % Tile::kWarpsDown * Tile::kRows, right = warp / Tile::kWarpsDown * Tile::kColumns;
    const int64_t stages = ceil_div(p.depth, int64_t(Tile::kDepth));
    for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        const int64_t first_column = tile % tiles_n * Tile::kN, first_row = tile / tiles_n % tiles_m * Tile::kM;
        const int64_t slice = tile / tiles_n / tiles_m, group = slice / slices;
        const int first_frequency = int(slice % slices) * kLanes;
        FetchSpectra<Tile> fetch(p, group, first_row, first_column, first_frequency);
        float2 sums[Tile::kRows][Tile::kColumns];
#pragma unroll
        for (int i = 0; i < Tile::kRows; ++i)
#pragma unroll
            for (int j = 0; j < Tile::kColumns; ++j) sums[i][j] = {0.f, 0.f};

        int64_t terms = p.depth;  // that are not on their way yet
        int filling = 0, reading = 0;
        for (; filling < Tile::kStages - 1; ++filling, terms -= Tile::kDepth) {
            fetch.start(ring[filling], terms);
            cp_async_commit();
        }
        for (int64_t stage = 0; stage < stages; ++stage, terms -= Tile::kDepth) {
            cp_async_wait<Tile::kStages - 2>();
            __syncthreads();  // this stage is there, and nobody reads the one before any more
            fetch.start(ring[filling], terms);
            cp_async_commit();
            const float2(*const lines)[kLanes] = ring[reading];
#pragma unroll
            for (int d = 0; d < Tile::kDepth; ++d) {
                float2 a[Tile::kRows], b[Tile::kColumns];
#pragma unroll
                for (int i = 0; i < Tile::kRows; ++i) a[i] = lines[d * Tile::kLines + down + i][lane];
#pragma unroll
                for (int j = 0; j < Tile::kColumns; ++j) b[j] = lines[d * Tile::kLines + Tile::kM + right + j][lane];
#pragma unroll
                for (int i = 0; i < Tile::kRows; ++i)
#pragma unroll
                    for (int j = 0; j < Tile::kColumns; ++j) {
                        sums[i][j].x += a[i].x * b[j].x;
                        sums[i][j].x -= a[i].y * b[j].y;
                        sums[i][j].y += a[i].x * b[j].y;
                        sums[i][j].y += a[i].y * b[j].x;
                    }
            }
            if (++filling == Tile::kStages) filling = 0;
            if (++reading == Tile::kStages) reading = 0;
        }
        cp_async_wait<0>();
        __syncthreads();  // before the next tile overwrites the ring

        const int frequency = first_frequency + lane;
        if (frequency >= p.frequencies) continue;
#pragma unroll
        for (int i = 0; i < Tile::kRows; ++i)
#pragma unroll
            for (int j = 0; j < Tile::kColumns; ++j) {
                const int64_t row = first_row + down + i, column = first_column + right + j;
                if (row >= p.rows || column >= p.columns) continue;
                const int64_t spectrum = row * p.out.row + column * p.out.column + group * p.out.group;
                float2& to = reinterpret_cast<float2*>(p.out.data)[spectrum * p.frequencies + frequency];
                const float2 old = p.accumulate ? to : float2{0.f, 0.f};
                to = {old.x + sums[i][j].x, old.y + sums[i][j].y};
            }
    }
}

template <class Tile>
void run(const SpectrumProduct& p, cudaStream_t stream) {
    const int64_t tiles_m = ceil_div(p.rows, int64_t(Tile::kM)), tiles_n = ceil_div(p.columns, int64_t(Tile::kN));
    const int slices = ceil_div(p.frequencies, kLanes);
    const int64_t tiles = tiles_m * tiles_n * slices * p.groups;
    launch(product_kernel<Tile>, blocks_for(tiles, 1), Tile::kThreadsOfTile, Tile::kSharedBytes, stream, p, tiles,
           tiles_m, tiles_n, slices);
}

}  // namespace

void multiply_spectra(const SpectrumProduct& p, cudaStream_t stream) {
    if (p.rows == 0 || p.columns == 0 || p.groups == 0) return;
    // The large tile where it is at least half full.
    const bool tall = p.rows > 16, wide = p.columns > 8;
    if (tall && wide) run<ProductTile<8, 8>>(p, stream);
    if (tall && !wide) run<ProductTile<8, 2>>(p, stream);
    if (!tall && wide) run<ProductTile<2, 8>>(p, stream);
    if (!tall && !wide) run<ProductTile<2, 2>>(p, stream);
    check(cudaGetLastError(), "multiply_spectra",
          std::to_string(p.groups) + " groups of " + std::to_string(p.rows) + "x" + std::to_string(p.depth) + " by " +
              std::to_string(p.columns) + ", " + std::to_string(p.frequencies) + " frequencies");
}
