// Winograd's algorithm for dw from x and dy: F(3x3, m x m), dw = sum over tiles of A^T [(G dy G^T) * (B^T d B)] A.
// The sum over tiles is the product, so both transforms are stored with channels side by side.
//
//   gradients (plane, row block, tile, kRows)          G dy G^T, rows are output channels: one thread's scratch
//   tiles     (plane, panel, tile, kPanel)             B^T d B, panels of input channels
//   sums      (plane, row block, panel, kRows, kPanel) added up over the tile blocks of one slice
#include "simd.h"
#include "tiles.h"
#include "vec.h"
#include "winograd_transform.h"

namespace {

struct Layout {
    int64_t row_blocks, panels, gradient_plane, tile_plane, sum_plane, stride;

    explicit Layout(const WinogradJob& job)
        : row_blocks((job.K + kLanes - 1) / kLanes * (kLanes / kRows)),  // whole vectors of output channels
          panels((job.C + kPanel - 1) / kPanel),
          gradient_plane(row_blocks * job.tiles * kRows + kLanes),
          tile_plane(panels * job.tiles * kPanel + kLanes),
          sum_plane(row_blocks * panels * kRows * kPanel),
          stride(tile_stride(job)) {}
};

// Where transformed tiles go: out[plane][tile][channel] with `width` channels side by side; the rest of a vector of
// channels lies `group` floats further, and so on.
struct Destination {
    float* out;
    int64_t plane, tile, group;
    int width;
};

// M in M^T of the side x side pixels of kLanes channels (those from `channels` on count as zero) of a block of tiles.
template <class M, int step, int side, class T>
INLINE void transform(const WinogradJob& job, const T* images, int64_t image_stride, int H, int W, int pad_h, int pad_w,
                      int64_t channels, const Runs& runs, float* pixels, float* line, const Destination& to) {
    constexpr int n = M::rows;
    const int64_t stride = tile_stride(job), count = runs.count;
    for (int64_t c = 0; c < kLanes; ++c) {
        float* mine = pixels + c * side * side * stride;
        if (c >= channels) {
            std::memset(mine, 0, sizeof(float) * side * side * stride);
            continue;
        }
        gather<step, side>(runs, images + c * H * W, image_stride, H, W, pad_h, pad_w, mine, stride, line);
    }
    for (int64_t t0 = 0; t0 < count; t0 += kLanes) {
        Vec planes[n * n][kLanes];
        for (int64_t c = 0; c < kLanes; ++c) {
            const float* in = pixels + c * side * side * stride + t0;
            both_sides<M, false>([&](int i, int j) { return load(in + (i * side + j) * stride); },
                                 [&](int i, int j, Vec value) { planes[i * n + j][c] = value; });
        }
        const int64_t here = least(kLanes, count - t0);
        for (int p = 0; p < n * n; ++p) {
            transpose_square(planes[p]);
            for (int64_t t = 0; t < here; ++t)
                for (int g = 0; g < kLanes / to.width; ++g)
                    std::memcpy(to.out + p * to.plane + (t0 + t) * to.tile + g * to.group,
                                reinterpret_cast<const float*>(&planes[p][t]) + g * to.width, sizeof(float) * to.width);
        }
    }
}

template <int m, class T>
void products_of(const WinogradJob& job, int64_t begin, int64_t end, float* sums, float* scratch) {
    using Filter = Winograd<3, m>;
    constexpr int n = m + 2;
    const Layout layout(job);
    float* gradients = scratch;
    float* tiles = gradients + n * n * layout.gradient_plane;
    float* pixels = tiles + n * n * layout.tile_plane;
    float* line = pixels + n * n * kLanes * layout.stride;
    for (int64_t block = begin; block < end; ++block) {
        const int64_t first = block * job.tiles, count = least(job.tiles, job.all_tiles() - first);
        const Runs runs(job, first, count);
        for (int64_t c = 0; c < job.C; c += kLanes)
            transform<typename Filter::BT, m, n>(
                job, static_cast<const T*>(job.x) + c * job.H * job.W, job.x_image, job.H, job.W, job.pad_h, job.pad_w,
                least(kLanes, job.C - c), runs, pixels, line,
                {tiles + c / kPanel * job.tiles * kPanel + c % kPanel, layout.tile_plane, kPanel, 0, kLanes});
        for (int64_t k = job.first_k; k < job.end_k; k += kLanes)
            transform<typename Filter::G, m, m>(
                job, static_cast<const T*>(job.y) + k * job.P * job.Q, job.y_image, job.P, job.Q, 0, 0,
                least(kLanes, job.K - k), runs, pixels, line,
                {gradients + k * job.tiles, layout.gradient_plane, kRows, job.tiles * kRows, kRows});
        for (int p = 0; p < n * n; ++p)
            for (int64_t row_block = job.first_k / kRows; row_block * kRows < job.end_k; ++row_block)
                for (int64_t panel = 0; panel < layout.panels; ++panel)
                    register_product(
                        block > begin, count, gradients + p * layout.gradient_plane + row_block * job.tiles * kRows,
                        tiles + p * layout.tile_plane + panel * job.tiles * kPanel,
                        sums + p * layout.sum_plane + (row_block * layout.panels + panel) * kRows * kPanel);
    }
}

template <int m, class T>
void gradient_of(const WinogradJob& job, int64_t row_block, int slices, const float* sums, T* w) {
    using AT = typename Winograd<3, m>::AT;
    constexpr int n = m + 2;
    const Layout layout(job);
    for (int64_t k = row_block * kRows; k < least(job.K, (row_block + 1) * kRows); ++k)
        for (int64_t c = 0; c < job.C; c += kLanes) {
            const float* in =
                sums + ((row_block * layout.panels + c / kPanel) * kRows + k % kRows) * kPanel + c % kPanel;
            both_sides<AT, true>(
                [&](int i, int j) {
                    const float* plane = in + (i * n + j) * layout.sum_plane;
                    Vec sum = load(plane);
                    for (int s = 1; s < slices; ++s) sum += load(plane + s * n * n * layout.sum_plane);
                    return sum;
                },
                [&](int i, int j, Vec value) {
                    for (int64_t l = 0; l < least(kLanes, job.C - c); ++l)
                        w[k * job.w_k + (c + l) * job.w_c + 3 * i + j] = static_cast<T>(value[l]);
                });
        }
}

}  // namespace

namespace GPUCNN_ISA {

void winograd_products(const WinogradJob& job, int64_t first, int64_t last, float* sums, float* scratch) {
    with_job(job,
             [&](auto m, auto t) { products_of<decltype(m)::value, decltype(t)>(job, first, last, sums, scratch); });
}

void winograd_gradient(const WinogradJob& job, int64_t row_block, int slices, const float* sums) {
    with_job(job, [&](auto m, auto t) {
        gradient_of<decltype(m)::value, decltype(t)>(job, row_block, slices, sums, static_cast<decltype(t)*>(job.w));
    });
}

int64_t winograd_products_scratch(const WinogradJob& job) {
    const Layout layout(job);
    return job.planes() * (layout.gradient_plane + layout.tile_plane + kLanes * layout.stride) + line_floats(job);
}

int64_t winograd_sums(const WinogradJob& job) { return job.planes() * Layout(job).sum_plane; }

}  // namespace GPUCNN_ISA
