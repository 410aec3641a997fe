"""Implicit GEMM beyond the cases of every row: both tile sizes, splits of the sum, accuracy of split operands."""

from dataclasses import replace

import numpy as np
import pytest

from gpucnn.conv.algos import ALGOS
from gpucnn.conv.reference import convolve
from gpucnn.conv.shape import DIRECTIONS, ConvShape
from gpucnn.layout import in_memory
from tests.cases import CASES, operands
from tests.kernels.harness import DTYPES, Out
from tests.tolerance import check, check_conv

# (row, dtype of native code, dtype of the arrays)
KINDS = [("implicit", name, dtype) for name, dtype in DTYPES.items()]
KINDS += [("implicit", "tf32", DTYPES["float32"]), ("implicit_split", "float32", DTYPES["float32"])]
every_kind = pytest.mark.parametrize(("row", "name", "dtype"), KINDS, ids=[f"{row}-{name}" for row, name, _ in KINDS])

# What fills the GPU with large tiles needs more of a real one: images on (the host, a GPU).
LARGE_IMAGES, BATCH_IMAGES = (1, 128), (3, 160)


def check_kind(direction, shape, a, b, out, name):
    """The law; for tf32, whose inputs may lose 13 bits, with that much more per product."""
    if name != "tf32":
        return check_conv(direction, shape, a, b, out)
    magnitude = convolve(direction, shape, np.abs(a), np.abs(b))
    check(out, convolve(direction, shape, a, b), magnitude, 1, factor=2.0**-10 * 2**24)


@every_kind
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_large_tile(kernels, row, name, dtype, direction):
    """More than 64 rows and columns in every direction, and no multiple of 128."""
    shape = ConvShape(LARGE_IMAGES[kernels.cupy is not None], 70, 17, 17, 66, 2, 1)
    a, b = operands(shape, direction, dtype)
    check_kind(direction, shape, a, b, kernels.conv(row, direction, shape, name, a, b), name)


@every_kind
@pytest.mark.parametrize("direction", ["fwd", "dgrad"])
def test_a_batch_has_the_bits_of_its_images(kernels, row, name, dtype, direction):
    """Though the batch takes the large tile and one image the small."""
    images = BATCH_IMAGES[kernels.cupy is not None]
    shape, one = (ConvShape(n, 66, 10, 11, 67, 1, 1) for n in (images, 1))
    a, b = operands(shape, direction, dtype)
    whole = kernels.conv(row, direction, shape, name, a, b)
    for n in (0, 1, images - 1):
        assert kernels.conv(row, direction, one, name, a[n : n + 1], b).tobytes() == whole[n : n + 1].tobytes()


# Channels that are chunks of 16 bytes, or some chunks and a part (12 and 20 in 16 bits), or less than one.
LAST = {
    "whole": ConvShape(2, 16, 8, 11, 24, 3, 2, (1, 1), (2, 1), (1, 2)),
    "whole_in_groups": ConvShape(2, 16, 6, 5, 48, 2, 3, (0, 1), (1, 2), groups=2),
    "parts_in_groups": ConvShape(1, 24, 7, 6, 40, 3, 2, (1, 0), (2, 2), groups=2),
    "rgb": ConvShape(1, 3, 12, 11, 33, 4, 5, (2, 1), (2, 3)),
    "gray": ConvShape(3, 1, 9, 8, 20, 3, 3, (2, 2), (1, 1), (2, 2)),
    "large_tile": ConvShape(1, 72, 17, 17, 80, 2, 1),
    "large_tile_of_parts": ConvShape(1, 70, 17, 17, 66, 1, 2),
}


@every_kind
@pytest.mark.parametrize("case", LAST)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_channels_last_has_the_same_bits(kernels, row, name, dtype, direction, case):
    """Its sums have the same order."""
    shape = LAST[case]
    if case.startswith("large"):
        shape = replace(shape, N=LARGE_IMAGES[kernels.cupy is not None])
    a, b = operands(shape, direction, dtype)
    ends = {}
    if direction == "fwd":
        ends = {"bias": np.linspace(-2, 2, shape.K).astype(dtype), "relu": True}
    first, last = (
        kernels.conv(row, direction, replace(shape, channels_last=last), name, a, b, **ends) for last in (False, True)
    )
    assert np.array_equal(first, last)


@pytest.mark.parametrize("name", ["float16", "float32"])
def test_channels_last_at_any_address(kernels, name):
    """Where chunks are not aligned, single elements are read."""
    shape = replace(LAST["whole"], channels_last=True)
    dtype = DTYPES[name]
    x, w = operands(shape, "fwd", dtype)
    x = in_memory(x, True)
    filters = Out((kernels.lib.conv_implicit_filters_bytes(shape, name, "fwd"),), np.uint8)
    (filters,) = kernels("conv_implicit_filters", shape, name, "fwd", w, filters)
    _held, address = kernels.memory(np.concatenate([np.zeros(1, dtype), x.ravel()]).view(np.uint8))
    aligned, other = (
        kernels("conv_implicit_fwd", shape, name, data, filters, 0, False, Out(shape.y, dtype), 0, 0)
        for data in (x, address + dtype.itemsize)
    )
    assert np.array_equal(aligned, other)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("rounded", [0, 1])
