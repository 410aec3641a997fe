// y = x * w and dw = x * dy as matrix products whose im2col matrix is never written: its element (position, tap) is the
// pixel at base[position] + step[tap], so one thread copies the pixels that a band of outputs needs into a frame of
// zeros, in the type of the sums, and reads the matrix from there. (Dukhan 2019 keeps addresses of whole pixels so.)
//
//   filters   (panel of K, C taps, panel)    w^T, written by conv_filters, shared by all bands
//   frame     (channels, rows, width)        of one band
//   sums      (panel of K, tile, kRows, panel); tiles are of positions in y, of taps in dw
#include "pack.h"
#include "simd.h"

namespace {

INLINE int64_t taps_of(const ConvJob& job) { return int64_t(job.R) * job.S; }

// The pixels under a band of outputs; may reach beyond the image.
struct Frame {
    int64_t top, left, rows, width;

    INLINE Frame(const ConvJob& job, const Band& band)
        : top(int64_t(band.p0) * job.stride_h - job.pad_h),
          left(int64_t(band.q0) * job.stride_w - job.pad_w),
          rows(int64_t(band.p1 - band.p0 - 1) * job.stride_h + int64_t(job.R - 1) * job.dil_h + 1),
          width(int64_t(band.q1 - band.q0 - 1) * job.stride_w + int64_t(job.S - 1) * job.dil_w + 1) {}
};

// Where pixels are read: in the frame, or in the image itself where that serves as well.
template <class A>
struct Pixels {
    const A* first;
    int64_t row, plane;
};

// Copies `channels` planes (H, W) at x into the frame, or finds that they can stay where they are.
template <class T>
Pixels<Acc<T>> frame_of(const ConvJob& job, const Frame& frame, bool in_place, const T* x, int64_t channels,
                        Acc<T>* out) {
    using A = Acc<T>;
    if constexpr (!is_narrow<T>) {
        if (in_place && frame.top >= 0 && frame.left >= 0 && frame.top + frame.rows <= job.H &&
            frame.left + frame.width <= job.W)
            return {x + frame.top * job.W + frame.left, job.W, int64_t(job.H) * job.W};
    }
    A* to = out;
    const int64_t begin = least(frame.width, most(0, -frame.left));
    const int64_t end = most(begin, least(frame.width, job.W - frame.left));
    for (int64_t c = 0; c < channels; ++c, x += int64_t(job.H) * job.W)
        for (int64_t i = 0; i < frame.rows; ++i, to += frame.width) {
            const int64_t h = frame.top + i;
            const bool inside = h >= 0 && h < job.H;
            const int64_t from = inside ? begin : frame.width, until = inside ? end : frame.width;
            for (int64_t j = 0; j < from; ++j) to[j] = 0;
            widen(x + h * job.W + frame.left + from, until - from, to + from);
            for (int64_t j = until; j < frame.width; ++j) to[j] = 0;
        }
    return {out, frame.width, frame.rows * frame.width};
}

INLINE void positions_of(const ConvJob& job, const Band& band, int64_t row, int64_t* offsets) {
    for (int64_t p = 0; p < band.p1 - band.p0; ++p)
        for (int64_t q = 0; q < band.q1 - band.q0; ++q) *offsets++ = p * job.stride_h * row + q * job.stride_w;
}

INLINE void taps_offsets(const ConvJob& job, int64_t channels, int64_t row, int64_t plane, int64_t* offsets) {
    for (int64_t c = 0; c < channels; ++c)
        for (int64_t r = 0; r < job.R; ++r)
            for (int64_t s = 0; s < job.S; ++s) *offsets++ = c * plane + r * job.dil_h * row + s * job.dil_w;
}

// What one thread needs for bands of at most `positions` outputs and `pixels` pixels a channel, in elements of A.
template <class A>
struct Layout {
    int64_t frame, positions, taps, more;

