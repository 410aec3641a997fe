"""The steps of SGD and Adam over lists of tensors: more than one launch takes, with none, few and many elements."""

import numpy as np
import pytest

from tests.kernels.harness import InOut, Out
from tests.tolerance import check

SIZES = [1, 33, 0, 5000, *range(2, 70), 257]  # 73 tensors: two launches on a GPU
SGD = {"plain": (0.1, 0.0, 0.0, False), "momentum": (0.1, 0.9, 0.01, False), "nesterov": (0.1, 0.9, 0.01, True)}
ROUNDINGS = 16  # in place of the terms of a sum: each step is a few operations


def tensors(seed, dtype, positive=False):
    rng = np.random.default_rng(seed)
    values = [rng.standard_normal(size) for size in SIZES]
    return [(np.abs(v) if positive else v).astype(dtype) for v in values]


def run(kernels, name, dtype, grad_dtype, state, *numbers):
    """The list of (value, *state, stored) of each tensor before and after the native call, with the gradients."""
    wide = np.float64 if dtype == np.float64 else np.float32
    narrow = dtype != wide
    grads = tensors(0, grad_dtype)
    value, none = tensors(1, wide), [0] * len(SIZES)
    arrays = [value, *state(wide)]
    lists = [[InOut(a) for a in some] if some else none for some in arrays]
    lists.insert(1, grads)
    lists.append([Out(a.shape, dtype) for a in value] if narrow else none)
    outputs = iter(kernels(name, dtype.name, np.dtype(grad_dtype).name, SIZES, *lists, *numbers))
    after = [[next(outputs) for _ in some] if some else [] for some in arrays]
    stored = list(outputs)
    if narrow:
        for rounded, wide_value in zip(stored, after[0], strict=True):
            assert np.array_equal(rounded, wide_value.astype(dtype))
    return grads, arrays, after


def gradient_dtypes(dtype):
    return {dtype, np.dtype(np.float32)} if dtype.itemsize == 2 else {dtype}


@pytest.mark.parametrize("numbers", SGD.values(), ids=SGD)
def test_sgd_step(kernels, dtype, numbers):
    lr, momentum, decay, nesterov = numbers
    for grad_dtype in gradient_dtypes(dtype):
        velocities = (lambda wide: [tensors(2, wide)]) if momentum else (lambda wide: [[]])
        grads, before, after = run(kernels, "sgd_step", dtype, grad_dtype, velocities, *numbers)
        grads, values, velocity = ([a.astype(np.float64) for a in some] for some in (grads, *before))
        for i, (g, p) in enumerate(zip(grads, values, strict=True)):
            g = g + decay * p
            size = np.abs(g) + np.abs(p)
            if momentum:
                v = momentum * velocity[i] + g
                size = size + np.abs(velocity[i])
                check(after[1][i], v, size, ROUNDINGS)
                g = g + momentum * v if nesterov else v
            check(after[0][i], p - lr * g, size, ROUNDINGS)


@pytest.mark.parametrize("decoupled", [False, True])
def test_adam_step(kernels, dtype, decoupled):
    lr, b1, b2, scale, eps, decay = 0.02, 0.8, 0.95, 1.5, 1e-3, 0.1
    shrink = 1 - lr * decay if decoupled else 1.0
    numbers = (lr, shrink, 1 - b1, b2, 1 - b2, scale, eps, 0.0 if decoupled else decay)
    for grad_dtype in gradient_dtypes(dtype):
        state = lambda wide: [tensors(2, wide), tensors(3, wide, positive=True)]  # noqa: E731
        grads, before, after = run(kernels, "adam_step", dtype, grad_dtype, state, *numbers)
        grads, values, means, squares = ([a.astype(np.float64) for a in some] for some in (grads, *before))
        for i, (g, p, m, s) in enumerate(zip(grads, values, means, squares, strict=True)):
            g = g if decoupled else g + decay * p
            m_after, s_after = b1 * m + (1 - b1) * g, b2 * s + (1 - b2) * g * g
            root = scale * np.sqrt(s_after) + eps
            check(after[1][i], m_after, np.abs(m) + np.abs(g), ROUNDINGS)
            check(after[2][i], s_after, s_after, ROUNDINGS)
            size = np.abs(p) + lr * (np.abs(m) + np.abs(g) + np.abs(p)) / root
            check(after[0][i], p * shrink - lr * m_after / root, size, ROUNDINGS)


def test_empty_tensors(kernels):
    nothing = np.zeros(0, np.float32)
    for count in (0, 3):
        lists = [[InOut(nothing)] * count, [nothing] * count, [0] * count, [0] * count]
        kernels("sgd_step", "float32", "float32", [0] * count, *lists, 0.1, 0.0, 0.0, False)


def test_lists_and_dtypes_are_checked(kernels):
    one, options = [np.ones(1, np.float32)], (0.1, 0.0, 0.0, False)
    with pytest.raises(ValueError, match="sgd_step: lists are equally long, but came 0 for 1"):
        kernels("sgd_step", "float32", "float32", [1], one, [], [0], [0], *options)
    with pytest.raises(ValueError, match="gradients are of the parameters' dtype or float32, but came float16 for"):
        kernels("sgd_step", "bfloat16", "float16", [1], one, one, [0], one, *options)
