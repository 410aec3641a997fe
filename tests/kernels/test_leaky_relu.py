"""Leaky ReLU, and ReLU where the slope is 0: values, the mark of what is positive, gradients, infinity and NaN."""

import numpy as np
import pytest

from tests.kernels.harness import Out
from tests.tolerance import check

SLOPES = [0.0, 0.01, -0.5, 3.0]


def numbers(dtype, count=1001):
    return np.random.default_rng(0).standard_normal(count).astype(dtype)


@pytest.mark.parametrize("slope", SLOPES)
def test_forward_and_backward(kernels, slope, dtype):
    x, dy = numbers(dtype), numbers(dtype)[::-1].copy()
    x[:3] = 0, 1e-6, -1e-6
    count = x.size
    y, positive = kernels("leaky_relu_fwd", dtype.name, slope, count, x, Out(x.shape, dtype), Out(x.shape, np.uint8))
    exact = x.astype(np.float64)
    ref = np.where(exact > 0, exact, slope * exact)
    check(y, ref, np.abs(ref), 1)
    assert np.array_equal(positive, exact > 0)
    (dx,) = kernels("leaky_relu_bwd", dtype.name, slope, count, dy, positive, Out(x.shape, dtype))
    ref = dy.astype(np.float64) * np.where(exact > 0, 1, slope)
    check(dx, ref, np.abs(ref), 1)


@pytest.mark.parametrize("slope", SLOPES)
def test_infinity_and_nan(kernels, slope, dtype):
    x = np.array([np.inf, -np.inf, np.nan], dtype)
    y, positive = kernels("leaky_relu_fwd", dtype.name, slope, 3, x, Out((3,), dtype), Out((3,), np.uint8))
    low = slope * -np.inf if slope else 0
    assert np.array_equal(y, np.array([np.inf, low, np.nan], dtype), equal_nan=True)
    assert positive.tolist() == [1, 0, 0]
    (dx,) = kernels("leaky_relu_bwd", dtype.name, slope, 3, x, np.zeros(3, np.uint8), Out((3,), dtype))
    wanted = [slope * np.inf, low, np.nan] if slope else [0, 0, 0]
    assert np.array_equal(dx, np.array(wanted, dtype), equal_nan=True)


@pytest.mark.parametrize("count", [0, 1, 4096, 10_001])
def test_counts_without_a_mark(kernels, count):
    x = numbers(np.float32, count)
    (y,) = kernels("leaky_relu_fwd", "float32", 0.0, count, x, Out((count,)), 0)
    assert np.array_equal(y, np.maximum(x, 0))