    Layout(const ConvJob& job, const ConvCut& cut, bool gradient)
        : frame(whole_lines(cut.channels * cut.pixels)),
          positions(whole_lines(cut.positions * (sizeof(int64_t) / sizeof(A)))),
          taps(whole_lines(cut.channels * taps_of(job) * (sizeof(int64_t) / sizeof(A)))) {
        const int64_t panels = parts_of(job.K, Wide<A>::panel);
        if (gradient)
            more = panels * cut.positions * Wide<A>::panel;  // dy^T
        else if (job.C > cut.channels || cut.channels * taps_of(job) > kDepth)
            more = least(panels, cut.panels) * parts_of(cut.positions, kRows) * Wide<A>::tile;  // sums
        else
            more = 0;
    }
    int64_t size() const { return frame + positions + taps + more; }
};

template <class T>
void forward(const ConvJob& job, const ConvCut& cut, const Band& band, const T* x, const Acc<T>* filters,
             int64_t panel0, int64_t panels, const T* bias, bool relu, T* y, Acc<T>* scratch) {
    using A = Acc<T>;
    constexpr int panel = Wide<A>::panel;
    const Layout<A> layout(job, cut, false);
    A* const pixels = scratch;
    int64_t* const positions = reinterpret_cast<int64_t*>(pixels + layout.frame);
    int64_t* const offsets = reinterpret_cast<int64_t*>(pixels + layout.frame + layout.positions);
    A* const sums = pixels + layout.frame + layout.positions + layout.taps;
    const Frame frame(job, band);
    const int64_t taps = taps_of(job), all = job.C * taps, plane = int64_t(job.P) * job.Q;
    const int64_t tiles = parts_of(band.size, kRows);
    for (int64_t c0 = 0; c0 < job.C; c0 += cut.channels) {
        const int64_t channels = least(cut.channels, job.C - c0), depth = channels * taps;
        const Pixels<A> from = frame_of(job, frame, job.S > 1, x + c0 * job.H * job.W, channels, pixels);
        if (c0 == 0) {
            positions_of(job, band, from.row, positions);
            taps_offsets(job, channels, from.row, from.plane, offsets);
        }
        const int64_t part = parts_of(depth, parts_of(depth, kDepth));
        for (int64_t k0 = 0; k0 < depth; k0 += part) {
            const int64_t products = least(part, depth - k0);
            const bool first = c0 + k0 == 0, last = c0 + channels == job.C && k0 + products == depth;
            for (int64_t p = 0; p < panels; ++p) {
                const int64_t k = (panel0 + p) * panel, columns = least(panel, job.K - k);
                const A* right = filters + (p * all + c0 * taps + k0) * panel;
                for (int64_t t = 0; t < tiles; ++t) {
                    alignas(64) A here[Wide<A>::tile];
                    const int64_t rows = least(kRows, band.size - t * kRows);
                    Scattered<A> left{{}, offsets + k0};
                    for (int64_t r = 0; r < rows; ++r) left.base[r] = from.first + positions[t * kRows + r];
                    A* tile = layout.more ? sums + (p * tiles + t) * Wide<A>::tile : here;
                    product(rows, columns, !first, products, left, right, panel, tile);
                    if (!last) continue;
                    finish<T>({bias ? bias + k : nullptr, 0, 1, relu}, rows, columns, tile);
                    store_tile(tile, rows, columns, y + k * plane + band.first + t * kRows, 1, plane);
                }
            }
        }
    }
}

// sums += of one band: columns are K, rows the taps of `channels` channels.
template <class T>
void products(const ConvJob& job, const ConvCut& cut, const Band& band, const T* x, int64_t channels, const T* dy,
              Acc<T>* sums, Acc<T>* scratch) {
    using A = Acc<T>;
    constexpr int panel = Wide<A>::panel;
    const Layout<A> layout(job, cut, true);
    A* const pixels = scratch;
    int64_t* const positions = reinterpret_cast<int64_t*>(pixels + layout.frame);
    int64_t* const offsets = reinterpret_cast<int64_t*>(pixels + layout.frame + layout.positions);
    A* const gradients = pixels + layout.frame + layout.positions + layout.taps;
    const Pixels<A> from = frame_of(job, Frame(job, band), true, x, channels, pixels);
    const int64_t rows = channels * taps_of(job), tiles = parts_of(rows, kRows);
    positions_of(job, band, from.row, positions);
    taps_offsets(job, channels, from.row, from.plane, offsets);
    pack_columns(dy + band.first, int64_t(job.P) * job.Q, band.size, job.K, band.size * panel, gradients);
    const int64_t part = parts_of(band.size, parts_of(band.size, kDepth));
    for (int64_t k0 = 0; k0 < band.size; k0 += part)
        for (int64_t k = 0; k < job.K; k += panel)
            for (int64_t t = 0; t < tiles; ++t) {
                const int64_t here = least(kRows, rows - t * kRows);
                Scattered<A> left{{}, positions + k0};
                for (int64_t r = 0; r < here; ++r) left.base[r] = from.first + offsets[t * kRows + r];
                product(here, job.K - k, true, least(part, band.size - k0), left,
                        gradients + k * band.size + k0 * panel, panel, sums + (k / panel * tiles + t) * Wide<A>::tile);
            }
}

template <class T>
void filters_of(const ConvJob& job, int64_t panel_index, const T* w, Acc<T>* out) {
    constexpr int panel = Wide<Acc<T>>::panel;
    const int64_t taps = taps_of(job), k = panel_index * panel, columns = least(panel, job.K - k);
    w += k * job.w_k;
    if (!job.turned) return pack_columns(w, job.w_k, job.C * taps, columns, 0, out);
    for (int64_t c = 0; c < job.C; ++c, w += job.w_c)
        for (int64_t t = taps - 1; t >= 0; --t, out += panel)
            for (int64_t j = 0; j < panel; ++j)
                out[j] = j < columns ? static_cast<Acc<T>>(w[j * job.w_k + t]) : Acc<T>(0);
}

template <class T>
void gradient(const ConvJob& job, int64_t channels, int64_t tile, int64_t slices, int64_t slice, Acc<T>* sums, T* dw) {
    using A = Acc<T>;
    constexpr int panel = Wide<A>::panel, lanes = Wide<A>::lanes;
    const int64_t rows = channels * taps_of(job), tiles = parts_of(rows, kRows);
    for (int64_t k = 0; k < job.K; k += panel) {
        A* sum = sums + (k / panel * tiles + tile) * Wide<A>::tile;
        for (int64_t s = 1; s < slices; ++s)
            for (int64_t i = 0; i < Wide<A>::tile; i += lanes)
                store_wide(sum + i, load_wide(sum + i) + load_wide(sum + s * slice + i));
        store_tile(sum, least(kRows, rows - tile * kRows), least(panel, job.K - k), dw + k * job.w_k + tile * kRows, 1,
                   job.w_k);
    }
}

}  // namespace

