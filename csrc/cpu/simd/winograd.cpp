// Winograd's algorithm for y = x * w with 3x3 filters (Lavin & Gray 2016): a block of tiles is gathered, transformed to
// n^2 planes, multiplied plane by plane with the transformed filters, and transformed back, all in cache.
//
//   filters   (plane, row block, C, kRows)      written by winograd_filters, shared by all blocks
//   tiles     (plane, panel, C, kPanel)         B^T d B: one thread's scratch
//   products  (plane, row block, panel, kRows, kPanel)
//
// Planes are padded by a vector, so that n^2 stores at one distance do not meet in one set of the cache.
#include "simd.h"
#include "tiles.h"
#include "vec.h"
#include "winograd_transform.h"

namespace {

struct Layout {
    int64_t row_blocks, panels, filter_plane, tile_plane, product_plane, stride;

    explicit Layout(const WinogradJob& job)
        : row_blocks((job.K + kRows - 1) / kRows),
          panels((job.tiles + kPanel - 1) / kPanel),
          filter_plane(row_blocks * job.C * kRows),
          tile_plane(panels * job.C * kPanel + kLanes),
          product_plane(row_blocks * panels * kRows * kPanel + kLanes),
          stride(tile_stride(job)) {}
};

template <int m, class T>
void filters_of(const WinogradJob& job, int64_t row_block, float* filters) {
    using G = typename Winograd<m, 3>::G;
    constexpr int n = m + 2, channels = kLanes / kRows;  // of one vector
    const Layout layout(job);
    filters += row_block * job.C * kRows;
    for (int64_t c0 = 0; c0 < job.C; c0 += channels) {
        alignas(64) float taps[9][kLanes] = {};
        const int64_t here = least(channels, job.C - c0);
        for (int64_t row = 0; row < kRows && row_block * kRows + row < job.K; ++row)
            for (int64_t c = 0; c < here; ++c) {
                const T* w = static_cast<const T*>(job.w) + (row_block * kRows + row) * job.w_k + (c0 + c) * job.w_c;
                for (int t = 0; t < 9; ++t) taps[job.turned ? 8 - t : t][c * kRows + row] = static_cast<float>(w[t]);
            }
        both_sides<G, false>([&](int i, int j) { return load(taps[3 * i + j]); },
                             [&](int i, int j, Vec value) {
                                 float* out = filters + (i * n + j) * layout.filter_plane + c0 * kRows;
                                 std::memcpy(out, &value, sizeof(float) * here * kRows);
                             });
    }
}

template <int m, class T>
void block_of(const WinogradJob& job, int64_t block, const float* filters, float* scratch) {
    using BT = typename Winograd<m, 3>::BT;
    using AT = typename Winograd<m, 3>::AT;
    constexpr int n = m + 2, planes = n * n;
    const Layout layout(job);
    float* tiles = scratch;
    float* products = tiles + planes * layout.tile_plane;
    float* pixels = products + planes * layout.product_plane;
    float* line = pixels + planes * layout.stride;
    const int64_t first = block * job.tiles, count = least(job.tiles, job.all_tiles() - first);
    const int64_t panels = (count + kPanel - 1) / kPanel;

    const Runs runs(job, first, count);

    // The lanes beyond count are computed too, from zeros, and never scattered.
    std::memset(pixels, 0, sizeof(float) * planes * layout.stride);
    std::memset(line, 0, sizeof(float) * line_floats(job));
    for (int64_t c = 0; c < job.C; ++c) {
        gather<m, n>(runs, static_cast<const T*>(job.x) + c * job.H * job.W, job.x_image, job.H, job.W, job.pad_h,
                     job.pad_w, pixels, layout.stride, line);
        for (int64_t t = 0; t < panels * kPanel; t += kLanes) {
            float* out = tiles + (t / kPanel * job.C + c) * kPanel + t % kPanel;
            both_sides<BT, false>(
                [&](int i, int j) { return load(pixels + (i * n + j) * layout.stride + t); },
                [&](int i, int j, Vec value) { store(out + (i * n + j) * layout.tile_plane, value); });
        }
    }
    for (int p = 0; p < planes; ++p)
        for (int64_t row_block = job.first_k / kRows; row_block * kRows < job.end_k; ++row_block)
            for (int64_t panel = 0; panel < panels; ++panel)
                register_product(
                    false, job.C, filters + p * layout.filter_plane + row_block * job.C * kRows,
                    tiles + p * layout.tile_plane + panel * job.C * kPanel,
                    products + p * layout.product_plane + (row_block * layout.panels + panel) * kRows * kPanel);
    const Vec zero{};
    for (int64_t k = job.first_k; k < job.end_k; ++k) {
        const float offset = job.bias ? static_cast<float>(static_cast<const T*>(job.bias)[k]) : 0.0f;
        for (int64_t t = 0; t < panels * kPanel; t += kLanes) {
            const float* in =
                products + ((k / kRows * layout.panels + t / kPanel) * kRows + k % kRows) * kPanel + t % kPanel;
            both_sides<AT, true>([&](int i, int j) { return load(in + (i * n + j) * layout.product_plane); },
                                 [&](int i, int j, Vec value) {
                                     value += offset;
                                     if (job.relu) value = value < zero ? zero : value;
                                     store(pixels + (i * m + j) * layout.stride + t, value);
                                 });
        }
        scatter<m>(runs, pixels, layout.stride, static_cast<T*>(job.y) + k * job.P * job.Q, job.y_image, job.P, job.Q,
                   line);
    }
}

}  // namespace

namespace GPUCNN_ISA {

void winograd_filters(const WinogradJob& job, int64_t row_block, float* filters) {
    with_job(job, [&](auto m, auto t) { filters_of<decltype(m)::value, decltype(t)>(job, row_block, filters); });
}

void winograd_block(const WinogradJob& job, int64_t block, const float* filters, float* scratch) {
    with_job(job, [&](auto m, auto t) { block_of<decltype(m)::value, decltype(t)>(job, block, filters, scratch); });
}

int64_t winograd_scratch(const WinogradJob& job) {
    const Layout layout(job);
    return job.planes() * (layout.tile_plane + layout.product_plane + layout.stride) + line_floats(job);
}

}  // namespace GPUCNN_ISA
