"""ELU and its slope: over the whole range of each dtype, near zero where a difference would lose digits, and NaN."""

import numpy as np
import pytest

from tests.kernels.harness import Out
from tests.tolerance import check

UNITS = 64  # terms that stand for the few units in the last place of an exponential: 16 half units


@pytest.mark.parametrize("alpha", [1.0, 0.6])
def test_values_and_slopes(kernels, alpha, dtype):
    near = np.geomspace(1e-30, 1, 200)
    x = np.concatenate([np.linspace(-20, 3, 1001), -near, near, [0.0, -80, 100]]).astype(dtype)
    y, slope = kernels("elu", dtype.name, alpha, x.size, x, Out(x.shape, dtype), Out(x.shape, dtype))
    exact = x.astype(np.float64)
    ref = np.where(exact > 0, exact, alpha * np.expm1(np.minimum(exact, 0)))
    check(y, ref, np.abs(ref), UNITS)
    ref = np.where(exact > 0, 1, alpha * np.exp(np.minimum(exact, 0)))
    check(slope, ref, np.abs(ref), UNITS)


def test_infinity_and_nan(kernels, dtype):
    x = np.array([np.inf, -np.inf, np.nan], dtype)
    y, slope = kernels("elu", dtype.name, 0.5, 3, x, Out((3,), dtype), Out((3,), dtype))
    assert np.array_equal(y, np.array([np.inf, -0.5, np.nan], dtype), equal_nan=True)
    assert np.array_equal(slope, np.array([1, 0, np.nan], dtype), equal_nan=True)


@pytest.mark.parametrize("count", [0, 1, 4096, 10_001])
def test_counts_without_a_slope(kernels, count):
    x = np.random.default_rng(0).standard_normal(count).astype(np.float32)
    (y,) = kernels("elu", "float32", 1.0, count, x, Out((count,)), 0)
    exact = x.astype(np.float64)
    ref = np.where(exact > 0, exact, np.expm1(exact))
    check(y, ref, np.abs(ref), UNITS)
