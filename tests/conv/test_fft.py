"""The FFT row where its tiles, filters and padding meet: each length of transform, borders of tiles, odd sizes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpucnn
from gpucnn import native
from gpucnn.conv import ALGOS, DIRECTIONS, ConvShape, plan, run
from gpucnn.conv.choose import ALIGNMENT
from gpucnn.dtype import FLOATS
from tests.cases import operands
from tests.cpu.test_isa import isa  # noqa: F401  (a fixture: each instruction set)
from tests.tolerance import check_conv, factor

LENGTHS = (8, 12, 16, 24, 32, 48, 64, 96, 128)
every_direction = pytest.mark.parametrize("direction", DIRECTIONS)


def compute(direction, shape, dtype="float32", seed=0, **options):
    """(a, b, result) of the row on random operands."""
    a, b = operands(shape, direction, FLOATS[dtype], seed)
    return a, b, run(direction, shape, a, b, algorithm="fft", **options)


def check(direction, shape, a, b, out):
    row = ALGOS["cpu", direction]["fft"]
    check_conv(direction, shape, a, b, out, row.error, row.bound)


def tile(direction, shape):
    return native.cpu().conv_fft_tile(shape, "float32", direction)


@every_direction
@pytest.mark.parametrize("n", LENGTHS)
def test_every_length_of_transform(isa, direction, n):  # noqa: F811
    """A filter as high, and one as wide, as the image: tiles of n rows, and of n columns, and no larger."""
    for shape in (ConvShape(8, 3, n, 7, 2, n, 6), ConvShape(8, 3, 7, n, 2, 6, n)):
        if direction != "dgrad":
            assert n in tile(direction, shape)
        a, b, out = compute(direction, shape)
        check(direction, shape, a, b, out)
        assert factor(direction, shape, a, b, out, "plane") < 1


@every_direction
def test_a_transform_and_back_is_the_identity(direction):
    """A filter of one tap moves the image (wgrad: dy of one pixel cuts a part out of x), to a few roundings."""
    shape = ConvShape(1, 1, 40, 50, 1, 11, 9)
    a, b = operands(shape, direction, np.float32)
    b[:] = 0
    b[0, 0, 3, 4] = 1
    out = run(direction, shape, a, b, algorithm="fft")[0, 0]
    if direction == "dgrad":
        expect = np.zeros_like(out)
        expect[3 : 3 + shape.P, 4 : 4 + shape.Q] = a[0, 0]
    else:
        expect = a[0, 0, 3 : 3 + out.shape[0], 4 : 4 + out.shape[1]]
    assert np.abs(out - expect).max() <= 16 * np.finfo(np.float32).eps * np.abs(a).max()


@every_direction
@pytest.mark.parametrize("left_over", [0, 1, -1])
def test_borders_of_tiles(direction, left_over):
    """Outputs that fill tiles exactly, that leave one row and column over, and that lack one."""
    found = False
    for side in range(40, 140):
        shape = ConvShape(1, 17, side, side, 18, 9, 9, pad=(4, 3))
        out = (shape.H, shape.W) if direction == "dgrad" else (shape.P, shape.Q)
        m = [n - 8 for n in tile(direction, shape)]  # outputs of a tile
        if any(size > one and (size - left_over) % one == 0 for size, one in zip(out, m, strict=True)):
            check(direction, shape, *compute(direction, shape))
            found = True
            break
    assert found


@every_direction
@pytest.mark.parametrize(
    "shape",
    [
        ConvShape(3, 5, 4, 3, 4, 2, 9, pad=(0, 8)),  # wider than the image
        ConvShape(2, 3, 6, 5, 4, 7, 3, pad=(12, 9)),  # pads beyond the filter: outputs that see no pixel
        ConvShape(2, 19, 40, 9, 35, 15, 1, pad=(7, 0)),
        ConvShape(2, 6, 30, 31, 10, 5, 12, pad=(2, 3), groups=2),
        ConvShape(2, 40, 21, 20, 40, 9, 9, pad=(4, 4), groups=2),  # a group starts inside a vector
        ConvShape(2, 21, 33, 20, 21, 13, 10, pad=(6, 4), groups=21),
        ConvShape(1, 5, 20, 20, 15, 7, 5, pad=(3, 3), groups=5),
    ],
    ids=lambda shape: "x".join(map(str, shape.ints[1:7])),
)
def test_odd_shapes(direction, shape):
    for dtype in ("float32", "float16", "bfloat16"):
        check(direction, shape, *compute(direction, shape, dtype))


@every_direction
def test_sums_of_few_products_are_left_to_others(direction):
    """The rounding of a transform does not shrink with the number of products, as the law's limit does."""
    row = ALGOS["cpu", direction]["fft"]
    few, enough = {
        "fwd": (ConvShape(9, 5, 8, 8, 9, 3, 1), ConvShape(9, 4, 8, 8, 9, 2, 2)),
        "dgrad": (ConvShape(9, 9, 8, 8, 5, 3, 1), ConvShape(9, 9, 8, 8, 4, 2, 2)),
        "wgrad": (ConvShape(5, 9, 8, 8, 9, 8, 6), ConvShape(4, 9, 8, 8, 9, 7, 7)),
    }[direction]
    assert (few.terms(direction), enough.terms(direction)) == (15, 16)
    assert not row.takes(few, "float32") and row.takes(enough, "float32")
    for seed in range(10):
        a, b, out = compute(direction, enough, seed=seed)
        assert factor(direction, enough, a, b, out, row.bound) < row.error / 1.5


