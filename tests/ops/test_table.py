"""Every differentiable operation against its own definition: slopes, dtypes, memory layouts, empty inputs, PyTorch."""

import inspect

import numpy as np
import pytest

import gpucnn as g
from gpucnn import ops
from tests.ops.case import SLOPE
from tests.ops.table import CASES

NO_GRADIENT = {"argmax", "compare"}
HELPERS = {"raw_index"}


def every(cases):
    return pytest.mark.parametrize("case", cases, ids=str)


def run(case, arrays, gy=None, needs=None, device="cpu"):
    """(result, its gradient, gradients) on leaves that hold these arrays; gy is random where none is given."""
    needs = needs or [True] * len(arrays)
    leaves = [g.tensor(a, device=device, requires_grad=need) for a, need in zip(arrays, needs, strict=True)]
    y = case.function(*leaves)
    if gy is None:
        gy = np.random.default_rng(1).standard_normal(y.shape).astype(y.dtype)
    y.backward(g.tensor(gy, device=y.device))
    return y, gy, [leaf.grad for leaf in leaves]


def test_the_table_holds_every_differentiable_operation():
    public = {n for n, f in vars(ops).items() if inspect.isfunction(f) and not n.startswith("_")}
    assert public - NO_GRADIENT - HELPERS == {case.name for case in CASES}
    assert len({str(case) for case in CASES}) == len(CASES)


@every(CASES)
def test_slope(case):
    """Gradients are the slope of the result along a random direction, of all inputs and of each input alone."""
    h, rng, arrays = 1e-5, np.random.default_rng(2), case.arrays()
    directions = [rng.standard_normal(a.shape) for a in arrays]
    alone = [[i == j for j in range(len(arrays))] for i in range(len(arrays))] if len(arrays) > 1 else []
    for needs in ([True] * len(arrays), *alone):
        _, gy, grads = run(case, arrays, needs=needs)
        assert [grad is not None for grad in grads] == needs
        moved = [[a + sign * h * d * n for a, d, n in zip(arrays, directions, needs, strict=True)] for sign in (1, -1)]
        after, before = (case.function(*map(g.tensor, m)).numpy() for m in moved)
        slope = ((after - before) * gy).sum() / (2 * h)
        terms = [grad.numpy() * d for grad, d in zip(grads, directions, strict=True) if grad is not None]
        size = 1 + np.abs(gy).sum() + sum(np.abs(t).sum() for t in terms)
        assert abs(slope - sum(t.sum() for t in terms)) <= SLOPE * size


ON_CUDA = [case for case in CASES if case.name != "dropout"]  # which has other random numbers there


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize(
    ("case", "device"),
    [*((case, "cpu") for case in CASES), *(pytest.param(case, "cuda", marks=pytest.mark.cuda) for case in ON_CUDA)],
    ids=str,
)
def test_dtype(case, device, dtype):
    """Results and gradients keep the dtype, and are those in float64 of the rounded inputs, rounded a few times."""
    arrays = case.arrays(dtype)
    y, gy, grads = run(case, arrays, device=device)
    assert y.dtype == dtype and y.requires_grad
    ref, _, ref_grads = run(case, [a.astype(np.float64) for a in arrays], gy.astype(np.float64))
    case.agree(y.numpy(), ref.numpy(), case.forward)
    for array, grad, ref_grad in zip(arrays, grads, ref_grads, strict=True):
        assert grad.dtype == dtype and grad.shape == array.shape
        case.agree(grad.numpy(), ref_grad.numpy(), case.forward + case.gradient)


def transposed(x):
    return g.tensor(x.data.T.copy()).T


def reversed_and_spread(x):
    """Every second element of memory, from the end."""
    if not x.ndim:
        return x
    spread = np.full((*x.shape[:-1], 2 * x.shape[-1]), np.nan)
    spread[..., ::-2] = x.data
    return g.from_numpy(spread)[..., ::-2]


@pytest.mark.parametrize("layout", [transposed, reversed_and_spread])
@every(CASES)
def test_layout(case, layout):
    """Strides of the inputs and of the gradient change no result."""
    arrays = case.arrays()
    ref, gy, ref_grads = run(case, arrays)
    views = [layout(g.tensor(a)) for a in arrays]
    for view, array in zip(views, arrays, strict=True):
        assert np.array_equal(view.data, array)
        view.requires_grad_()
    y = case.function(*views)
    y.backward(layout(g.tensor(gy)))
    case.agree(y.numpy(), ref.numpy(), case.forward)
    for view, ref_grad in zip(views, ref_grads, strict=True):
        case.agree(view.grad.numpy(), ref_grad.numpy(), case.forward + case.gradient)


@every([case for case in CASES if case.empty])
def test_empty(case):
    """Inputs without elements give results and gradients of the right shape; what they sum up is zero."""
    leaves = [g.ones(shape, requires_grad=True) for shape in case.empty]
    y = case.function(*leaves)
    y.backward(g.ones_like(y))
    for leaf in leaves:
        assert leaf.grad.shape == leaf.shape
        if not y.size:
            assert not leaf.grad.numpy().any()


@pytest.mark.torch
@every([case for case in CASES if case.torch])
def test_pytorch(case):
    import torch

    arrays = case.arrays()
    y, gy, grads = run(case, arrays)
    leaves = [torch.tensor(a, requires_grad=True) for a in arrays]
    oracle = case.torch(torch, *leaves)
    oracle.backward(torch.tensor(gy))
    case.agree(y.numpy(), oracle.detach().numpy(), case.forward)
    for grad, leaf in zip(grads, leaves, strict=True):
        case.agree(grad.numpy(), leaf.grad.numpy(), case.forward + case.gradient)


@pytest.mark.torch
@every([case for case in CASES if case.torch and case.empty])
def test_pytorch_empty(case):
    import torch

    y = case.function(*map(g.ones, case.empty))
    oracle = case.torch(torch, *map(torch.ones, case.empty))
    assert y.shape == tuple(oracle.shape)
    assert np.array_equal(y.numpy(), oracle.numpy())
