"""A test of the tests: results that are wrong in a known way must break the law of tolerance.py."""

import numpy as np
import pytest

from gpucnn.conv.reference import convolve
from gpucnn.conv.shape import DIRECTIONS, ConvShape
from gpucnn.dtype import FLOATS
from tests.cases import CASES, operands
from tests.tolerance import check, check_conv

SHAPE = CASES["never_square"]
MANY = ConvShape(2, 64, 9, 8, 5, 3, 3, pad=(1, 1))  # enough terms for a bad accumulator to show


def without_tap(direction, shape, a, b, r, s):
    """One tap of the filter takes no part: it is zero in w, or was never written in dw."""
    if direction == "wgrad":
        out = convolve(direction, shape, a, b)
        out[:, :, r, s] = 0
        return out
    b = b.copy()
    b[:, :, r, s] = 0
    return convolve(direction, shape, a, b)


def flipped(direction, shape, a, b):
    """A true convolution in place of the cross-correlation."""
    if direction == "wgrad":
        return convolve(direction, shape, a, b)[:, :, ::-1, ::-1]
    return convolve(direction, shape, a, b[:, :, ::-1, ::-1])


def one_pair_swapped(direction, shape, a, b, name):
    """The (h, w) pair ``name`` is read as (w, h). The padded image is made large enough to have all pixels."""
    swapped = ConvShape(
        *(shape.N, shape.C, shape.H, shape.W, shape.K, shape.R, shape.S),
        **{n: getattr(shape, n)[:: -1 if n == name else 1] for n in ("pad", "stride", "dilation")},
    )
    return convolve(direction, swapped, a, b)


def summed_in_half(shape, x, w):
    """Forward with products and running sums in float16, as a kernel without a float32 accumulator does."""
    x = np.pad(x, ((0, 0), (0, 0), (shape.pad[0],) * 2, (shape.pad[1],) * 2))
    y = np.zeros(shape.y, np.float16)
    for c in range(shape.C):
        for r in range(shape.R):
            for s in range(shape.S):
                y += x[:, None, c, r : r + shape.P, s : s + shape.Q] * w[:, c, r, s, None, None]
    return y


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_the_rounded_reference_passes(direction, dtype):
    a, b = operands(SHAPE, direction, FLOATS[dtype])
    check_conv(direction, SHAPE, a, b, convolve(direction, SHAPE, a, b).astype(FLOATS[dtype]))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_mutants_of_the_filter_are_refused(direction, dtype):
    a, b = operands(SHAPE, direction, FLOATS[dtype])
    wide = a.astype(np.float64), b.astype(np.float64)
    mutants = [without_tap(direction, SHAPE, *wide, r, s) for r in range(SHAPE.R) for s in range(SHAPE.S)]
    for mutant in [*mutants, flipped(direction, SHAPE, *wide)]:
        with pytest.raises(AssertionError, match="times the bound"):
            check_conv(direction, SHAPE, a, b, mutant.astype(FLOATS[dtype]))


@pytest.mark.parametrize("name", ["pad", "stride", "dilation"])
def test_height_and_width_swapped_is_refused(name):
    """The first case has unequal pairs in everything, so that each such slip changes the shape of the output."""
    x, w = operands(SHAPE, "fwd", np.float32)
    with pytest.raises(AssertionError, match="shape"):
        check_conv("fwd", SHAPE, x, w, one_pair_swapped("fwd", SHAPE, x, w, name).astype(np.float32))


def test_height_and_width_swapped_within_one_shape_is_refused():
    """Where the output shape happens to stay the same, the values give the slip away."""
    shape = ConvShape(2, 3, 9, 9, 4, 3, 3, pad=(1, 2), dilation=(1, 2))
    swapped = ConvShape(2, 3, 9, 9, 4, 3, 3, pad=(2, 1), dilation=(2, 1))
    assert shape.y == swapped.y
    x, w = operands(shape, "fwd", np.float32)
    with pytest.raises(AssertionError, match="times the bound"):
        check_conv("fwd", shape, x, w, convolve("fwd", swapped, x, w).astype(np.float32))


def test_a_float16_accumulator_is_refused():
    x, w = operands(MANY, "fwd", np.float16)
    with pytest.raises(AssertionError, match="times the bound"):
        check_conv("fwd", MANY, x, w, summed_in_half(MANY, x, w))


def test_products_rounded_to_tf32_are_refused_as_float32():
    x, w = operands(MANY, "fwd", np.float32)
    short = [(array.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32) for array in (x, w)]
    with pytest.raises(AssertionError, match="times the bound"):
        check_conv("fwd", MANY, x, w, convolve("fwd", MANY, *short).astype(np.float32))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_one_value_that_is_not_finite_is_refused(value):
    a, b = operands(SHAPE, "fwd", np.float32)
    out = convolve("fwd", SHAPE, a, b).astype(np.float32)
    out[1, 2, 3, 4] = value
    with pytest.raises(AssertionError, match="1 of 672 values are not finite"):
        check_conv("fwd", SHAPE, a, b, out)


def test_a_nan_in_the_reference_or_the_bound_is_refused():
    """A NaN bound would make every comparison false; the law must not pass by that."""
    ones = np.ones(3)
    for ref, magnitude in ((np.array([1, np.nan, 1]), ones), (ones, np.array([1, np.nan, 1]))):
        with pytest.raises(AssertionError):
            check(ones.astype(np.float32), ref, magnitude, terms=1)


def test_wrong_shape_and_dtype_are_refused():
    a, b = operands(SHAPE, "fwd", np.float32)
    out = convolve("fwd", SHAPE, a, b)
    with pytest.raises(AssertionError, match="shape"):
        check_conv("fwd", SHAPE, a, b, out[..., :1].astype(np.float32))  # would broadcast
    with pytest.raises(AssertionError, match="dtype"):
        check_conv("fwd", SHAPE, a, b, out)  # float64 from float32 operands
    with pytest.raises(AssertionError, match="dtype"):
        check_conv("fwd", SHAPE, a, b, out.astype(np.float16))


def test_the_law_is_not_looser_than_it_says():
    """One bound away passes, a little more does not."""
    ref, magnitude = np.array([1.0]), np.array([3.0])
    bound = 2.0**-24 + 2 * 2.0**-24 * np.sqrt(16) * 3
    check(np.array([1 + 0.9 * bound], np.float32), ref, magnitude, terms=16)
    with pytest.raises(AssertionError):
        check(np.array([1 + 1.2 * bound], np.float32), ref, magnitude, terms=16)