@st.composite
def shapes(draw):
    groups = draw(st.integers(1, 3))
    one_each = draw(st.booleans())  # depthwise
    C, K = (groups * (1 if one_each else draw(st.integers(1, 12))) for _ in "CK")
    R, S = draw(st.integers(1, 20)), draw(st.integers(1, 20))
    pad = draw(st.tuples(st.integers(0, R + 2), st.integers(0, S + 2)))
    H = draw(st.integers(max(1, R - 2 * pad[0]), R + 24))
    W = draw(st.integers(max(1, S - 2 * pad[1]), S + 24))
    return ConvShape(draw(st.integers(0, 3)), C, H, W, K, R, S, pad, groups=groups)


@settings(max_examples=40)
@given(shape=shapes(), dtype=st.sampled_from(["float32", "float16", "bfloat16"]), share=st.floats(0, 1))
def test_random_shapes(shape, dtype, share):
    for direction in DIRECTIONS:
        row = ALGOS["cpu", direction]["fft"]
        if not row.takes(shape, dtype):
            continue
        least, best = row.workspace(shape, dtype)
        extra = row.filters(shape, dtype) + ALIGNMENT if row.filters else 0
        with gpucnn.using(workspace=int(extra + least + share * (best - least))):
            check(direction, shape, *compute(direction, shape, dtype))


@every_direction
def test_the_bits_depend_on_neither_threads_nor_batch_nor_workspace(direction):
    """Neither does dw on threads, but on the workspace and the batch it may, which cut its sum over the tiles."""
    shape = ConvShape(5, 20, 40, 37, 33, 9, 7, pad=(4, 3))
    a, b, out = compute(direction, shape)
    row, lib = ALGOS["cpu", direction]["fft"], native.cpu()
    before = lib.num_threads()
    try:
        for threads in (1, 2, 5):
            lib.set_num_threads(threads)
            assert np.array_equal(run(direction, shape, a, b, algorithm="fft"), out)
    finally:
        lib.set_num_threads(before)
    least, best = row.workspace(shape, "float32")
    extra = row.filters(shape, "float32") + ALIGNMENT if row.filters else 0
    for workspace in (least, (least + best) // 2):
        with gpucnn.using(workspace=extra + workspace):
            limited = run(direction, shape, a, b, algorithm="fft")
        if direction == "wgrad":
            check(direction, shape, a, b, limited)
        else:
            assert np.array_equal(limited, out)
    if direction != "wgrad":
        one = ConvShape(1, *shape.ints[1:7], shape.pad)
        assert tile(direction, one) == tile(direction, shape)
        parts = [run(direction, one, a[n : n + 1], b, algorithm="fft") for n in range(5)]
        assert np.array_equal(np.concatenate(parts), out)


def test_filters_stay_below_the_default_limit():
    """Large tiles suit a large image, but not where the spectra of many filters would not fit."""
    for channels, size, side in ((512, 3, 56), (256, 31, 32), (128, 15, 224)):
        shape = ConvShape(1, channels, side, side, channels, size, size, pad=(size // 2, size // 2))
        for direction in ("fwd", "dgrad"):
            row = ALGOS["cpu", direction]["fft"]
            smallest = next(n for n in LENGTHS if n >= size)
            spectrum = 8 * channels**2 * smallest * (smallest // 2 + 1)
            assert row.filters(shape, "float32") <= max(200 * 2**20, 1.2 * spectrum)


def test_auto_takes_it_for_large_filters_and_not_for_small_ones():
    """The ends of the scale, far from the limits of the rule."""
    for direction in DIRECTIONS:

        def choice(N, C, side, K, size, groups=1, direction=direction):
            pad = (size // 2, size // 2)
            return plan(ConvShape(N, C, side, side, K, size, size, pad, groups=groups), direction=direction).choice

        assert choice(4, 64, 56, 64, 11) == choice(8, 128, 28, 128, 7) == choice(2, 64, 64, 64, 31, groups=64) == "fft"
        others = choice(8, 64, 56, 64, 3), choice(1, 64, 7, 64, 5), choice(8, 3, 112, 16, 5), choice(8, 64, 56, 64, 1)
        assert "fft" not in others


def test_refusals():
    good, out = ConvShape(1, 2, 9, 9, 3, 4, 4), np.empty((1, 3, 6, 6), np.float32)
    x, w = operands(good, "fwd", np.float32)
    lib = native.cpu()
    for shape in (
        ConvShape(1, 2, 9, 9, 3, 4, 4, stride=(1, 2)),
        ConvShape(1, 2, 9, 9, 3, 2, 4, dilation=(2, 1)),
        ConvShape(1, 2, 140, 9, 3, 129, 4),
    ):
        assert not ALGOS["cpu", "fwd"]["fft"].takes(shape, "float32")
        with pytest.raises(ValueError, match=r"^conv_fft: takes stride 1, dilation 1, .*, but came "):
            lib.conv_fft_workspace(shape, "float32", "fwd")
    with pytest.raises(ValueError, match="no float64, but came"):
        lib.conv_fft_workspace(good, "float64", "fwd")
    least, _ = lib.conv_fft_workspace(good, "float32", "wgrad")
    with pytest.raises(
        ValueError, match=f"^conv_fft: takes a workspace of at least {least} bytes, but came {least - 1}"
    ):
        ALGOS["cpu", "wgrad"]["fft"].run(good, "float32", x, out, w, np.empty(least - 1, np.uint8))
