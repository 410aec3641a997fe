"""Batch normalisation: statistics (also with a mean far above the deviation), forward, gradient, the ends."""

import numpy as np
import pytest

from tests.kernels.harness import Out
from tests.tolerance import check

# HW = 1: one, two and more channels a thread, parts of several rows each, more channels than a block takes.
ROWS = [(2, 3, 1), (64, 10, 1), (700, 1, 1), (300, 70, 1)]
SIZES = [(5, 2, 7), (4, 9, 150), (1, 1, 2000), *ROWS]
EPS = 1e-5
ROUNDINGS = 16  # of the few operations after a sum


def channel(values):
    return values.reshape(1, -1, 1)


@pytest.mark.parametrize("offset", [0, 1000])
@pytest.mark.parametrize("sizes", SIZES)
def test_stats(kernels, sizes, offset, dtype):
    x = (offset + np.random.default_rng(0).standard_normal(sizes)).astype(dtype)
    mean, var = kernels.batch_norm("stats", dtype.name, *sizes, x, Out((sizes[1],)), Out((sizes[1],)))
    x = x.astype(np.float64)
    wanted = x.mean(axis=(0, 2))
    spread = np.abs(x - channel(wanted)).mean(axis=(0, 2))
    check(mean, wanted, spread, sizes[0] * sizes[2])
    check(var, x.var(axis=(0, 2)), x.var(axis=(0, 2)), sizes[0] * sizes[2])


def make_parts(sizes, dtype):
    """x, dy, mean, var, weight, bias; the four last float32."""
    rng = np.random.default_rng(0)
    x, dy = (rng.standard_normal(sizes).astype(dtype) for _ in range(2))
    wide = x.astype(np.float64)
    mean, var = wide.mean(axis=(0, 2)).astype(np.float32), wide.var(axis=(0, 2)).astype(np.float32)
    weight, bias = (rng.standard_normal(sizes[1]).astype(np.float32) for _ in range(2))
    return x, dy, mean, var, weight, bias


@pytest.fixture
def parts(request, dtype):
    return make_parts(request.param, dtype)


ENDS = pytest.mark.parametrize(("added", "relu"), [(False, False), (True, False), (False, True), (True, True)])


@ENDS
@pytest.mark.parametrize("parts", SIZES, indirect=True)
def test_forward(kernels, parts, dtype, added, relu):
    x, residual, mean, var, weight, bias = parts
    ends = residual if added else 0, relu
    (y,) = kernels("batch_norm_fwd", dtype.name, *x.shape, x, mean, var, weight, bias, EPS, *ends, Out(x.shape, dtype))
    x, residual, mean, var, weight, bias = (a.astype(np.float64) for a in (x, residual, mean, var, weight, bias))
    scaled = (x - channel(mean)) / channel(np.sqrt(var + EPS)) * channel(weight)
    wanted = scaled + channel(bias) + added * residual
    magnitude = np.abs(scaled) + channel(np.abs(bias)) + added * np.abs(residual)
    check(y, np.maximum(wanted, 0) if relu else wanted, magnitude, ROUNDINGS)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("parts", SIZES, indirect=True)
def test_backward(kernels, parts, training, relu, dtype):
    x, dy, mean, var, weight, _ = parts
    C, count = x.shape[1], x.shape[0] * x.shape[2]
    y = np.random.default_rng(1).integers(-1, 2, x.shape).astype(dtype) if relu else 0  # zeros are not behind a ReLU
    inputs = (dtype.name, training, *x.shape, x, dy, y, mean, var, weight, EPS)
    outs = Out(x.shape, dtype) if relu else 0, Out(x.shape, dtype), Out((C,)), Out((C,))
    *masked, dx, dweight, dbias = kernels.batch_norm("bwd", *inputs, *outs)
    only = kernels.batch_norm("bwd", *inputs, outs[0], 0, Out((C,)), Out((C,)))  # dx not wanted
    assert np.array_equal(only[-2], dweight) and np.array_equal(only[-1], dbias)
    if relu:
        dy = np.where(y > 0, dy, dtype.type(0))
        assert np.array_equal(masked[0], dy) and np.array_equal(only[0], dy)

    x, dy, mean, var, weight = (a.astype(np.float64) for a in (x, dy, mean, var, weight))
    deviation = np.sqrt(var + EPS)
    normal = (x - channel(mean)) / channel(deviation)
    check(dbias, dy.sum(axis=(0, 2)), np.abs(dy).sum(axis=(0, 2)), count)
    check(dweight, (dy * normal).sum(axis=(0, 2)), np.abs(dy * normal).sum(axis=(0, 2)), count + ROUNDINGS)
    scale = channel(weight / deviation)
    wanted, magnitude = dy * scale, np.abs(dy * scale)
    if training:
        along = channel((dy * normal).mean(axis=(0, 2)))
        wanted = scale * (dy - channel(dy.mean(axis=(0, 2))) - normal * along)
        sums = np.abs(dy).mean(axis=(0, 2)), np.abs(dy * normal).mean(axis=(0, 2))
        magnitude = np.abs(scale) * (np.abs(dy) + channel(sums[0]) + np.abs(normal) * channel(sums[1]))
    check(dx, wanted, magnitude, count + ROUNDINGS)


