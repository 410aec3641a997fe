"""Conversions between the 16-bit floats and float32, over every bit pattern. A product with K = 1 is one
multiplication in float32 and one rounding."""

import numpy as np
import pytest

from tests.cpu.conftest import CPU_DTYPES
from tests.kernels.harness import Out

NARROW = ["float16", "bfloat16"]


def every_value(dtype):
    return np.arange(2**16, dtype=np.uint16).view(dtype)


def products(kernels, dtype, factors):
    """(65536, len(factors)): every value of dtype times each factor, rounded once."""
    column, row = every_value(dtype), np.asarray(factors, dtype)
    sizes = (column.size, row.size, 1, 1)
    return kernels("gemm", dtype.name, False, False, *sizes, column, 1, 0, row, row.size, 0, Out(sizes[:2], dtype))[0]


def same(a, b):
    """Bit for bit, but for the payload of a NaN, and the sign of a zero, which a sum that starts at +0 loses."""
    with np.errstate(invalid="ignore"):
        nan, zero = np.isnan(b), b == 0
        kinds = (np.isnan(a) == nan) & ((a == 0) == zero)
    numbers = ~(nan | zero)
    return kinds.all() and (a.view(np.uint16)[numbers] == b.view(np.uint16)[numbers]).all()


@pytest.mark.parametrize("name", NARROW)
def test_every_value_survives(kernels, name):
    dtype = CPU_DTYPES[name]
    assert same(products(kernels, dtype, [1])[:, 0], every_value(dtype))


@pytest.mark.parametrize("name", NARROW)
def test_rounding_to_nearest_even(kernels, name):
    """Halves and quarters of subnormals tie; large factors overflow to infinity; the others hit every kind of bit."""
    dtype = CPU_DTYPES[name]
    factors = np.array([0.5, -0.25, 1.5, 0.75, 3, 1.0078125, -1.0234375, 0.0009765625, 2.0**-14, 1024, 5000, 0], dtype)
    with np.errstate(all="ignore"):
        wanted = (every_value(dtype).astype(np.float32)[:, None] * factors.astype(np.float32)).astype(dtype)
    assert same(products(kernels, dtype, factors), wanted)
    assert np.isinf(wanted).sum() > 2


@pytest.mark.parametrize("name", NARROW)
def test_sums_that_tie(kernels, name):
    """K = 2: a value plus a half or a quarter of its last place; ties go to even, what is beyond a tie does not."""
    dtype = CPU_DTYPES[name]
    unit = 2.0 ** -(10 if name == "float16" else 7)
    values = 1 + unit * np.arange(int(1 / unit))
    a = np.stack([values, np.full_like(values, unit)], axis=1).astype(dtype)
    b = np.array([[1, 1, 1, 1], [0.5, 0.25, 0.75, -0.5]], dtype)
    sizes = (len(a), 4, 2, 1)
    (out,) = kernels("gemm", name, False, False, *sizes, a, 2, 0, b, 4, 0, Out(sizes[:2], dtype))
    assert same(out, (a.astype(np.float32) @ b.astype(np.float32)).astype(dtype))


@pytest.mark.parametrize("name", NARROW)
def test_loops_that_round_in_place(kernels, name):
    """Batch norm with scale one converts element by element in its own loop."""
    dtype = CPU_DTYPES[name]
    x = every_value(dtype)
    zero, one = np.zeros(1, np.float32), np.ones(1, np.float32)
    (y,) = kernels("batch_norm_fwd", name, 1, 1, x.size, x, zero, one, one, zero, 0.0, 0, False, Out(x.shape, dtype))
    assert same(y, x)
