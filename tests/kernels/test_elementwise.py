"""Sums of float32 parts in order; one part is a cast, which rounds to nearest, ties to even, over the whole range."""

import numpy as np

from tests.kernels.harness import Out


def test_cast(kernels, dtype):
    rng = np.random.default_rng(0)
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, 65504, 65519.9, 65520, 1e-8, 6e-8, 3.4e38, 2.0**-149]
    ties = (1 + np.arange(64) / 2**12) * 2.0 ** rng.integers(-14, 15, 64)  # halfway in float16 and bfloat16
    wide = rng.integers(0, 2**32, 4000, dtype=np.uint32).view(np.float32)  # every exponent
    x = np.concatenate([np.array(special, np.float32), ties.astype(np.float32), wide])
    with np.errstate(over="ignore", invalid="ignore"):
        wanted = x.astype(dtype)
        (out,) = kernels("sum_parts", dtype.name, x.size, 1, x, Out(x.shape, dtype))
        assert np.array_equal(out.astype(np.float32), wanted.astype(np.float32), equal_nan=True)
        assert (np.signbit(out.astype(np.float32)) == np.signbit(wanted.astype(np.float32)))[~np.isnan(x)].all()


def test_parts_are_added_in_order(kernels, dtype):
    parts = np.random.default_rng(0).standard_normal((5, 300)).astype(np.float32)
    (out,) = kernels("sum_parts", dtype.name, 300, 5, parts, Out((300,), dtype))
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    assert np.array_equal(out, total.astype(dtype))
