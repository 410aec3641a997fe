"""Softmax and its logarithm, through one native kernel a direction; other axes are moved to the end and back."""

from math import prod

from .. import checks
from ..autograd import Function
from ..device import array_module, launch
from ..tensor import as_tensor
from .shape import _axis, transpose


def softmax_rows(x, log):
    """Softmax (or log-softmax) over the last axis of a raw array; sums in float32 for 16-bit dtypes."""
    xp = array_module(x)
    y = xp.empty(x.shape, x.dtype)
    launch("softmax_fwd", x.dtype, log, prod(x.shape[:-1]), x.shape[-1], xp.ascontiguousarray(x), y)
    return y


class Softmax(Function):
    def forward(self, x):
        y = softmax_rows(x, self.log)
        self.save(y)
        return y

    def backward(self, gy):
        (y,) = self.saved
        xp = array_module(y)
        dx = xp.empty(y.shape, y.dtype)
        rows, columns = prod(y.shape[:-1]), y.shape[-1]
        launch("softmax_bwd", y.dtype, self.log, rows, columns, y, xp.ascontiguousarray(gy), dx)
        return dx


def _over_axis(op, x, axis, log):
    x = as_tensor(x)
    checks.floats(op, x)
    axis = _axis(op, axis, x.ndim, x.shape)
    if not x.shape[axis]:
        raise ValueError(f"{op}: needs at least one class, but came none ({x.shape})")
    if axis == x.ndim - 1:
        return Softmax.apply(x, log=log)
    return transpose(Softmax.apply(transpose(x, axis, -1), log=log), axis, -1)


def softmax(x, axis=-1):
    """e ** x normalised to sum 1 along an axis; the maximum is subtracted first, so nothing overflows."""
    return _over_axis("softmax", x, axis, False)


def log_softmax(x, axis=-1):
    """The logarithm of softmax along an axis, without the loss of digits that log(softmax(x)) has."""
    return _over_axis("log_softmax", x, axis, True)