def test_nan_behind_a_relu(kernels):
    """Forward keeps it; its gradient is 0, as that of ``relu``."""
    x, one, zero = np.array([[[np.nan, -1, 2]]], np.float32), np.ones(1, np.float32), np.zeros(1, np.float32)
    (y,) = kernels("batch_norm_fwd", "float32", 1, 1, 3, x, zero, one, one, zero, 0.0, 0, True, Out(x.shape))
    assert np.array_equal(y, [[[np.nan, 0, 2]]], equal_nan=True)
    inputs = ("float32", False, 1, 1, 3, zero + np.ones_like(x), np.ones_like(x), y, zero, one, one, 0.0)
    masked, *_ = kernels.batch_norm("bwd", *inputs, Out(x.shape), 0, Out((1,)), Out((1,)))
    assert np.array_equal(masked, [[[0, 0, 1]]])


def test_no_place_for_the_gradient_behind_a_relu(kernels):
    x, one = np.ones((1, 1, 3), np.float32), np.ones(1, np.float32)
    inputs = ("float32", False, 1, 1, 3, x, x, x, one, one, one, 0.0)
    with pytest.raises(ValueError, match=r"batch_norm_bwd: behind a ReLU"):
        kernels.batch_norm("bwd", *inputs, 0, 0, Out((1,)), Out((1,)))


@pytest.mark.parametrize("sizes", [(3, 4, 300), (700, 4, 1)])
def test_same_bits_in_any_thread_order(kernels, sizes, dtype):
    x = np.random.default_rng(0).standard_normal(sizes).astype(dtype)
    runs = []
    for seed in range(5):
        kernels.seed(seed)
        outputs = kernels.batch_norm("stats", dtype.name, *sizes, x, Out((4,)), Out((4,)))
        runs.append(b"".join(out.tobytes() for out in outputs))
    assert len(set(runs)) == 1


@pytest.mark.parametrize("pixels", [9, 1])
def test_an_empty_batch(kernels, pixels):
    x, four = np.zeros((0, 4, pixels), np.float32), np.ones(4, np.float32)
    kernels("batch_norm_fwd", "float32", *x.shape, x, four, four, four, four, EPS, 0, False, Out(x.shape))
    inputs = ("float32", True, *x.shape, x, x, 0, four, four, four, EPS, 0)
    _, dweight, dbias = kernels.batch_norm("bwd", *inputs, Out(x.shape), Out((4,)), Out((4,)))
    assert (dweight == 0).all() and (dbias == 0).all()


def test_no_channels(kernels):
    """A matrix (5, 0) has no statistics, no result and no gradient."""
    x, none = np.zeros((5, 0, 1), np.float32), np.zeros(0, np.float32)
    kernels.batch_norm("stats", "float32", *x.shape, x, none, none)
    kernels("batch_norm_fwd", "float32", *x.shape, x, none, none, none, none, EPS, 0, False, none)
    kernels.batch_norm("bwd", "float32", True, *x.shape, x, x, 0, none, none, none, EPS, 0, none, none, none)


def test_too_small_a_workspace(kernels):
    """Where one is needed."""
    size = kernels.lib.batch_norm_workspace(64, 4, 1)
    if not size:
        pytest.skip("needs none")
    x = np.zeros((64, 4), np.float32)
    with pytest.raises(ValueError, match=rf"batch_norm_stats: needs a workspace of {size} bytes, but has {size - 1}"):
        kernels("batch_norm_stats", "float32", 64, 4, 1, x, Out((4,)), Out((4,)), Out((size,), np.uint8), size - 1)
