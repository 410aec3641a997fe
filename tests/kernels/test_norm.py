"""Batch normalisation: statistics (also with a mean far above the deviation), forward, gradient."""

import numpy as np
import pytest

from tests.kernels.harness import Out
from tests.tolerance import check

SIZES = [(2, 3, 1), (5, 2, 7), (4, 9, 150), (1, 1, 2000), (64, 10, 1)]
EPS = 1e-5
ROUNDINGS = 16  # of the few operations after a sum


def channel(values):
    return values.reshape(1, -1, 1)


@pytest.mark.parametrize("offset", [0, 1000])
@pytest.mark.parametrize("sizes", SIZES)
def test_stats(kernels, sizes, offset, dtype):
    x = (offset + np.random.default_rng(0).standard_normal(sizes)).astype(dtype)
    mean, var = kernels("batch_norm_stats", dtype.name, *sizes, x, Out((sizes[1],)), Out((sizes[1],)))
    x = x.astype(np.float64)
    wanted = x.mean(axis=(0, 2))
    spread = np.abs(x - channel(wanted)).mean(axis=(0, 2))
    check(mean, wanted, spread, sizes[0] * sizes[2])
    check(var, x.var(axis=(0, 2)), x.var(axis=(0, 2)), sizes[0] * sizes[2])


@pytest.fixture
def parts(request, dtype):
    """x, dy, mean, var, weight, bias; the four last float32."""
    sizes, rng = request.param, np.random.default_rng(0)
    x, dy = (rng.standard_normal(sizes).astype(dtype) for _ in range(2))
    wide = x.astype(np.float64)
    mean, var = wide.mean(axis=(0, 2)).astype(np.float32), wide.var(axis=(0, 2)).astype(np.float32)
    weight, bias = (rng.standard_normal(sizes[1]).astype(np.float32) for _ in range(2))
    return x, dy, mean, var, weight, bias


@pytest.mark.parametrize("parts", SIZES, indirect=True)
def test_forward(kernels, parts, dtype):
    x, _, mean, var, weight, bias = parts
    (y,) = kernels("batch_norm_fwd", dtype.name, *x.shape, x, mean, var, weight, bias, EPS, Out(x.shape, dtype))
    x, mean, var, weight, bias = (a.astype(np.float64) for a in (x, mean, var, weight, bias))
    scaled = (x - channel(mean)) / channel(np.sqrt(var + EPS)) * channel(weight)
    check(y, scaled + channel(bias), np.abs(scaled) + channel(np.abs(bias)), ROUNDINGS)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("parts", SIZES, indirect=True)
def test_backward(kernels, parts, training, dtype):
    x, dy, mean, var, weight, _ = parts
    C, count = x.shape[1], x.shape[0] * x.shape[2]
    inputs = (dtype.name, training, *x.shape, x, dy, mean, var, weight, EPS)
    dx, dweight, dbias = kernels("batch_norm_bwd", *inputs, Out(x.shape, dtype), Out((C,)), Out((C,)))
    only = kernels("batch_norm_bwd", *inputs, 0, Out((C,)), Out((C,)))  # dx not wanted
    assert np.array_equal(only[0], dweight) and np.array_equal(only[1], dbias)

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


def test_same_bits_in_any_thread_order(kernels, dtype):
    sizes = (3, 4, 300)
    x = np.random.default_rng(0).standard_normal(sizes).astype(dtype)
    runs = []
    for seed in range(5):
        kernels.seed(seed)
        outputs = kernels("batch_norm_stats", dtype.name, *sizes, x, Out((4,)), Out((4,)))
        runs.append(b"".join(out.tobytes() for out in outputs))
    assert len(set(runs)) == 1


def test_an_empty_batch(kernels):
    x, four = np.zeros((0, 4, 9), np.float32), np.ones(4, np.float32)
    kernels("batch_norm_fwd", "float32", *x.shape, x, four, four, four, four, EPS, Out(x.shape))
    inputs = ("float32", True, *x.shape, x, x, four, four, four, EPS)
    _, dweight, dbias = kernels("batch_norm_bwd", *inputs, Out(x.shape), Out((4,)), Out((4,)))
    assert (dweight == 0).all() and (dbias == 0).all()
