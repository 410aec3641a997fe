"""implicit_hopper beyond the cases of every row: several tiles a block, any workspace, the limits of tensor maps."""

from dataclasses import replace
from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpucnn.conv.algos import ALGOS
from gpucnn.conv.reference import convolve
from gpucnn.conv.shape import DIRECTIONS, ConvShape
from tests.cases import CASES, operands
from tests.kernels.harness import DTYPES
from tests.tolerance import check_conv

ROW = "implicit_hopper"
HALF = {name: DTYPES[name] for name in ("float16", "bfloat16")}
SHAPES = {
    # Two steps of channels, two tiles of filters in either direction, several of positions for each block that runs.
    "tiles": ConvShape(2, 130, 14, 15, 140, 2, 2, pad=(1, 0)),
    # Few channels, but more steps and tiles than stages and blocks.
    "ring": ConvShape(1, 8, 28, 27, 5, 2, 2),
}
every_direction = pytest.mark.parametrize("direction", DIRECTIONS)
halves = pytest.mark.parametrize("name", HALF)


def conv(kernels, direction, shape, name, a, b, workspace=None, **ends):
    return kernels.conv(ROW, direction, shape, name, a, b, workspace, **ends)


@every_direction
@halves
@pytest.mark.parametrize("which", SHAPES)
def test_tiles(kernels, direction, name, which):
    shape = SHAPES[which]
    a, b = operands(shape, direction, HALF[name])
    check_conv(direction, shape, a, b, conv(kernels, direction, shape, name, a, b))


