// Tensor maps: what the tensor memory accelerator of compute capability 9.0 is told about an array of 16-bit elements.
// The boxes that it loads or stores lie in shared memory in rows of 128 bytes, with the 128-byte swizzle; outside are
// zeros, which are not stored.
#pragma once
#include <cuda.h>

#include <cstdint>
#include <string>

#include "dtype.h"

// An image (N, H, W, channels) at a multiple of 16 bytes, channels a multiple of 8. Positions, in the order n, h, w,
// start at pixel `lower` and are `stride` apart, up to and including `upper` pixels behind the last (or before it, if
// negative); a box is box_channels of box_positions of them. Corners lie in -128 .. 127, strides in 1 .. 8.
struct ImageMap {
    int N, H, W, channels;
    int lower_h, lower_w, upper_h, upper_w, stride_h, stride_w;
    int box_channels, box_positions;
};
CUtensorMap tensor_map(const ImageMap& map, DType dtype, const void* data, const std::string& shape);

// Filters (rows, taps, channels), or outputs (positions, 1, channels), at a multiple of 16 bytes, channels a multiple
// of 8; a box is box_channels of one tap of box_rows.
struct FilterMap {
    int rows, taps, channels;
    int box_channels, box_rows;
};
CUtensorMap tensor_map(const FilterMap& map, DType dtype, const void* data, const std::string& shape);
