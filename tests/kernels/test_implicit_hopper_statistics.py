"""Mean and variance of a convolution's output, as implicit_hopper takes them from its tiles."""

from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpucnn.conv.shape import ConvShape
from gpucnn.layout import from_memory, in_memory
from tests.cases import operands
from tests.kernels.harness import Out
from tests.tolerance import LIMIT, check

HALF = {"float16": np.dtype(np.float16), "bfloat16": np.dtype(ml_dtypes.bfloat16)}
SHAPES = {  # of as many images as the device has multiprocessors, but for the last: here two
    "narrow": ConvShape(2, 8, 9, 16, 136, 1, 1),  # two tiles of filters; 32 positions in the last of three
    "wide": ConvShape(2, 8, 14, 13, 392, 4, 4),  # one and a half of filters, 92 positions in the last
    "few": ConvShape(1, 3, 2, 3, 3, 1, 1),
}
halves = pytest.mark.parametrize("name", HALF)


def shape_on(kernels, which, channels_last):
    shape = replace(SHAPES[which], channels_last=channels_last)
    return shape if which == "few" else replace(shape, N=kernels.multiprocessors())


def fwd_statistics(kernels, shape, name, x, w, best=True):
    """y, mean and var; with the least workspace, image by image."""
    if not kernels.lib.implicit_hopper_available():
        pytest.skip("implicit_hopper needs a GPU of compute capability 9.0")
    size = kernels.lib.conv_implicit_hopper_workspace(shape, name, "fwd_statistics")[best]
    filters = Out((kernels.lib.conv_implicit_hopper_filters_bytes(shape, name, "fwd"),), np.uint8)
    (filters,) = kernels("conv_implicit_hopper_filters", shape, name, "fwd", w, filters)
    x = in_memory(x, shape.channels_last)
    y = Out(in_memory(np.empty(shape.y), shape.channels_last).shape, w.dtype)
    outs = y, Out((shape.K,)), Out((shape.K,)), Out((size,), np.uint8)
    y, mean, var, _ = kernels("conv_implicit_hopper_fwd_statistics", shape, name, x, filters, *outs, size)
    return from_memory(y, shape.channels_last), mean, var


def check_statistics(y, mean, var, worse=1):
    """Against the rounded outputs, as those of batch_norm_stats; `worse` by a factor."""
    y = y.astype(np.float64)
    wanted, count = y.mean((0, 2, 3)), y[:, 0].size
    check(mean, wanted, abs(y - wanted.reshape(1, -1, 1, 1)).mean((0, 2, 3)), count, worse * LIMIT)
    check(var, y.var((0, 2, 3)), y.var((0, 2, 3)), count, worse * LIMIT)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("which", SHAPES)
@halves
def test_statistics(kernels, name, which, channels_last):
    shape = shape_on(kernels, which, channels_last)
    x, w = operands(shape, "fwd", HALF[name])
    y, mean, var = fwd_statistics(kernels, shape, name, x, w)
    assert np.array_equal(y, kernels.conv("implicit_hopper", "fwd", shape, name, x, w))
    check_statistics(y, mean, var)


@halves
def test_a_mean_far_above_the_deviation(kernels, name):
    """100 and 0.1, of which the storage keeps little."""
    shape = ConvShape(3, 8, 9, 16, 40, 1, 1)
    x, w = operands(shape, "fwd", HALF[name])
    x[:, 0], w[:, 0], w[:, 1:] = 1, 100, 0
    w[:, 1] = 0.1
    y, mean, var = fwd_statistics(kernels, shape, name, x, w)
    check_statistics(y, mean, var)
    assert (abs(mean - 100) < 0.1).all() and (var < 0.1).all() and var.any()


def test_a_first_output_far_from_the_others(kernels):
    """The worst case: its square counts as often as a tile has positions, and takes its roundings along."""
    shape = ConvShape(2, 8, 9, 16, 40, 1, 1)
    x, w = operands(shape, "fwd", HALF["float16"])
    x[0, :, 0, 0] *= 1000
    check_statistics(*fwd_statistics(kernels, shape, "float16", x, w), worse=128)


@pytest.mark.parametrize("channels_last", [False, True])
def test_the_same_bits_in_any_thread_order(kernels, channels_last):
    shape = shape_on(kernels, "narrow", channels_last)
    x, w = operands(shape, "fwd", HALF["float16"])
    runs = set()
    for seed in range(5):
        kernels.seed(seed)
        runs.add(b"".join(out.tobytes() for out in fwd_statistics(kernels, shape, "float16", x, w)))
    assert len(runs) == 1


def test_images_one_at_a_time(kernels):
    """Each begins a tile; the bits of y stay."""
    shape = ConvShape(3, 9, 11, 13, 40, 2, 2)
    x, w = operands(shape, "fwd", HALF["bfloat16"])
    results = [fwd_statistics(kernels, shape, "bfloat16", x, w, best) for best in (True, False)]
    assert np.array_equal(results[0][0], results[1][0])
    for y, mean, var in results:
        check_statistics(y, mean, var)


def test_a_nan_stays_in_its_channel(kernels):
    shape = SHAPES["narrow"]
    x, w = operands(shape, "fwd", HALF["float16"])
    w[77, 3] = np.nan
    _, mean, var = fwd_statistics(kernels, shape, "float16", x, w)
    for statistics in (mean, var):
        assert np.flatnonzero(np.isnan(statistics)).tolist() == [77]


def test_an_empty_batch_has_none(kernels):
    shape = replace(SHAPES["few"], N=0)
    x, w = operands(shape, "fwd", HALF["float16"])
    _, mean, var = fwd_statistics(kernels, shape, "float16", x, w)
    assert np.isnan(mean).all() and np.isnan(var).all()


def test_too_small_a_workspace(kernels):
    shape = SHAPES["narrow"]
    least = kernels.lib.conv_implicit_hopper_workspace(shape, "float16", "fwd_statistics")[0]
    tiles = 2 * 2  # of 144 positions, image by image
    assert least == kernels.lib.conv_implicit_hopper_workspace(shape, "float16", "fwd")[0] + tiles * 3 * 136 * 4
    with pytest.raises(ValueError, match=f"at least {least} bytes, but has {least - 1}"):
        kernels.lib.conv_implicit_hopper_fwd_statistics(shape, "float16", 0, 0, 0, 0, 0, 0, least - 1, 0)


@settings(max_examples=25, deadline=None)
@given(
    positions=st.integers(1, 30000),
    parts=st.integers(1, 5),
    filters=st.integers(1, 70),
    offset=st.sampled_from([0, 1000]),
    seed=st.integers(0, 9),
)
def test_merged_tiles(kernels, positions, parts, filters, offset, seed):
    values = (offset + np.random.default_rng(seed).standard_normal((positions, filters))).astype(np.float16)
    values = values.astype(np.float64)
    at_once = -(-positions // parts)
    tiles = [
        values[at : min(at + 128, start + at_once)]
        for start in range(0, positions, at_once)
        for at in range(start, min(start + at_once, positions), 128)
    ]
    apart = [tile - tile[0] for tile in tiles]
    rows = [(tile[0], d.sum(0), (d**2).sum(0)) for tile, d in zip(tiles, apart, strict=True)]
    statistics = np.array(rows, np.float32)
    mean, var = kernels("merge_statistics", positions, at_once, filters, statistics, Out((filters,)), Out((filters,)))
    check_statistics(values.T.reshape(1, filters, positions, 1), mean, var)