namespace GPUCNN_ISA {

void conv_filters(const ConvJob& job, int64_t panel, const void* w, void* filters) {
    with_type(job.dtype, [&](auto t) {
        using T = decltype(t);
        filters_of(job, panel, static_cast<const T*>(w), static_cast<Acc<T>*>(filters));
    });
}

void conv_forward(const ConvJob& job, const ConvCut& cut, const Band& band, const void* x, const void* filters,
                  int64_t panel0, int64_t panels, const void* bias, bool relu, void* y, void* scratch) {
    with_type(job.dtype, [&](auto t) {
        using T = decltype(t);
        using A = Acc<T>;
        forward(job, cut, band, static_cast<const T*>(x), static_cast<const A*>(filters), panel0, panels,
                static_cast<const T*>(bias), relu, static_cast<T*>(y), static_cast<A*>(scratch));
    });
}

void conv_products(const ConvJob& job, const ConvCut& cut, const Band& band, const void* x, int64_t channels,
                   const void* dy, void* sums, void* scratch) {
    with_type(job.dtype, [&](auto t) {
        using T = decltype(t);
        using A = Acc<T>;
        products(job, cut, band, static_cast<const T*>(x), channels, static_cast<const T*>(dy), static_cast<A*>(sums),
                 static_cast<A*>(scratch));
    });
}

void conv_gradient(const ConvJob& job, int64_t channels, int64_t tile, int64_t slices, int64_t slice, void* sums,
                   void* dw) {
    with_type(job.dtype, [&](auto t) {
        using T = decltype(t);
        gradient(job, channels, tile, slices, slice, static_cast<Acc<T>*>(sums), static_cast<T*>(dw));
    });
}

int64_t conv_scratch(const ConvJob& job, const ConvCut& cut, bool gradient) {
    return job.dtype == DType::float64 ? Layout<double>(job, cut, gradient).size()
                                       : Layout<float>(job, cut, gradient).size();
}

}  // namespace GPUCNN_ISA
