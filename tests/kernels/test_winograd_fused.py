"""winograd2_fused beyond the cases of every row: several blocks of filters a group, many steps, what is refused."""

import numpy as np
import pytest

from gpucnn.conv.algos import ALGOS
from gpucnn.conv.reference import convolve
from gpucnn.conv.shape import ConvShape
from tests.cases import CASES, operands
from tests.kernels.harness import DTYPES
from tests.tolerance import check, check_conv

ROW = "winograd2_fused"
BLOCKS = ConvShape(3, 2 * 70, 8, 7, 2 * 67, 3, 3, pad=(2, 0), groups=2)  # of 64 filters two, of 32 tiles more than one
each_direction = pytest.mark.parametrize("direction", ["fwd", "dgrad"])


@each_direction
def test_blocks_of_filters_in_groups(kernels, direction, dtype):
    a, b = operands(BLOCKS, direction, dtype)
    out = kernels.conv(ROW, direction, BLOCKS, dtype.name, a, b)
    check_conv(direction, BLOCKS, a, b, out, ALGOS["cuda", direction][ROW].error, "plane")


def test_bias_and_relu_of_every_block(kernels, dtype):
    x, w = operands(BLOCKS, "fwd", dtype)
    bias = (10 * np.random.default_rng(2).standard_normal(BLOCKS.K)).astype(dtype)
    y = kernels.conv(ROW, "fwd", BLOCKS, dtype.name, x, w, bias=bias, relu=True)
    wide = [array.astype(np.float64) for array in (x, w)]
    offset = bias.astype(np.float64)[:, None, None]
    magnitude = convolve("fwd", BLOCKS, *map(np.abs, wide)).max(axis=(2, 3), keepdims=True) + np.abs(offset)
    error = ALGOS["cuda", "fwd"][ROW].error
    check(y, np.maximum(convolve("fwd", BLOCKS, *wide) + offset, 0), magnitude, BLOCKS.terms("fwd"), error)
    assert (y == 0).any() and (y > 0).any()


@each_direction
def test_a_batch_has_the_bits_of_its_images(kernels, direction):
    """An image's tiles lie in other lanes of other blocks where other images come before; a block takes several."""
    images = 3 * kernels.multiprocessors() // 2
    shape, one = (ConvShape(n, 20, 11, 13, 6, 3, 3, pad=(1, 0)) for n in (images, 1))
    a, b = operands(shape, direction, np.float32)
    whole = kernels.conv(ROW, direction, shape, "float32", a, b)
    for n in (0, images // 2, images - 1):
        single = kernels.conv(ROW, direction, one, "float32", a[n : n + 1], b)
        assert single.tobytes() == whole[n : n + 1].tobytes()


@each_direction
def test_an_infinite_pixel_stays_in_its_tiles(kernels, direction):
    """Zeros stand for channels, filters, tiles and pixels that are not there: none meets what is infinite."""
    shape = ConvShape(2, 9, 16, 16, 9, 3, 3, pad=(1, 1))
    a, b = operands(shape, direction, np.float32)
    a[1, 8, 15, 15] = np.inf  # the last of all
    out = kernels.conv(ROW, direction, shape, "float32", a, b)
    assert np.isfinite(out[0]).all() and np.isfinite(out[1, :, :14]).all() and np.isfinite(out[1, :, :, :14]).all()
    assert not np.isfinite(out[1, :, 14:, 14:]).any()


def test_tf32_is_float32(kernels):
    shape = CASES["same_3x3"]
    x, w = operands(shape, "fwd", np.float32)
    results = [kernels.conv(ROW, "fwd", shape, dtype, x, w) for dtype in ("float32", "tf32")]
    assert np.array_equal(*results)


def test_needs_no_workspace(kernels):
    for direction in ("fwd", "dgrad"):
        assert kernels.workspace(ROW, direction, BLOCKS, "float32") == (0, 0)
        filters = kernels.lib.conv_winograd2_fused_filters_bytes(BLOCKS, "float32", direction)
        assert filters == 2 * 128 * 72 * 16 * 4  # groups, whole blocks of filters, whole steps of channels, planes


def test_what_does_not_fit_is_refused(kernels):
    shape, strided = CASES["same_3x3"], ConvShape(1, 3, 9, 8, 3, 3, 3, stride=(1, 2))
    large = ConvShape(1, 3, 2**16, 2**15, 1, 3, 3)
    for other in (CASES["lenet_2"], strided, large):
        assert not ALGOS["cuda", "fwd"][ROW].takes(other, "float32")
        with pytest.raises(ValueError, match=r"workspace: takes 3x3 filters, stride 1, .* but came float32, x"):
            kernels.workspace(ROW, "fwd", other, "float32")
    with pytest.raises(ValueError, match="conv_winograd2_fused_workspace: direction is fwd or dgrad, but came wgrad"):
        kernels.workspace(ROW, "wgrad", shape, "float32")
    x, w = operands(strided, "fwd", DTYPES["float16"])
    with pytest.raises(ValueError, match=r"conv_winograd2_fused_fwd: takes 3x3 filters, .* but came float16, x"):
        kernels("conv_winograd2_fused_fwd", strided, "float16", x, w, 0, False, x, 0, 0)
