"""Limits on gradients, to be called between backward and the step."""

import math

from ..device import array_module
from ..dtype import accumulate
from ..tensor import Tensor


def _gradients(op, params, limit):
    if not limit >= 0:
        raise ValueError(f"{op}: the limit is not negative, but came {limit}")
    return [p for p in params if p.grad is not None]


def clip_grad_norm(params, max_norm):
    """Scale all gradients together so that their joint 2-norm is at most ``max_norm``; returns the norm before.

    Squares are summed in float64. Where the norm is not finite, nothing is changed.
    """
    params = _gradients("clip_grad_norm", params, max_norm)
    total = 0.0
    for p in params:
        wide = p.grad.data.astype("float64")
        total = total + (wide * wide).sum()  # stays on the device
    norm = math.sqrt(total) if math.isfinite(total := float(total)) else total
    if max_norm < norm < math.inf:
        for p in params:
            grad = p.grad.data
            scaled = grad.astype(accumulate(grad.dtype)) * (max_norm / norm)  # a small factor is none in float16
            p.grad = Tensor(scaled.astype(grad.dtype, copy=False))
    return norm


def clip_grad_value(params, limit):
    """Limit every element of every gradient to [-limit, limit]; a NaN stays one."""
    for p in _gradients("clip_grad_value", params, limit):
        grad = p.grad.data
        xp, bound = array_module(grad), grad.dtype.type(limit)
        p.grad = Tensor(xp.minimum(xp.maximum(grad, -bound), bound))