@pytest.mark.parametrize("direction", ["fwd", "dgrad"])
@halves
def test_wide_tiles(kernels, direction, name):
    """Of 256 filters: within the law, and with the bits that one image, of narrow tiles, has on its own."""
    N = 2 * kernels.multiprocessors()
    tiles = [kernels.lib.implicit_hopper_tile(n * 11 * 10, 140, 16, False, N // 2) for n in (1, N)]
    assert tiles == [128, 256]
    dgrad = ConvShape(N, 140, 11, 10, 8, 4, 4, pad=(2, 1))
    shape = dgrad if direction == "dgrad" else ConvShape(N, 8, 14, 13, 140, 4, 4)
    a, b = operands(shape, direction, HALF[name])
    result = conv(kernels, direction, shape, name, a, b)
    check_conv(direction, shape, a, b, result)
    one = replace(shape, N=1)
    assert np.array_equal(conv(kernels, direction, one, name, a[1:2], b), result[1:2])


def test_bias_and_relu_of_wide_tiles(kernels):
    """Two of them side by side, in any thread order; small integers are exact."""
    N = kernels.multiprocessors()
    shape = ConvShape(N, 8, 14, 13, 390, 4, 4)
    assert kernels.lib.implicit_hopper_tile(N * 11 * 10, 390, 16, False, N) == 256
    rng = np.random.default_rng(3)
    x, w = (rng.integers(-2, 3, size).astype(np.float16) for size in shape.operands("fwd")[:2])
    bias = rng.integers(-9, 10, shape.K).astype(np.float16)
    expected = np.maximum(convolve("fwd", shape, x, w) + bias.reshape(-1, 1, 1), 0)
    for seed in range(2):
        kernels.seed(seed)
        assert np.array_equal(conv(kernels, "fwd", shape, "float16", x, w, bias=bias, relu=True), expected)


@pytest.mark.parametrize("filters", [8, 72, 136, 392])  # a part of one piece, two; of a wide tile, two
@halves
def test_stores_by_the_tma(kernels, name, filters):
    """Into images in channels_last order, of any number of positions: the bits of stores one by one."""
    N = kernels.multiprocessors()
    shape = ConvShape(N, 8, 14, 13, filters, 4, 4)
    x, w = operands(shape, "fwd", HALF[name])
    bias = np.random.default_rng(2).standard_normal(filters).astype(HALF[name])
    for seed in range(2):
        kernels.seed(seed)
        results = [
            conv(kernels, "fwd", replace(shape, channels_last=last), name, x, w, bias=bias, relu=True)
            for last in (False, True)
        ]
        assert np.array_equal(*results)


@pytest.mark.parametrize(
    ("positions", "filters", "steps", "by_tma", "expected"),
    [
        (64 * 56 * 56, 256, 36, False, 256),  # VGG
        (64 * 56 * 56, 128, 36, False, 128),  # half of the filters would be padding
        (64 * 56 * 56, 384, 36, False, 128),  # a quarter
        (64 * 56 * 56, 512, 36, False, 256),
        (64 * 56 * 56, 256, 15, False, 128),  # stores cost more than is gained
        (64 * 56 * 56, 256, 15, True, 256),
        (64 * 56 * 56, 256, 4, True, 128),
        (128 * 66, 256, 72, True, 128),  # half of the multiprocessors would find no tile
        (128 * 132, 256, 72, True, 256),
        (1, 10**6, 0, True, 128),
    ],
)
def test_filters_of_a_tile(kernels, positions, filters, steps, by_tma, expected):
    assert kernels.lib.implicit_hopper_tile(positions, filters, steps, by_tma, 132) == expected


@every_direction
def test_integers_are_exact_in_any_thread_order(kernels, direction):
    rng = np.random.default_rng(1)
    shape = ConvShape(2, 66, 9, 18, 20, 3, 2, pad=(1, 1), stride=(1, 2), dilation=(2, 1))
    a, b = (rng.integers(-2, 3, size).astype(np.float16) for size in shape.operands(direction)[:2])
    expected = convolve(direction, shape, a, b)
    assert abs(expected).max() < 2**11
    for seed in range(6):
        kernels.seed(seed)
        assert np.array_equal(conv(kernels, direction, shape, "float16", a, b), expected)


@pytest.mark.parametrize(("with_bias", "relu"), [(True, False), (False, True), (True, True)])
@halves
def test_bias_and_relu(kernels, name, with_bias, relu):
    shape = ConvShape(1, 8, 12, 12, 133, 1, 1)
    x, w = operands(shape, "fwd", HALF[name])
    bias = np.random.default_rng(2).standard_normal(shape.K).astype(HALF[name]) if with_bias else None
    y = conv(kernels, "fwd", shape, name, x, w, bias=bias, relu=relu)
    # The bias is one more channel, of ones.
    wide = ConvShape(1, 9, 12, 12, 133, 1, 1)
    x = np.concatenate([x, np.ones_like(x[:, :1])], 1)
    w = np.concatenate([w, (bias if with_bias else np.zeros(shape.K, w.dtype)).reshape(-1, 1, 1, 1)], 1)
    positive = convolve("fwd", wide, x, w) > 0
    check_conv("fwd", wide, x, w, np.where(positive | (not relu), y, convolve("fwd", wide, x, w)).astype(y.dtype))
    assert not relu or ((y == 0).any() and (y >= 0).all())


@pytest.mark.parametrize("direction", ["fwd", "dgrad"])
def test_images_in_any_workspace(kernels, direction):
    """One, two and all images at a time, and each on its own: always the same bits."""
    shape, one = (ConvShape(n, 9, 11, 13, 10, 3, 3, pad=(1, 2), stride=(2, 1)) for n in (5, 1))
    a, b = operands(shape, direction, np.float16)
    least, best = kernels.lib.conv_implicit_hopper_workspace(shape, "float16", direction)
    image = (best - least) // 4
    results = {
        conv(kernels, direction, shape, "float16", a, b, size).tobytes()
        for size in (least, least + image - 1, least + image, best, best + 999)
    }
    images = [conv(kernels, direction, one, "float16", a[n : n + 1], b) for n in range(5)]
    assert results == {np.concatenate(images).tobytes()}
    with pytest.raises(ValueError, match=f"at least {least} bytes, but has {least - 1} .*x .5, 9, 11, 13."):
        conv(kernels, direction, shape, "float16", a, b, least - 1)


@halves
def test_images_in_channels_last_order_as_they_are(kernels, name):
    """No copies, so no bytes for them; the same bits as from (N, C, H, W)."""
    first = ConvShape(3, 16, 9, 10, 24, 3, 3, pad=(1, 2), stride=(1, 2))
    last = replace(first, channels_last=True)
    for direction in DIRECTIONS:
        sizes = [kernels.lib.conv_implicit_hopper_workspace(shape, name, direction) for shape in (first, last)]
        images = [prod(size) for size in (first.x, first.y)]
        copied = sum(images) if direction == "wgrad" else images[direction == "dgrad"]
        assert sizes[0][1] - sizes[1][1] == 2 * copied
        a, b = operands(first, direction, HALF[name])
        outs = [conv(kernels, direction, shape, name, a, b) for shape in (first, last)]
        assert np.array_equal(*outs)


def test_wgrad_in_any_workspace(kernels):
    """One split or more, and images one at a time or together: integers add up exactly however they are parted."""
    shape = ConvShape(3, 9, 17, 19, 10, 2, 2, pad=(1, 2))
    rng = np.random.default_rng(1)
    x, dy = (rng.integers(-1, 2, size).astype(np.float16) for size in shape.operands("wgrad")[:2])
    least, best = kernels.lib.conv_implicit_hopper_workspace(shape, "float16", "wgrad")
    split = int(np.prod(shape.w)) * 4
    assert best >= least + 3 * split
    expected = convolve("wgrad", shape, x, dy)
    for size in (least, least + split, best - split, best, best + 999):
        assert np.array_equal(conv(kernels, "wgrad", shape, "float16", x, dy, size), expected)
    with pytest.raises(ValueError, match=f"at least {least} bytes, but has {least - 1} .*x .3, 9, 17, 19."):
        conv(kernels, "wgrad", shape, "float16", x, dy, least - 1)


@every_direction
def test_law_for_long_positive_sums(kernels, direction):
    """As test_implicit has it, of as many terms as are taken; wgrad adds up twice as many in two parts."""
    shape = {
        "fwd": ConvShape(1, 6144, 6, 5, 17, 1, 1),
        "dgrad": ConvShape(1, 17, 6, 5, 6144, 1, 1),
        "wgrad": ConvShape(2, 30, 12, 512, 17, 1, 1),
    }[direction]
    a, b = (np.abs(array) for array in operands(shape, direction, HALF["float16"]))
    a *= a.dtype.type(0.95)  # sums a little above a power of 2, where half a unit in the last place hides least
    check_conv(
        direction, shape, a, b, conv(kernels, direction, shape, "float16", a, b), ALGOS["cuda", direction][ROW].error
    )


def test_images_at_a_time_add_up_no_longer_sums(kernels):
    """Where splits are of no use, one image of 6144 positions, though more would fit."""
    one, four = (ConvShape(n, 8, 28, 528, 8, 17, 17) for n in (1, 4))
    sizes = [kernels.lib.conv_implicit_hopper_workspace(shape, "float16", "wgrad") for shape in (one, four)]
    assert sizes[0] == sizes[1] == (sizes[0][0], sizes[0][0])


@st.composite
def axes_at_the_limits(draw):
    """(size, taps, pad, stride, dilation) of an axis, as far as the row takes it."""
    taps = draw(st.integers(1, 4))
    dilation = draw(st.sampled_from([1, 2, 3, 127 // max(taps - 1, 1)]))
    pad, stride = draw(st.sampled_from([0, 1, 2, 63, 126, 127])), draw(st.sampled_from([1, 2, 3, 7, 8]))
    size = max(1, dilation * (taps - 1) + 1 - 2 * pad) + draw(st.integers(0, 9))
    return size, taps, pad, stride, dilation


@settings(max_examples=40, deadline=None)
@given(long=axes_at_the_limits(), swap=st.booleans(), direction=st.sampled_from(DIRECTIONS), data=st.data())
def test_axes_at_the_limits(kernels, long, swap, direction, data):
    short = data.draw(st.sampled_from([(1, 1, 0, 1, 1), (3, 2, 0, 1, 1), (3, 3, 1, 2, 1), (5, 2, 1, 1, 2)]))
    H, W = (short, long) if swap else (long, short)
    fields = [list(pair) for pair in zip(H, W, strict=True)]
    N, C, K = (data.draw(st.integers(1, top)) for top in (2, 9, 3))
    shape = ConvShape(N, C, *fields[0], K, *fields[1], *map(tuple, fields[2:]))
    assert ALGOS["cuda", direction][ROW].takes(shape, "bfloat16")
    a, b = operands(shape, direction, HALF["bfloat16"])
    check_conv(direction, shape, a, b, conv(kernels, direction, shape, "bfloat16", a, b))


@pytest.mark.parametrize("direction", ["fwd", "wgrad"])
def test_positions_far_before_the_last_pixel(kernels, direction):
    """By 134 and 133 pixels, of which the corner of a map can say 128."""
    shape = ConvShape(2, 3, 143, 148, 2, 2, 2, stride=(8, 7), dilation=(127, 127))
    assert ALGOS["cuda", direction][ROW].takes(shape, "float16")
    a, b = operands(shape, direction, HALF["float16"])
    check_conv(direction, shape, a, b, conv(kernels, direction, shape, "float16", a, b))


BEYOND = {
    "stride": ConvShape(1, 8, 9, 9, 4, 1, 1, stride=(1, 9)),
    "padding": ConvShape(1, 8, 1, 1, 4, 1, 1, pad=(128, 0)),
    "dilation": ConvShape(1, 8, 130, 1, 4, 2, 1, dilation=(128, 1)),
    "filter": ConvShape(1, 8, 1, 130, 4, 1, 129),
    "groups": CASES["groups_3x3"],
    "size": ConvShape(1, 2**15, 256, 256, 4, 1, 1),
}


@every_direction
@pytest.mark.parametrize("what", BEYOND)
def test_beyond_the_limits(kernels, what, direction):
    """What the table does not offer, native code refuses."""
    shape = BEYOND[what]
    assert not ALGOS["cuda", direction][ROW].takes(shape, "float16")
    with pytest.raises(ValueError, match=r"takes float16 or bfloat16, one group, .* but came float16, x"):
        ends = (0, False) if direction == "fwd" else ()
        getattr(kernels.lib, f"conv_implicit_hopper_{direction}")(shape, "float16", 0, 0, *ends, 0, 0, 0, 0)


def test_refusals(kernels):
    shape = CASES["same_3x3"]
    with pytest.raises(ValueError, match=r"takes float16 or bfloat16, .* but came float32, x"):
        kernels.lib.conv_implicit_hopper_workspace(shape, "float32", "fwd")
    with pytest.raises(ValueError, match=r"direction is fwd, .*dgrad or wgrad, but came forward"):
        kernels.lib.conv_implicit_hopper_workspace(shape, "float16", "forward")
