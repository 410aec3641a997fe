"""im2col and col2im alone: every layout and part of the columns that the orchestration asks for."""

import numpy as np
import pytest

from tests.cases import CASES
from tests.kernels.harness import Out
from tests.tolerance import check


def columns_of(shape, x):
    """(N, C, R, S, P, Q): the pixel that each tap reads for each output, 0 in the padding."""
    padded = np.pad(x, ((0, 0), (0, 0), (shape.pad[0],) * 2, (shape.pad[1],) * 2))
    columns = np.empty((shape.N, shape.C, shape.R, shape.S, shape.P, shape.Q), x.dtype)
    for r in range(shape.R):
        for s in range(shape.S):
            for p in range(shape.P):
                for q in range(shape.Q):
                    h = p * shape.stride[0] + r * shape.dilation[0]
                    columns[:, :, r, s, p, q] = padded[:, :, h, q * shape.stride[1] + s * shape.dilation[1]]
    return columns


def image_of(shape, columns):
    """The adjoint in float64: (N, C, H, W), each column value added to the pixel that it was read from."""
    padded = np.zeros((shape.N, shape.C, shape.H + 2 * shape.pad[0], shape.W + 2 * shape.pad[1]))
    for r in range(shape.R):
        for s in range(shape.S):
            for p in range(shape.P):
                for q in range(shape.Q):
                    h = p * shape.stride[0] + r * shape.dilation[0]
                    padded[:, :, h, q * shape.stride[1] + s * shape.dilation[1]] += columns[:, :, r, s, p, q]
    return padded[:, :, shape.pad[0] : shape.pad[0] + shape.H, shape.pad[1] : shape.pad[1] + shape.W]


GEOMETRIES = ["never_square", "swapped", "one_pixel", "filter_is_image", "padding_only_corner", "pointwise_strided"]


@pytest.mark.parametrize("case", GEOMETRIES)
def test_im2col(kernels, case, dtype):
    shape = CASES[case]
    x = np.random.default_rng(0).standard_normal(shape.x).astype(dtype)
    rows, pixels = shape.C * shape.R * shape.S, shape.P * shape.Q
    result = Out((shape.N, rows, pixels), dtype)
    block = (shape.N, 0, shape.C, 0, pixels, rows * pixels, pixels)
    (columns,) = kernels("im2col", shape, dtype.name, *block, x, result)
    assert np.array_equal(columns.reshape(shape.N, shape.C, shape.R, shape.S, shape.P, shape.Q), columns_of(shape, x))


@pytest.mark.parametrize("more", [0, 1, 8])
@pytest.mark.parametrize("case", GEOMETRIES)
def test_im2col_with_rows_of_whole_vectors(kernels, case, dtype, more):
    """Filled up with zeros to a multiple of 16 bytes, no further; or written one by one where they begin anywhere."""
    shape = CASES[case]
    x = np.random.default_rng(0).standard_normal(shape.x).astype(dtype)
    rows, pixels, wide = shape.C * shape.R * shape.S, shape.P * shape.Q, 16 // dtype.itemsize
    filled = -(-pixels // wide) * wide
    row = filled + more
    block = (shape.N, 0, shape.C, 0, pixels, rows * row, row)
    (columns,) = kernels("im2col", shape, dtype.name, *block, x, Out((shape.N, rows, row), dtype))
    wanted = columns_of(shape, x).reshape(shape.N, rows, pixels)
    assert np.array_equal(columns[..., :pixels], wanted)
    behind = columns[..., pixels:].astype(np.float32)
    assert np.isnan(behind).all() if more == 1 else not behind[..., : filled - pixels].any()
    assert np.isnan(behind[..., filled - pixels :]).all()


def test_im2col_with_images_side_by_side(kernels, dtype):
    shape = CASES["never_square"]
    x = np.random.default_rng(0).standard_normal(shape.x).astype(dtype)
    rows, pixels = shape.C * shape.R * shape.S, shape.P * shape.Q
    block = (shape.N, 0, shape.C, 0, pixels, pixels, shape.N * pixels)
    (columns,) = kernels("im2col", shape, dtype.name, *block, x, Out((rows, shape.N, pixels), dtype))
    wanted = columns_of(shape, x).reshape(shape.N, rows, pixels)
    assert np.array_equal(columns, wanted.transpose(1, 0, 2))


def test_im2col_of_a_part(kernels, dtype):
    """Positions that start and end inside an output row, of some channels."""
    shape = CASES["never_square"]
    x = np.random.default_rng(0).standard_normal(shape.x).astype(dtype)
    first, positions, taps = 5, 17, shape.R * shape.S
    block = (1, 1, 2, first, positions, 0, positions)
    (columns,) = kernels("im2col", shape, dtype.name, *block, x, Out((2 * taps, positions), dtype))
    wanted = columns_of(shape, x)[0, 1:].reshape(2 * taps, -1)[:, first : first + positions]
    assert np.array_equal(columns, wanted)


@pytest.mark.parametrize("case", GEOMETRIES)
def test_col2im(kernels, case, dtype):
    shape = CASES[case]
    columns = np.random.default_rng(0).standard_normal(columns_of(shape, np.zeros(shape.x)).shape).astype(np.float32)
    rows, pixels = shape.C * shape.R * shape.S, shape.P * shape.Q
    block = (shape.N, 0, shape.C, 0, pixels, rows * pixels, pixels)
    (dx,) = kernels("col2im", shape, dtype.name, *block, 0, shape.H, columns, Out(shape.x, dtype))
    check(dx, image_of(shape, columns), image_of(shape, np.abs(columns)), shape.R * shape.S)


def test_col2im_writes_only_its_rows(kernels, dtype):
    """Rows 3 and 4 of one channel, from the output rows that touch them; everything else stays NaN."""
    shape = CASES["never_square"]
    rng = np.random.default_rng(0)
    columns = np.zeros((shape.N, shape.C, shape.R, shape.S, shape.P, shape.Q), np.float32)
    part = columns[0, 1, :, :, 1:4]  # output rows 1 .. 3: p stride_h + r = h + pad_h for h = 3, 4
    part[:] = rng.standard_normal(part.shape)
    image = image_of(shape, columns)
    block = (1, 1, 1, shape.Q, 3 * shape.Q, 0, 3 * shape.Q)
    (dx,) = kernels("col2im", shape, dtype.name, *block, 3, 2, np.ascontiguousarray(part), Out(shape.x, dtype))
    written = np.zeros(shape.x, bool)
    written[0, 1, 3:5] = True
    assert np.isnan(dx[~written].astype(np.float32)).all()
    check(dx[written], image[written], np.abs(image).max(), shape.R * shape.S)


def test_nothing_to_do(kernels):
    shape = CASES["empty_batch"]
    empty = np.zeros(0, np.float32)
    kernels("im2col", shape, "float32", 0, 0, 3, 0, 30, 0, 30, empty, Out((0,)))
    kernels("col2im", shape, "float32", 0, 0, 3, 0, 30, 0, 30, 0, 7, empty, Out((0,)))
