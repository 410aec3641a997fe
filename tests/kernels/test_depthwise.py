"""Depthwise beyond the cases of every row: unrolled and long filters, strides, slices of wgrad, infinite pixels."""

import numpy as np
import pytest

from gpucnn.conv.algos import ALGOS
from gpucnn.conv.reference import convolve
from gpucnn.conv.shape import DIRECTIONS, ConvShape
from tests.cases import CASES, operands
from tests.kernels.harness import DTYPES
from tests.tolerance import check_conv

SHAPES = {
    "3x3": ConvShape(2, 3, 19, 40, 3, 3, 3, pad=(1, 1), groups=3),
    "5x3": ConvShape(1, 2, 17, 9, 4, 5, 3, pad=(2, 0), groups=2),
    "7x7": ConvShape(1, 2, 9, 8, 2, 7, 7, pad=(3, 3), groups=2),
    "31x31": ConvShape(1, 1, 33, 18, 1, 31, 31, pad=(15, 15), groups=1),
    "strided": ConvShape(2, 3, 18, 15, 6, 3, 5, pad=(1, 2), stride=(2, 2), groups=3),
    "stride_is_dilation": ConvShape(2, 2, 25, 20, 2, 3, 4, pad=(2, 3), stride=(2, 3), dilation=(2, 3), groups=2),
    "dilated": ConvShape(1, 2, 21, 16, 2, 4, 3, pad=(3, 2), stride=(3, 2), dilation=(2, 2), groups=2),
}


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("name", SHAPES)
def test_tolerance_law(kernels, name, direction):
    shape = SHAPES[name]
    a, b = operands(shape, direction, np.float32)
    out = kernels.conv("depthwise", direction, shape, "float32", a, b)
    check_conv(direction, shape, a, b, out, ALGOS["cuda", direction]["depthwise"].error)


@pytest.mark.parametrize("dtype", DTYPES)
def test_wgrad_in_slices(kernels, dtype):
    """One slice of the positions, some, and as many as are of use: each adds up all products."""
    shape = ConvShape(2, 2, 72, 71, 4, 4, 3, pad=(1, 1), groups=2)
    x, dy = operands(shape, "wgrad", DTYPES[dtype])
    _, best = kernels.workspace("depthwise", "wgrad", shape, dtype)
    one = int(np.prod(shape.w)) * 4
    assert best == 2 * one
    results = [kernels.conv("depthwise", "wgrad", shape, dtype, x, dy, size) for size in (0, best - 1, best, 2 * best)]
    for out in results:
        check_conv("wgrad", shape, x, dy, out, ALGOS["cuda", "wgrad"]["depthwise"].error)
    assert np.array_equal(results[0], results[1]) and np.array_equal(results[2], results[3])


@pytest.mark.parametrize("direction", ["fwd", "dgrad"])
@pytest.mark.parametrize("name", ["3x3", "31x31"])
def test_an_infinite_pixel_reaches_only_the_outputs_that_see_it(kernels, name, direction):
    shape = SHAPES[name]
    a, b = (np.ones(size, np.float32) for size in shape.operands(direction)[:2])
    a[0, 0, 8, 4] = np.inf
    seen = convolve(direction, shape, np.isinf(a).astype(np.float32), b) > 0
    out = kernels.conv("depthwise", direction, shape, "float32", a, b)
    assert np.array_equal(np.isposinf(out), seen) and np.isfinite(out[~seen]).all()


@pytest.mark.parametrize("direction", ["fwd", "dgrad"])
def test_a_batch_has_the_bits_of_its_images(kernels, dtype, direction):
    shape, one = (ConvShape(n, 3, 19, 11, 6, 3, 3, pad=(1, 1), stride=(2, 1), groups=3) for n in (3, 1))
    a, b = operands(shape, direction, dtype)
    whole = kernels.conv("depthwise", direction, shape, dtype.name, a, b)
    for n in range(3):
        single = kernels.conv("depthwise", direction, one, dtype.name, a[n : n + 1], b)
        assert single.tobytes() == whole[n : n + 1].tobytes()


def test_what_does_not_fit_is_refused(kernels):
    for direction in DIRECTIONS:
        a, b = operands(CASES["groups"], direction, np.float32)
        with pytest.raises(
            ValueError, match=r"takes one input channel a group, .* but came groups = 3, x .2, 6, 8, 7."
        ):
            kernels.conv("depthwise", direction, CASES["groups"], "float32", a, b, 0)
    for large in (ConvShape(1, 1, 2**16, 2**15, 1, 1, 1), ConvShape(1, 1, 1, 1, 1, 2**16, 2**15, pad=(2**15, 2**14))):
        assert not ALGOS["cuda", "fwd"]["depthwise"].takes(large, "float32")
        with pytest.raises(ValueError, match=r"less than 2\^31 pixels and taps, but came"):
            kernels.workspace("depthwise", "fwd", large, "float32")
    with pytest.raises(ValueError, match="direction is fwd, dgrad or wgrad, but came forward"):
        kernels.lib.conv_depthwise_workspace(CASES["depthwise"], "float32", "forward")
