"""GELU and its slope: both forms over the whole range of each dtype, where probabilities are tiny too."""

from math import erfc, sqrt

import numpy as np
import pytest

from tests.kernels.harness import Out
from tests.tolerance import check

UNITS = 64  # terms that stand for the few units in the last place of expf and normcdff: 16 half units


def reference(x, tanh):
    """(y, slope, the larger of slope's two terms) in float64."""
    if tanh:
        u = sqrt(8 / np.pi) * (x + 0.044715 * x**3)
        share = np.where(u < 0, np.exp(-np.abs(u)), 1) / (1 + np.exp(-np.abs(u)))
        density = np.exp(-np.abs(u)) / (1 + np.exp(-np.abs(u))) ** 2 * sqrt(8 / np.pi) * (1 + 3 * 0.044715 * x * x)
    else:
        share = np.array([0.5 * erfc(-v / sqrt(2)) for v in x])
        density = np.exp(-0.5 * x * x) / sqrt(2 * np.pi)
    return x * share, share + x * density, np.maximum(share, np.abs(x) * density)


@pytest.mark.parametrize("tanh", [False, True])
def test_values_and_slopes(kernels, tanh, dtype):
    x = np.concatenate([np.linspace(-6, 6, 1001), [0.0, 1e-6, -1e-6, 100, -100]]).astype(dtype)
    y, slope = kernels("gelu", dtype.name, tanh, x.size, x, Out(x.shape, dtype), Out(x.shape, dtype))
    exact = x.astype(np.float64)
    ref, ref_slope, magnitude = reference(exact, tanh)
    # An exponential of t carries the rounding of t: |t| units.
    check(y, ref, np.abs(ref) * (1 + exact**2), UNITS)
    check(slope, ref_slope, magnitude * (1 + exact**2), UNITS)


@pytest.mark.parametrize("tanh", [False, True])
def test_largest_numbers_and_nan(kernels, tanh, dtype):
    largest = 6e4 if dtype == np.float16 else 3e38
    x = np.array([largest, -largest, np.nan], dtype)
    y, slope = kernels("gelu", dtype.name, tanh, 3, x, Out((3,), dtype), Out((3,), dtype))
    assert np.array_equal(y, np.array([x[0], 0, np.nan], dtype), equal_nan=True)
    assert np.array_equal(slope, np.array([1, 0, np.nan], dtype), equal_nan=True)


@pytest.mark.parametrize("count", [0, 1, 4096, 10_001])
def test_counts_without_a_slope(kernels, count):
    x = np.random.default_rng(0).standard_normal(count).astype(np.float32)
    (y,) = kernels("gelu", "float32", False, count, x, Out((count,)), 0)
    check(y, reference(x.astype(np.float64), False)[0], np.abs(x), UNITS)
