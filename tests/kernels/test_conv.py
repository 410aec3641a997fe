"""Every row of convolution on the kernels, in every direction and dtype, at any workspace."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpucnn.conv.algos import ALGOS
from gpucnn.conv.reference import convolve
from gpucnn.conv.shape import DIRECTIONS, ConvShape
from tests.cases import CASES, operands
from tests.kernels.harness import DTYPES, Out
from tests.tolerance import LIMIT, U_OUT, check, check_conv

ROWS = tuple(ALGOS["cuda", "fwd"])
OF_FLOAT32 = [row for row in ROWS if row != "implicit_hopper"]
ELEMENTWISE = [row for row in OF_FLOAT32 if ALGOS["cuda", "fwd"][row].bound == "element"]


def taken(cases, directions=DIRECTIONS, rows=ROWS):
    """(row, case, direction, dtype) for each that the table says can be computed."""
    return pytest.mark.parametrize(
        ("row", "case", "direction", "dtype"),
        [
            pytest.param(row, case, direction, dtype, id=f"{row}-{case}-{direction}-{name}")
            for direction in directions
            for row, algo in ALGOS["cuda", direction].items()
            for case in cases
            for name, dtype in DTYPES.items()
            if row in rows and algo.takes(CASES[case], name)
        ],
    )


def first_taken(row, direction, dtype, *shapes):
    """The first of the shapes that the row takes."""
    return next(shape for shape in shapes if ALGOS["cuda", direction][row].takes(shape, dtype))


def check_row(row, direction, shape, a, b, out):
    """The law with the error that the row declares."""
    algo = ALGOS["cuda", direction][row]
    check_conv(direction, shape, a, b, out, algo.error, algo.bound)


def workspaces(kernels, row, shape, dtype, direction):
    """The least, the best, and odd numbers of bytes between that cut images, channels and rows apart."""
    least, best = kernels.workspace(row, direction, shape, dtype)
    between = (least + (best - least) * part // 14 for part in (2, 7, 11))
    return sorted({least, least + 4, *between, max(best - 2, least), best})


@taken(CASES)
def test_tolerance_law(kernels, row, case, direction, dtype):
    shape = CASES[case]
    a, b = operands(shape, direction, dtype)
    check_row(row, direction, shape, a, b, kernels.conv(row, direction, shape, dtype.name, a, b))


@taken(CASES, rows=[row for row, algo in ALGOS["cuda", "fwd"].items() if algo.channels_last])
def test_channels_last(kernels, row, case, direction, dtype):
    shape = replace(CASES[case], channels_last=True)
    a, b = operands(shape, direction, dtype)
    for workspace in workspaces(kernels, row, shape, dtype.name, direction)[::3]:  # least, one between, best
        check_row(row, direction, shape, a, b, kernels.conv(row, direction, shape, dtype.name, a, b, workspace))


@taken(
    "never_square swapped padding_only_corner pointwise groups depthwise_multiplier lenet_2".split(),
    rows=("im2col", "gemm"),
)
def test_any_workspace(kernels, row, case, direction, dtype):
    shape = CASES[case]
    a, b = operands(shape, direction, dtype)
    for workspace in workspaces(kernels, row, shape, dtype.name, direction):
        check_row(row, direction, shape, a, b, kernels.conv(row, direction, shape, dtype.name, a, b, workspace))


@pytest.mark.parametrize(("with_bias", "relu"), [(True, False), (False, True), (True, True)])
@taken(["groups_3x3"], ["fwd"])
def test_bias_and_relu(kernels, row, case, direction, dtype, with_bias, relu):
    """Rounded once more where a row adds the bias to its rounded output: within u_out of the sum before it."""
    shape = CASES[case]
    x, w = operands(shape, direction, dtype)
    bias = np.random.default_rng(2).standard_normal(shape.K).astype(dtype) if with_bias else None
    y = kernels.conv(row, "fwd", shape, dtype.name, x, w, bias=bias, relu=relu)
    wide = [array.astype(np.float64) for array in (x, w)]
    plain = convolve("fwd", shape, *wide)
    magnitude = convolve("fwd", shape, *map(np.abs, wide))
    algo = ALGOS["cuda", "fwd"][row]
    if algo.bound == "plane":
        magnitude = magnitude.max(axis=(2, 3), keepdims=True)
    offset = bias.astype(np.float64)[:, None, None] if with_bias else 0.0
    ref = plain + offset
    before = 2**24 * U_OUT[dtype.name] * np.abs(plain)  # in the units of the law, for factor 1 and one term
    bound = max(LIMIT, algo.error) * np.sqrt(shape.terms("fwd")) * (magnitude + np.abs(offset)) + before
    check(y, np.maximum(ref, 0) if relu else ref, bound, 1, 1)
    assert not relu or ((y == 0).any() and (y >= 0).all())


@pytest.mark.parametrize(("with_bias", "relu"), [(True, False), (False, True), (True, True)])
@pytest.mark.parametrize(("channels", "groups"), [(6, 1), (5, 1), (6, 2)], ids=["one_call", "two_calls", "groups"])
def test_ends_of_gemm_in_channels_last_order(kernels, dtype, channels, groups, with_bias, relu):
    """By cuBLASLt in one call, or by add_bias where that has no kernel (here for an odd depth) or there are groups."""
    shape = ConvShape(2, channels, 5, 3, 8, 1, 1, groups=groups, channels_last=True)
    rng = np.random.default_rng(3)
    x, w = (rng.integers(-4, 5, size).astype(dtype) for size in shape.operands("fwd")[:2])
    bias = rng.integers(-9, 10, shape.K).astype(dtype) if with_bias else None
    y = kernels.conv("gemm", "fwd", shape, dtype.name, x, w, bias=bias, relu=relu)
    expected = convolve("fwd", shape.channels_first, x, w) + (
        bias.astype(np.float64)[:, None, None] if with_bias else 0
    )
    assert np.array_equal(y, np.maximum(expected, 0) if relu else expected)


@pytest.mark.parametrize("channels", [6, 5], ids=["one_call", "two_calls"])
def test_relu_of_gemm_in_channels_last_order_keeps_a_nan(kernels, dtype, channels):
    shape = ConvShape(2, channels, 5, 3, 8, 1, 1, channels_last=True)
    x, w = operands(shape, "fwd", dtype)
    x[1, 3, 4, 2] = np.nan
    y = kernels.conv("gemm", "fwd", shape, dtype.name, x, w, relu=True)
    assert np.isnan(y[1, :, 4, 2]).all() and np.isnan(y).sum() == 8


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("row", ELEMENTWISE)
def test_small_integers_are_exact(kernels, row, direction):
    shape = first_taken(row, direction, "float32", *map(CASES.get, ("never_square", "pointwise", "depthwise")))
    rng = np.random.default_rng(1)
    a, b = (rng.integers(-4, 5, size).astype(np.float32) for size in shape.operands(direction)[:2])
    for workspace in workspaces(kernels, row, shape, "float32", direction):
        out = kernels.conv(row, direction, shape, "float32", a, b, workspace)
        assert np.array_equal(out, convolve(direction, shape, a, b))


@taken(["groups_3x3"])
def test_same_bits_in_any_thread_order(kernels, row, case, direction, dtype):
    shape = CASES[case]
    a, b = operands(shape, direction, dtype)
    runs = []
    for seed in range(4):
        kernels.seed(seed)
        runs.append(kernels.conv(row, direction, shape, dtype.name, a, b).tobytes())
    assert len(set(runs)) == 1


@pytest.mark.parametrize("row", OF_FLOAT32)
@pytest.mark.parametrize("direction", ["fwd", "dgrad"])
def test_a_batch_is_its_images(kernels, row, direction):
    def shape_of(N):
        filters = [(3, 2, (1, 0)), (3, 3, (1, 0)), (1, 1)]
        grouped = ConvShape(N, 4, 7, 6, 8, 3, 2, (1, 0), groups=4)
        return first_taken(row, direction, "float32", *(ConvShape(N, 4, 7, 6, 5, *f) for f in filters), grouped)

    shape, one = shape_of(3), shape_of(1)
    a, b = operands(shape, direction, np.float32)
    magnitude = convolve(direction, shape, np.abs(a), np.abs(b))
    if ALGOS["cuda", direction][row].bound == "plane":
        magnitude = np.broadcast_to(magnitude.max(axis=(2, 3), keepdims=True), magnitude.shape)
    whole = kernels.conv(row, direction, shape, "float32", a, b)
    for n in range(3):
        single = kernels.conv(row, direction, one, "float32", a[n : n + 1], b)
        error = max(LIMIT, ALGOS["cuda", direction][row].error)
        check(whole[n : n + 1], single.astype(np.float64), magnitude[n : n + 1], shape.terms(direction), error)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("row", ["im2col", "implicit"])
def test_tf32_only_when_asked(kernels, row, direction):
    """tf32 may round its inputs to 11 bits, no more; float32 may not (the law would be broken about a hundredfold)."""
    shape = CASES["same_3x3"]
    a, b = operands(shape, direction, np.float32)
    out = kernels.conv(row, direction, shape, "tf32", a, b)
    ref = convolve(direction, shape, a, b)
    magnitude = convolve(direction, shape, np.abs(a), np.abs(b))
    check(out, ref, magnitude, 1, factor=2.0**-10 * 2**24)
    if not kernels.cupy:  # cuBLAS may, the stand-in does
        with pytest.raises(AssertionError):
            check(out, ref, magnitude, shape.terms(direction))


def test_an_empty_batch_has_no_gradient(kernels, dtype):
    shape = CASES["empty_batch"]
    x, dy = np.zeros(shape.x, dtype), np.zeros(shape.y, dtype)
    rows = [row for row, algo in ALGOS["cuda", "wgrad"].items() if algo.takes(shape, dtype.name)]
    assert rows
    for row in rows:
        assert (kernels.conv(row, "wgrad", shape, dtype.name, x, dy) == 0).all()


def test_refusals(kernels):
    shape = CASES["never_square"]
    x, w = operands(shape, "fwd", np.float32)
    least, _ = kernels.lib.conv_im2col_workspace(shape, "float32", "fwd")
    with pytest.raises(ValueError, match=f"at least {least} bytes, but has {least - 1} .*x .2, 3, 12, 11."):
        kernels.conv("im2col", "fwd", shape, "float32", x, w, least - 1)
    for row in OF_FLOAT32:
        taken = first_taken(row, "fwd", "float32", shape, *map(CASES.get, ("same_3x3", "pointwise", "depthwise")))
        with pytest.raises(ValueError, match="float64"):
            kernels.conv(row, "fwd", taken, "float64", *operands(taken, "fwd", np.float64), 10**6)
    with pytest.raises(ValueError, match="direction"):
        kernels.lib.conv_im2col_workspace(shape, "float32", "forward")


def test_least_workspace_is_small(kernels):
    """A large image needs no more than a sliver of its columns."""
    shape = ConvShape(8, 64, 1080, 1920, 64, 7, 7, pad=(3, 3))
    for direction in DIRECTIONS:
        for dtype in DTYPES:
            assert kernels.lib.conv_im2col_workspace(shape, dtype, direction)[0] < 3 * 2**20


@st.composite
def shapes(draw):
    def between(low, high):
        return draw(st.integers(low, high))

    groups = between(1, 3)
    C = groups * (1 if draw(st.booleans()) else between(1, 3))
    filter_size, dilation, stride = (draw(st.tuples(*(st.integers(1, top),) * 2)) for top in (4, 3, 4))
    special = draw(st.sampled_from([0, 0, 1, 3]))  # what few rows take: 1x1, or 3x3
    if special:
        filter_size, dilation, stride = (special, special), (1, 1), (1, 1)
    pad = (between(0, 3), between(0, 3))
    image = [
        max(1, dil * (taps - 1) + 1 - 2 * p + between(0, 6))
        for taps, dil, p in zip(filter_size, dilation, pad, strict=True)
    ]
    return ConvShape(
        between(0, 3), C, *image, groups * between(1, 3), *filter_size,
        pad=pad if special != 1 else (0, 0), stride=stride, dilation=dilation, groups=groups,
    )  # fmt: skip


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_random_shapes(kernels, data):
    shape = data.draw(shapes())
    direction, dtype = data.draw(st.sampled_from(DIRECTIONS)), DTYPES[data.draw(st.sampled_from(sorted(DTYPES)))]
    rows = ALGOS["cuda", direction].items()
    able = [r for r, algo in rows if algo.takes(shape, dtype.name) and not algo.lacks(kernels.lib)]
    row = data.draw(st.sampled_from(able))
    if ALGOS["cuda", direction][row].channels_last:
        shape = replace(shape, channels_last=data.draw(st.booleans()))
    least, best = kernels.workspace(row, direction, shape, dtype.name)
    a, b = operands(shape, direction, dtype)
    kernels.seed(data.draw(st.integers(0, 9)))
    out = kernels.conv(row, direction, shape, dtype.name, a, b, data.draw(st.integers(least, best)))
    check_row(row, direction, shape, a, b, out)


def test_raw_outputs_are_guarded(kernels):
    """The harness itself: a size that is too small is seen as a write outside the array."""
    if kernels.cupy:
        pytest.skip("writes outside an array on purpose")
    with pytest.raises(AssertionError, match="wrote after"):
        kernels("sum_parts", "float32", 5, 1, np.ones(5, np.float32), Out((4,)))
