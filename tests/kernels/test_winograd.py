"""Winograd beyond the cases of every row: slices of wgrad, chunks with bias, TF32, split products, what is refused."""

import numpy as np
import pytest

from gpucnn.conv.algos import ALGOS
from gpucnn.conv.reference import convolve
from gpucnn.conv.shape import DIRECTIONS, ConvShape
from tests.cases import CASES, operands
from tests.kernels.harness import DTYPES
from tests.tolerance import check, check_conv

each_row = pytest.mark.parametrize("row", ["winograd2", "winograd4"])  # that takes every dtype
every_row = pytest.mark.parametrize("row", ["winograd2", "winograd4", "winograd4_split"])
CHUNKS = ConvShape(2, 5, 13, 35, 4, 3, 3, pad=(0, 2))  # more than 32 tiles, which end inside rows of tiles


@every_row
@pytest.mark.parametrize("groups", [1, 2])
def test_wgrad_in_slices(kernels, row, groups):
    """One slice of the tiles, some, and as many as are of use: each adds up all products."""
    shape = ConvShape(2, 2, 52, 80, 4, 3, 3, pad=(1, 2), groups=groups)
    a, b = operands(shape, "wgrad", np.float32)
    least, best = kernels.workspace(row, "wgrad", shape, "float32")
    results = [kernels.conv(row, "wgrad", shape, "float32", a, b, size) for size in (least, (least + best) // 2, best)]
    for out in results:
        check_conv("wgrad", shape, a, b, out, ALGOS["cuda", "wgrad"][row].error, "plane")
    assert not np.array_equal(results[0], results[2]), "sums in other orders differ in their last bits"


@every_row
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_any_workspace(kernels, row, direction):
    """Chunks of the fewest tiles, of some, of all; and any number of bytes in between."""
    a, b = operands(CHUNKS, direction, np.float32)
    least, best = kernels.workspace(row, direction, CHUNKS, "float32")
    assert best > 1.5 * least, "the least workspace cuts the tiles in two at least"
    for workspace in (least, least + 4, (least + best) // 2, best - 1, best, 2 * best):
        out = kernels.conv(row, direction, CHUNKS, "float32", a, b, workspace)
        check_conv(direction, CHUNKS, a, b, out, ALGOS["cuda", direction][row].error, "plane")


@every_row
def test_bias_and_relu_of_each_chunk(kernels, row):
    x, w = operands(CHUNKS, "fwd", np.float32)
    bias = np.random.default_rng(2).standard_normal(CHUNKS.K).astype(np.float32)
    least, _ = kernels.workspace(row, "fwd", CHUNKS, "float32")
    y = kernels.conv(row, "fwd", CHUNKS, "float32", x, w, least, bias=bias, relu=True)
    ref = np.maximum(convolve("fwd", CHUNKS, x, w) + bias[:, None, None], 0)
    magnitude = convolve("fwd", CHUNKS, np.abs(x), np.abs(w)).max(axis=(2, 3), keepdims=True)
    check(y, ref, magnitude + np.abs(bias)[:, None, None], CHUNKS.terms("fwd"), ALGOS["cuda", "fwd"][row].error)


@each_row
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_tf32_rounds_what_is_multiplied(kernels, row, direction):
    """Planes lose 13 bits, as the operands of other rows do, and the transform back multiplies that a few times."""
    shape = CASES["same_3x3"]
    a, b = operands(shape, direction, np.float32)
    out = kernels.conv(row, direction, shape, "tf32", a, b)
    ref, magnitude = convolve(direction, shape, a, b), convolve(direction, shape, np.abs(a), np.abs(b))
    largest = magnitude.max(axis=(2, 3), keepdims=True)
    check(out, ref, largest, 1, factor=2.0**-10 * 2**24)
    if not kernels.cupy:  # cuBLAS may, the stand-in does
        with pytest.raises(AssertionError):
            check_conv(direction, shape, a, b, out, ALGOS["cuda", direction][row].error, "plane")


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_split_holds_the_law_for_positive_operands(kernels, direction):
    """All errors of truncation have one sign; a group's sums are as short as the row takes, and as long."""
    for shape in (ConvShape(2, 8, 8, 7, 8, 3, 3, groups=2), ConvShape(1, 130, 7, 9, 130, 3, 3)):
        assert ALGOS["cuda", direction]["winograd4_split"].takes(shape, "float32")
        a, b = (np.abs(array) for array in operands(shape, direction, np.float32))
        out = kernels.conv("winograd4_split", direction, shape, "float32", a, b)
        check_conv(direction, shape, a, b, out, ALGOS["cuda", direction]["winograd4_split"].error, "plane")


@pytest.mark.parametrize("direction", ["fwd", "dgrad"])
def test_split_gives_a_batch_the_bits_of_its_images(kernels, direction):
    shape, one = (ConvShape(n, 5, 11, 14, 6, 3, 3, pad=(1, 0)) for n in (3, 1))
    a, b = operands(shape, direction, np.float32)
    whole = kernels.conv("winograd4_split", direction, shape, "float32", a, b)
    for n in range(3):
        single = kernels.conv("winograd4_split", direction, one, "float32", a[n : n + 1], b)
        assert single.tobytes() == whole[n : n + 1].tobytes()


def test_split_is_of_float32_and_of_channels_that_fit(kernels):
    shape = CASES["same_3x3"]
    with pytest.raises(ValueError, match=r"conv_winograd4_split: takes float32 .*, but came float16, x .2, 16, 9, 10."):
        kernels.workspace("winograd4_split", "fwd", shape, "float16")
    most, more = (ConvShape(1, C, 3, 3, 1, 3, 3) for C in (2**21 - 1, 2**21))
    assert ALGOS["cuda", "fwd"]["winograd4_split"].takes(most, "float32")
    assert not ALGOS["cuda", "fwd"]["winograd4_split"].takes(more, "float32")
    kernels.workspace("winograd4_split", "fwd", most, "float32")
    with pytest.raises(ValueError, match=f"fewer than {2**21} channels"):
        kernels.workspace("winograd4_split", "fwd", more, "float32")


@each_row
def test_what_does_not_fit_is_refused(kernels, row):
    shape, strided = CASES["same_3x3"], ConvShape(1, 2, 9, 8, 3, 3, 3, stride=(1, 2))
    large = ConvShape(1, 1, 2**16, 2**15, 1, 3, 3)
    assert not ALGOS["cuda", "fwd"][row].takes(large, "float32")
    for other in (CASES["lenet_2"], strided, large):
        with pytest.raises(ValueError, match=r"conv_winograd: takes 3x3 filters, stride 1, .* but came float32, x"):
            kernels.workspace(row, "fwd", other, "float32")
    with pytest.raises(ValueError, match="conv_winograd: direction is fwd, dgrad or wgrad, but came forward"):
        kernels.workspace(row, "forward", shape, "float32")
    for direction in DIRECTIONS:
        a, b = operands(shape, direction, DTYPES["float16"])
        least, _ = kernels.workspace(row, direction, shape, "float16")
        with pytest.raises(ValueError, match=f"at least {least} bytes, but has {least - 1} .*x .2, 16, 9, 10."):
            kernels.conv(row, direction, shape, "float16", a, b, least - 1)