def test_tf32_rounds_both_operands_to_nearest(kernels, direction, rounded):
    """Sums of few products of 1 and 1 + 2**-10 are exact."""
    shape = CASES["groups_3x3"]
    a, b = values = [np.ones(size, np.float32) for size in shape.operands(direction)[:2]]
    values[rounded] *= np.float32(1 + 2**-11 + 2**-13)
    out = kernels.conv("implicit", direction, shape, "tf32", a, b)
    values[rounded][:] = 1 + 2**-10
    assert np.array_equal(out, convolve(direction, shape, a, b))


@every_kind
def test_wgrad_in_any_workspace(kernels, row, name, dtype):
    """One split, some, and as many as are of use: each adds all of the products up."""
    shape = ConvShape(2, 3, 30, 29, 5, 3, 2)
    a, b = operands(shape, "wgrad", dtype)
    _, best = kernels.lib.conv_implicit_workspace(shape, name, "wgrad")
    one = int(np.prod(shape.w)) * 4
    assert best >= 3 * one
    results = [
        kernels.conv(row, "wgrad", shape, name, a, b, size) for size in (0, 2 * one - 1, 2 * one, best, 2 * best)
    ]
    for out in results:
        check_kind("wgrad", shape, a, b, out, name)
    assert np.array_equal(results[0], results[1]) and np.array_equal(results[3], results[4])


@pytest.mark.parametrize(
    ("case", "direction"),
    [("same_3x3", "fwd"), ("many_channels", "fwd"), ("same_3x3", "dgrad"), ("lenet_2", "wgrad"), ("wide_3x3", "wgrad")],
)
def test_split_holds_the_law_for_positive_operands(kernels, case, direction):
    """All errors of truncation have one sign, and partial sums grow: where promoting them to registers matters."""
    shape = CASES[case]
    assert ALGOS["cuda", direction]["implicit_split"].takes(shape, "float32")
    a, b = (np.abs(array) for array in operands(shape, direction, np.float32))
    out = kernels.conv("implicit_split", direction, shape, "float32", a, b)
    check_conv(direction, shape, a, b, out, ALGOS["cuda", direction]["implicit_split"].error)


@pytest.mark.parametrize("case", ["same_3x3", "many_channels", "wide_3x3"])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_law_for_positive_operands(kernels, case, direction, name):
    shape = CASES[case]
    a, b = (np.abs(array) for array in operands(shape, direction, DTYPES[name]))
    out = kernels.conv("implicit", direction, shape, name, a, b)
    check_conv(direction, shape, a, b, out, ALGOS["cuda", direction]["implicit"].error)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_law_for_long_positive_sums(kernels, direction):
    """As above, for sums a little above 4096, where half a unit in the last place leaves little of u_out unused."""
    shape = {
        "fwd": ConvShape(1, 6448, 6, 5, 17, 1, 1),
        "dgrad": ConvShape(1, 17, 6, 5, 6448, 1, 1),
        "wgrad": ConvShape(1, 30, 13, 496, 17, 1, 1),
    }[direction]
    a, b = (np.abs(array) for array in operands(shape, direction, DTYPES["float16"]))
    out = kernels.conv("implicit", direction, shape, "float16", a, b, workspace=0)
    check_conv(direction, shape, a, b, out, ALGOS["cuda", direction]["implicit"].error)


def test_split_keeps_the_range_of_float32(kernels):
    """Products of numbers far below and above the range of float16."""
    shape = CASES["same_3x3"]
    x, w = operands(shape, "fwd", np.float32)
    x, w = x * np.float32(2.0**90), w * np.float32(2.0**-100)
    check_conv("fwd", shape, x, w, kernels.conv("implicit_split", "fwd", shape, "float32", x, w))


def test_what_does_not_fit_is_refused(kernels):
    shape = CASES["same_3x3"]
    half = DTYPES["float16"]
    for direction in DIRECTIONS:
        with pytest.raises(ValueError, match=f"conv_implicit_split_{direction}: takes float32, but came float16"):
            kernels.conv("implicit_split", direction, shape, "float16", *operands(shape, direction, half))
    small, large = (ConvShape(1, 6, 2**15, width, 9, 1, 1, groups=3) for width in (2**16 // 3, 2**16 // 3 + 1))
    assert ALGOS["cuda", "fwd"]["implicit"].takes(small, "float32")
    for shape in (large, replace(small, channels_last=True)):
        assert not ALGOS["cuda", "fwd"]["implicit"].takes(shape, "float32")
        with pytest.raises(
            ValueError, match=r"conv_implicit_fwd: image and filter .* 2\^31 elements in a group, but came x"
        ):
            kernels.lib.conv_implicit_fwd(shape, "float32", 0, 0, 0, False, 0, 0, 0, 0)
    for name in ("conv_implicit_workspace", "conv_implicit_filters_bytes"):
        with pytest.raises(ValueError, match=f"{name}: direction is fwd, dgrad or wgrad, but came forward"):
            getattr(kernels.lib, name)(shape, "float32", "forward")
