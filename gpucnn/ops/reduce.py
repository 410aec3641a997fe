"""Reductions over axes. Sums of 16-bit values are made in float32 and rounded once."""

from math import prod

import numpy as np

from .. import dtype as dtypes
from ..autograd import Function
from ..device import array_module
from ..tensor import Tensor, as_tensor
from .elementwise import astype, mul, sub


def _axes(op, x, axis):
    """axis as a sorted tuple of numbers from 0 on; None means all."""
    if axis is None:
        return tuple(range(x.ndim))
    axes = (axis,) if isinstance(axis, (int, np.integer)) else tuple(axis)
    if any(not -x.ndim <= a < x.ndim for a in axes) or len({a % x.ndim for a in axes}) < len(axes):
        raise ValueError(f"{op}: axis names dimensions of the tensor, each once, but came {axis} ({x.shape})")
    return tuple(sorted(a % x.ndim for a in axes))


def _kept(shape, axes):
    """shape with 1 in place of the reduced axes, so that a result broadcasts against the input."""
    return tuple(1 if i in axes else n for i, n in enumerate(shape))


def channel_sum(x):
    """The sum over batch and image of a raw (N, C, H, W) array, in float32 for 16-bit dtypes: a bias gradient."""
    return x.sum(axis=(0, 2, 3), dtype=dtypes.accumulate(x.dtype)).astype(x.dtype, copy=False)


class Sum(Function):
    def forward(self, x):
        self.shape = x.shape
        total = x.sum(axis=self.axes, dtype=dtypes.accumulate(x.dtype), keepdims=self.keepdims)
        return total.astype(x.dtype) if dtypes.is_float(x.dtype) else total

    def backward(self, gy):
        kept = gy.reshape(_kept(self.shape, self.axes))
        return array_module(gy).broadcast_to(kept, self.shape)


class Extreme(Function):
    """Maximum (sign 1) or minimum over axes; equal extremes share the gradient equally."""

    def forward(self, x):
        xp = array_module(x)
        y = (xp.max if self.sign > 0 else xp.min)(x, axis=self.axes, keepdims=True)
        self.save((x == y) | (x != x))  # x != x: where y is a NaN
        return y if self.keepdims else y.reshape([n for i, n in enumerate(x.shape) if i not in self.axes])

    def backward(self, gy):
        (mask,) = self.saved
        wide = dtypes.accumulate(gy.dtype)  # float16 cannot count more than 65,504 equal extremes
        count = mask.sum(axis=self.axes, keepdims=True).astype(wide)
        return mask * (gy.reshape(_kept(mask.shape, self.axes)).astype(wide) / count).astype(gy.dtype)


def sum(x, axis=None, keepdims=False):
    """The sum over one axis, several, or all. Integers sum as int64.

    >>> sum(as_tensor([[1.0, 2.0], [3.0, 4.0]]), axis=0)
    tensor([4., 6.])
    """
    x = as_tensor(x)
    return Sum.apply(x, axes=_axes("sum", x, axis), keepdims=keepdims)


def mean(x, axis=None, keepdims=False):
    """The mean over one axis, several, or all; float32 for integers. For 16-bit floats the sum is not rounded."""
    x = as_tensor(x)
    axes = _axes("mean", x, axis)
    count = prod(x.shape[a] for a in axes)
    if not count:
        raise ValueError(f"mean: needs at least one element, but came none ({x.shape})")
    wide = astype(x, dtypes.accumulate(x.dtype) if dtypes.is_float(x.dtype) else dtypes.float32)
    result = mul(Sum.apply(wide, axes=axes, keepdims=keepdims), 1 / count)
    return astype(result, x.dtype) if dtypes.is_float(x.dtype) else result


def var(x, axis=None, keepdims=False, correction=1):
    """The variance over axes: mean squared distance from the mean, times n / (n - correction)."""
    x = as_tensor(x)
    axes = _axes("var", x, axis)
    count = prod(x.shape[a] for a in axes)
    if count <= correction:
        raise ValueError(f"var: needs more than {correction} elements, but came {count} ({x.shape})")
    wide = astype(x, dtypes.accumulate(x.dtype) if dtypes.is_float(x.dtype) else dtypes.float32)
    distance = sub(wide, mean(wide, axes, keepdims=True))
    result = mul(Sum.apply(mul(distance, distance), axes=axes, keepdims=keepdims), 1 / (count - correction))
    return astype(result, x.dtype) if dtypes.is_float(x.dtype) else result


def _extreme(op, x, axis, keepdims, sign):
    x = as_tensor(x)
    axes = _axes(op, x, axis)
    if not prod(x.shape[a] for a in axes):
        raise ValueError(f"{op}: needs at least one element, but came none ({x.shape})")
    return Extreme.apply(x, axes=axes, keepdims=keepdims, sign=sign)


def max(x, axis=None, keepdims=False):
    """The largest value over axes (a tensor, without indices); equal maxima share the gradient. NaN wins."""
    return _extreme("max", x, axis, keepdims, 1)


def min(x, axis=None, keepdims=False):
    """The smallest value over axes (a tensor, without indices); equal minima share the gradient. NaN wins."""
    return _extreme("min", x, axis, keepdims, -1)


def argmax(x, axis=None):
    """The index of the first largest value along an axis, or in the flattened tensor: int64, no gradient."""
    x = as_tensor(x)
    if axis is not None:
        _axes("argmax", x, axis)
    if not x.size:
        raise ValueError(f"argmax: needs at least one element, but came none ({x.shape})")
    index = array_module(x.data).argmax(x.data, axis=axis)
    return Tensor(array_module(x.data).asarray(index, dtype="int64"))
