"""Softmax cross-entropy and its gradient in one pass: weights, smoothing, few and many columns, large values."""

import numpy as np
import pytest

from tests.kernels.harness import Out
from tests.tolerance import check

SIZES = [(1, 1), (3, 10), (9, 33), (2, 1000), (2, 5000), (1000, 3)]
EXP = 16  # terms that stand for the few units in the last place of expf and logf


def wide(dtype):
    return np.dtype(np.float64 if dtype == np.float64 else np.float32)


def operands(sizes, dtype, weighted):
    rng = np.random.default_rng(0)
    x = (3 * rng.standard_normal(sizes)).astype(dtype)
    weight = rng.uniform(0.5, 2, sizes[1]).astype(wide(dtype)) if weighted else 0
    return x, rng.integers(0, sizes[1], sizes[0]), weight


def reference(x, labels, weight, smoothing):
    """(loss, its magnitude, gradient, its magnitude) in float64, from the definition."""
    x, weight = np.asarray(x, np.float64), np.asarray(weight, np.float64) if np.ndim(weight) else np.ones(x.shape[1])
    target = np.full(x.shape, smoothing / x.shape[1])
    target[np.arange(len(x)), labels] += 1 - smoothing
    target *= weight
    shifted = x - x.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    p, total = np.exp(shifted - log_sum), target.sum(axis=1, keepdims=True)
    loss = -(target * (shifted - log_sum)).sum(axis=1)
    loss_magnitude = (target * (1 + np.abs(shifted) + log_sum)).sum(axis=1)
    return loss, loss_magnitude, total * p - target, total * p * (1 + np.abs(shifted)) + target


@pytest.mark.parametrize("smoothing", [0.0, 0.25])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("sizes", SIZES)
def test_loss_and_gradient(kernels, sizes, weighted, smoothing, dtype):
    x, labels, weight = operands(sizes, dtype, weighted)
    outs = Out(sizes[:1], wide(dtype)), Out(sizes, dtype)
    loss, dx = kernels("cross_entropy", dtype.name, *sizes, x, labels, weight, smoothing, *outs)
    ref, magnitude, ref_dx, dx_magnitude = reference(x, labels, weight, smoothing)
    check(loss, ref, magnitude, sizes[1] + EXP)
    check(dx, ref_dx, dx_magnitude, sizes[1] + EXP)


def test_without_a_gradient(kernels, dtype):
    x, labels, _ = operands((5, 40), dtype, False)
    args = ("cross_entropy", dtype.name, 5, 40, x, labels, 0, 0.1, Out((5,), wide(dtype)))
    with_gradient = kernels(*args, Out((5, 40), dtype))[0]
    assert np.array_equal(kernels(*args, 0)[0], with_gradient)


def test_large_values(kernels, dtype):
    x = np.array([[6e4, 0, -6e4], [6e4, 0, -6e4]], dtype)
    outs = Out((2,), wide(dtype)), Out((2, 3), dtype)
    loss, dx = kernels("cross_entropy", dtype.name, 2, 3, x, np.array([0, 2]), 0, 0.0, *outs)
    assert np.array_equal(loss, [0, 2 * x[0, 0].astype(np.float64)])
    assert np.array_equal(dx, np.array([[0, 0, 0], [1, 0, -1]], dtype))


def test_nan_stays_in_its_row(kernels):
    x = np.zeros((3, 40), np.float32)
    x[1, 5] = np.nan
    outs = Out((3,)), Out((3, 40))
    loss, dx = kernels("cross_entropy", "float32", 3, 40, x, np.array([0, 1, 2]), 0, 0.0, *outs)
    assert np.isnan(loss[1]) and np.isnan(dx[1]).all()
    assert np.isfinite(loss[[0, 2]]).all() and np.isfinite(dx[[0, 2]]).all()


def test_same_bits_in_any_thread_order(kernels, dtype):
    x, labels, weight = operands((5, 700), dtype, True)
    runs = set()
    for seed in range(4):
        kernels.seed(seed)
        outs = Out((5,), wide(dtype)), Out((5, 700), dtype)
        runs.add(
            b"".join(a.tobytes() for a in kernels("cross_entropy", dtype.name, 5, 700, x, labels, weight, 0.1, *outs))
        )
    assert len(runs) == 1


def test_a_label_out_of_range_reads_nothing(kernels):
    """Python refuses it first. On CUDA the row becomes NaN; the CPU, which can, raises."""
    x, labels = np.zeros((3, 4), np.float32), np.array([1, 4, -1])
    try:
        loss, _ = kernels("cross_entropy", "float32", 3, 4, x, labels, 0, 0.0, Out((3,)), Out((3, 4)))
    except ValueError as error:
        assert "labels lie in [0, 4), but came 4" in str(error)
    else:
        assert np.isfinite(loss[0]) and np.isnan(loss[1:]).all()


def test_nothing_to_do(kernels):
    nothing = np.zeros(0, np.float32), np.zeros(0, np.int64)
    kernels("cross_entropy", "float32", 0, 5, *nothing, 0, 0.0, Out((0,)), Out((0,)))
    with pytest.raises(ValueError, match="cross_entropy: sizes must not be negative"):
        kernels("cross_entropy", "float32", -1, 5, *nothing, 0, 0.0, Out((0,)), Out((0,)))
