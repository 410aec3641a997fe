"""Softmax and log-softmax, both directions: few and many columns, large values, several thread orders."""

import numpy as np
import pytest

from tests.kernels.harness import Out
from tests.tolerance import check

SIZES = [(1, 1), (3, 10), (9, 33), (2, 1000), (2, 5000), (1000, 3)]
EXP = 16  # terms that stand for the few units in the last place of expf and logf


def references(x, log):
    """y in float64, and the magnitude that its rounding errors scale with."""
    shifted = x - x.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    if log:
        return shifted - log_sum, np.abs(shifted) + np.abs(log_sum) + 1
    y = np.exp(shifted - log_sum)
    return y, y * (1 + np.abs(shifted))


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("sizes", SIZES)
def test_forward(kernels, sizes, log, dtype):
    x = (3 * np.random.default_rng(0).standard_normal(sizes)).astype(dtype)
    (y,) = kernels("softmax_fwd", dtype.name, log, *sizes, x, Out(sizes, dtype))
    check(y, *references(x.astype(np.float64), log), sizes[1] + EXP)


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("sizes", SIZES)
def test_backward(kernels, sizes, log, dtype):
    rng = np.random.default_rng(0)
    y = references(3 * rng.standard_normal(sizes), log)[0].astype(dtype)
    dy = rng.standard_normal(sizes).astype(dtype)
    (dx,) = kernels("softmax_bwd", dtype.name, log, *sizes, y, dy, Out(sizes, dtype))
    y, dy = y.astype(np.float64), dy.astype(np.float64)
    if log:
        wanted = dy - np.exp(y) * dy.sum(axis=1, keepdims=True)
        magnitude = np.abs(dy) + np.exp(y) * (1 + np.abs(y)) * np.abs(dy).sum(axis=1, keepdims=True)
    else:
        wanted = y * (dy - (y * dy).sum(axis=1, keepdims=True))
        magnitude = np.abs(y) * (np.abs(dy) + np.abs(y * dy).sum(axis=1, keepdims=True))
    check(dx, wanted, magnitude, sizes[1] + EXP)


def test_large_values(kernels, dtype):
    x = np.array([[6e4, 6e4, -6e4, 0], [-6e4, -6e4, -6e4, -6e4]], dtype)
    (y,) = kernels("softmax_fwd", dtype.name, False, 2, 4, x, Out((2, 4), dtype))
    assert np.array_equal(y, np.array([[0.5, 0.5, 0, 0], [0.25] * 4]))


def test_nan_stays_in_its_row(kernels):
    x = np.zeros((3, 40), np.float32)
    x[1, 5] = np.nan
    (y,) = kernels("softmax_fwd", "float32", False, 3, 40, x, Out((3, 40)))
    assert np.isnan(y[1]).all()
    assert np.isfinite(y[[0, 2]]).all()


def test_same_bits_in_any_thread_order(kernels, dtype):
    x = np.random.default_rng(0).standard_normal((5, 700)).astype(dtype)
    runs = []
    for seed in range(5):
        kernels.seed(seed)
        runs.append(kernels("softmax_fwd", dtype.name, True, 5, 700, x, Out((5, 700), dtype))[0].tobytes())
    assert len(set(runs)) == 1


def test_nothing_to_do(kernels):
    for sizes in ((0, 5), (5, 0)):
        kernels("softmax_fwd", "float32", False, *sizes, np.zeros(0, np.float32), Out((0,)))
    with pytest.raises(ValueError, match="softmax_fwd: sizes must not be negative"):
        kernels("softmax_fwd", "float32", False, -1, 5, np.zeros(0, np.float32), Out((0,)))
