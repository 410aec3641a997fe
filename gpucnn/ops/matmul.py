"""Matrix products, through the native GEMM of the device. Sums are in float32 for every 16-bit dtype."""

from math import prod

import numpy as np

from .. import checks, config
from .. import dtype as dtypes
from ..autograd import Function
from ..device import array_module, kind_of, launch
from ..tensor import as_tensor
from .elementwise import unbroadcast
from .shape import reshape, squeeze, unsqueeze


def gemm(a, b):
    """(..., M, K) x (..., K, N) -> (..., M, N) on raw float arrays; leading axes broadcast.

    A matrix that is a transposed view goes to the native product as such; other strides are copied first.
    """
    xp = array_module(a)
    if a.ndim > 2 and b.ndim == 2:  # one large product
        return gemm(_rows(a), b).reshape(*a.shape[:-1], b.shape[-1])
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    M, K, N = a.shape[-2], a.shape[-1], b.shape[-1]
    batch = int(np.prod(lead))
    out = xp.empty((*lead, M, N), a.dtype)
    operands = []
    for matrix in (a, b):
        matrix = matrix if matrix.ndim == 2 else xp.broadcast_to(matrix, (*lead, *matrix.shape[-2:]))
        transposed = not matrix.flags.c_contiguous and matrix.swapaxes(-1, -2).flags.c_contiguous
        stored = matrix.swapaxes(-1, -2) if transposed else xp.ascontiguousarray(matrix)
        stride = stored.shape[-2] * stored.shape[-1] if matrix.ndim > 2 else 0
        operands.append((transposed, (stored, max(stored.shape[-1], 1), stride)))
    (trans_a, a), (trans_b, b) = operands
    dtype = "tf32" if a[0].dtype == dtypes.float32 and config.get("tf32") and kind_of(a[0]) == "cuda" else out.dtype
    launch("gemm", dtype, trans_a, trans_b, M, N, K, batch, *a, *b, out)
    return out


def _rows(a):
    """(..., M, K) as one matrix (... M, K); also where K is 0, for which reshape(-1, 0) has no answer."""
    return a.reshape(prod(a.shape[:-1]), a.shape[-1])


class Matmul(Function):
    def forward(self, a, b):
        self.save(a if self.needs[1] else None, b if self.needs[0] else None)
        self.shapes = a.shape, b.shape
        return gemm(a, b)

    def backward(self, gy):
        a, b = self.saved
        ga = unbroadcast(gemm(gy, b.swapaxes(-1, -2)), self.shapes[0]) if self.needs[0] else None
        gb = None
        if self.needs[1]:
            if len(self.shapes[1]) == 2:  # sum over the batch inside the product
                gb = gemm(_rows(a).T, _rows(gy))
            else:
                gb = unbroadcast(gemm(a.swapaxes(-1, -2), gy), self.shapes[1])
        return ga, gb


class Linear(Function):
    def forward(self, x, weight, *bias):
        self.save(x if self.needs[1] else None, weight if self.needs[0] else None)
        y = gemm(x, weight.T)
        if bias:
            y += bias[0]
        return y

    def backward(self, gy):
        x, weight = self.saved
        gx = gemm(gy, weight) if self.needs[0] else None
        gw = gemm(gy.T, x) if self.needs[1] else None
        if len(self.needs) < 3:
            return gx, gw
        return gx, gw, unbroadcast(gy, gy.shape[1:]) if self.needs[2] else None


def matmul(a, b):
    """Matrix product with NumPy's rules: (..., M, K) @ (..., K, N) -> (..., M, N); vectors gain an axis and lose it.

    Both are floats of one dtype. Sums are in float32 for float16 and bfloat16.

    >>> matmul(as_tensor([[1.0, 2.0]]), as_tensor([[3.0], [4.0]]))
    tensor([[11.]])
    """
    a, b = as_tensor(a), as_tensor(b)
    checks.floats("matmul", a, b)
    if not a.ndim or not b.ndim or a.shape[-1] != b.shape[max(b.ndim - 2, 0)]:
        raise ValueError(f"matmul: inner lengths are equal, but came {a.shape} @ {b.shape}")
    if a.ndim == 1:
        return squeeze(matmul(unsqueeze(a, 0), b), -2 if b.ndim > 1 else -1)
    if b.ndim == 1:
        return squeeze(matmul(a, unsqueeze(b, 1)), -1)
    try:
        np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        raise ValueError(f"matmul: leading lengths broadcast, but came {a.shape} @ {b.shape}") from None
    return Matmul.apply(a, b)


def linear(x, weight, bias=None):
    """x @ weight.T + bias: a fully connected layer.

    x         (..., features)             float
    weight    (outputs, features)         same dtype and device as x
    bias      (outputs,) or None
    returns   (..., outputs)              sums in float32 for float16 and bfloat16

    >>> linear(as_tensor([[1.0, 2.0]]), as_tensor([[3.0, 4.0]]), as_tensor([1.0]))
    tensor([[12.]])
    """
    x, weight = as_tensor(x), as_tensor(weight)
    operands = [x, weight] if bias is None else [x, weight, as_tensor(bias)]
    checks.floats("linear", *operands)
    checks.ndim("linear weight", weight, 2, "(outputs, features)")
    if not x.ndim or x.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"linear: weight takes {weight.shape[1]} features, but x ends in another length"
            f" (x {x.shape}, weight {weight.shape})"
        )
    if bias is not None and operands[2].shape != weight.shape[:1]:
        raise ValueError(f"linear: bias has one value an output, but came {operands[2].shape} (weight {weight.shape})")
    if x.ndim == 2:
        return Linear.apply(*operands)
    flat = Linear.apply(reshape(x, (prod(x.shape[:-1]), x.shape[-1])), *operands[1:])
    return reshape(flat, (*x.shape[:-1], weight.shape[0]))
