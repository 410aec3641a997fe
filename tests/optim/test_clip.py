"""Limits on gradients."""

import math

import numpy as np
import pytest

import gpucnn
from gpucnn.optim import clip_grad_norm, clip_grad_value


def with_gradients(*gradients, dtype="float32"):
    params = []
    for gradient in gradients:
        p = gpucnn.zeros(len(gradient), dtype=dtype, requires_grad=True)
        p.grad = gpucnn.tensor(list(gradient), dtype=dtype)
        params.append(p)
    return [*params, gpucnn.zeros(2, requires_grad=True)]  # one without a gradient


def gradients(params):
    return [p.grad.numpy().astype(np.float64).tolist() for p in params if p.grad is not None]


def test_norm_by_hand():
    params = with_gradients([3.0, 0.0], [0.0, -4.0])
    shared = params[0].grad
    assert clip_grad_norm(params, 10) == 5
    assert gradients(params) == [[3, 0], [0, -4]]
    assert clip_grad_norm(params, 0.5) == 5
    np.testing.assert_allclose(gradients(params), [[0.3, 0], [0, -0.4]], rtol=1e-6)
    assert clip_grad_norm(iter(params), 0) == pytest.approx(0.5)
    assert gradients(params) == [[0, 0], [0, 0]]
    assert shared.numpy().tolist() == [3, 0]  # a gradient that somebody holds is not changed
    assert clip_grad_norm([], 1) == 0


def test_norm_of_values_whose_squares_overflow():
    """In float16 65504^2, in float32 (1e30)^2; a factor of 1e-30 is zero in float16."""
    params = with_gradients([65504.0, 65504.0], dtype="float16")
    assert clip_grad_norm(params, 1) == pytest.approx(65504 * math.sqrt(2))
    np.testing.assert_allclose(gradients(params), [[math.sqrt(0.5)] * 2], rtol=1e-3)
    params = with_gradients([1e30, 0.0])
    assert clip_grad_norm(params, 1) == pytest.approx(1e30)
    np.testing.assert_allclose(gradients(params), [[1, 0]], rtol=1e-6)


@pytest.mark.parametrize("bad", [math.inf, math.nan])
def test_a_norm_that_is_not_finite_changes_nothing(bad):
    params = with_gradients([bad, 1.0], [2.0])
    assert not math.isfinite(clip_grad_norm(params, 1))
    np.testing.assert_array_equal(params[0].grad.numpy(), [bad, 1])
    assert params[1].grad.numpy().tolist() == [2]


@pytest.mark.torch
def test_both_agree_with_torch():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    values = [rng.standard_normal(n).astype(np.float32) for n in (7, 30)]
    for ours, theirs in (
        (clip_grad_norm, torch.nn.utils.clip_grad_norm_),
        (clip_grad_value, torch.nn.utils.clip_grad_value_),
    ):
        params, twins = with_gradients(*values), [torch.zeros(len(v), requires_grad=True) for v in values]
        for twin, value in zip(twins, values, strict=True):
            twin.grad = torch.tensor(value)
        norm, reference = ours(params, 0.7), theirs(twins, 0.7)
        if norm is not None:
            np.testing.assert_allclose(norm, reference.item(), rtol=1e-6)
        for p, twin in zip(params, twins, strict=False):
            np.testing.assert_allclose(p.grad.numpy(), twin.grad.numpy(), rtol=2e-6)


def test_value():
    params = with_gradients([-3.0, 0.25, math.nan, math.inf], dtype="bfloat16")
    clip_grad_value(params, 0.5)
    np.testing.assert_array_equal(gradients(params), [[-0.5, 0.25, math.nan, 0.5]])


@pytest.mark.parametrize("function", [clip_grad_norm, clip_grad_value])
def test_bad_limits(function):
    for limit in (-1, math.nan):
        with pytest.raises(ValueError, match=f"{function.__name__}: the limit is not negative, but came"):
            function([], limit)
