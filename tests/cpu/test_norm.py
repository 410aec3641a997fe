"""Batch norm: the kernels' tests, float64, and statistics with a mean far above the deviation."""

import numpy as np
import pytest

from tests.cpu.conftest import CPU_DTYPES
from tests.kernels.harness import Out
from tests.kernels.test_norm import (  # noqa: F401
    parts,
    test_an_empty_batch,
    test_backward,
    test_forward,
    test_nan_behind_a_relu,
    test_no_channels,
    test_no_place_for_the_gradient_behind_a_relu,
    test_same_bits_in_any_thread_order,
    test_stats,
)


@pytest.fixture(params=["float32", "float16", "bfloat16"])
def dtype(request):
    return CPU_DTYPES[request.param]


@pytest.mark.parametrize("sizes", [(3, 4, 50), (150, 4, 1)])
@pytest.mark.parametrize("training", [False, True])
def test_float64(kernels, training, sizes):
    rng, wide = np.random.default_rng(0), np.float64
    N, C, HW = sizes
    x, dy = rng.standard_normal(sizes), rng.standard_normal(sizes)
    weight, bias = rng.standard_normal(C), rng.standard_normal(C)
    mean, var = kernels.batch_norm("stats", "float64", *sizes, x, Out((C,), wide), Out((C,), wide))
    assert np.allclose(mean, x.mean(axis=(0, 2)), rtol=1e-14, atol=1e-15)
    assert np.allclose(var, x.var(axis=(0, 2)), rtol=1e-14)
    (y,) = kernels("batch_norm_fwd", "float64", *sizes, x, mean, var, weight, bias, 1e-5, 0, False, Out(sizes, wide))
    scale = (weight / np.sqrt(var + 1e-5))[:, None]
    assert np.allclose(y, (x - mean[:, None]) * scale + bias[:, None], rtol=1e-13, atol=1e-14)

    outs = Out(sizes, wide), Out((C,), wide), Out((C,), wide)
    inputs = ("float64", training, *sizes, x, dy, 0, mean, var, weight, 1e-5, 0)
    dx, dweight, dbias = kernels.batch_norm("bwd", *inputs, *outs)
    normal = (x - mean[:, None]) / np.sqrt(var + 1e-5)[:, None]
    assert np.allclose(dbias, dy.sum(axis=(0, 2)), rtol=1e-13)
    assert np.allclose(dweight, (dy * normal).sum(axis=(0, 2)), rtol=1e-13)
    if training:
        dy = dy - dbias[:, None] / (N * HW) - normal * dweight[:, None] / (N * HW)
    assert np.allclose(dx, dy * scale, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("sizes", [(4, 2, 5000), (20000, 2, 1), (3000, 20, 1)])
def test_a_mean_far_above_the_deviation(kernels, sizes):
    """E[x^2] - E[x]^2 would lose every digit here: 1e4 squared is 1e8, and float32 keeps 7 digits."""
    x = (1e4 + np.random.default_rng(0).standard_normal(sizes)).astype(np.float32)
    mean, var = kernels.batch_norm("stats", "float32", *x.shape, x, *2 * [Out(sizes[1:2])])
    wide = x.astype(np.float64)
    assert np.allclose(mean, wide.mean(axis=(0, 2)), rtol=2**-23)
    assert np.allclose(var, wide.var(axis=(0, 2)), rtol=2**-22)


def test_statistics_of_nothing(kernels):
    with pytest.raises(ValueError, match=r"batch_norm_stats: takes at least 1 .*but came \(N 0, C 2, HW 5\)"):
        kernels.batch_norm("stats", "float32", 0, 2, 5, np.zeros(0, np.float32), Out((2,)), Out((2,)))
