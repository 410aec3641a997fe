"""Normalisation over the batch, an example or a group. Statistics and sums are in float32 for every 16-bit dtype."""

from math import prod

import numpy as np

from .. import autograd, checks, native
from .. import dtype as dtypes
from ..autograd import Function
from ..device import array_module, kind_of, launch
from ..layout import empty, from_memory, in_memory, is_channels_last
from ..tensor import as_tensor
from .elementwise import add, astype, mul, to_device
from .shape import reshape, to_layout


def _workspace(sizes, x):
    """What the native functions of batch normalisation need for sizes (N, C, HW) of x, and its bytes."""
    size = getattr(native, kind_of(x))().batch_norm_workspace(*sizes)
    return array_module(x).empty(size, np.uint8), size


def _statistics(sizes, x, dtype):
    """The mean and the biased variance of each channel of x, whose sizes are (N, C, HW)."""
    mean, var = (array_module(x).empty(sizes[1], dtype) for _ in range(2))
    launch("batch_norm_stats", x.dtype, *sizes, x, mean, var, *_workspace(sizes, x))
    return mean, var


class BatchNorm(Function):
    """Normalise (N, C, ...) by the running statistics, or by those of the batch where ``training``.

    Then add the residual, if there is one, and take the ReLU of that where ``relu``.
    """

    def forward(self, x, weight, bias, *residual):
        xp, wide = array_module(x), dtypes.accumulate(x.dtype)
        self.last = is_channels_last(x)  # then pixels are examples of one pixel
        N, C, pixels = x.shape[0], x.shape[1], prod(x.shape[2:])
        self.sizes = (N * pixels, C, 1) if self.last else (N, C, pixels)
        y = empty(xp, x.shape, x.dtype, self.last)
        x, out = in_memory(x, self.last), in_memory(y, self.last)
        if self.training:
            self.mean, self.var = self.statistics or _statistics(self.sizes, x, wide)
            self._move_running(self.sizes[0] * self.sizes[2])
        else:
            self.mean, self.var = (
                xp.array(running.data, wide, order="C") for running in (self.running_mean, self.running_var)
            )
        scale, shift = xp.ascontiguousarray(weight, wide), xp.ascontiguousarray(bias, wide)
        added = in_memory(residual[0], self.last) if residual else 0  # 0: none
        statistics = self.mean, self.var, scale, shift, self.eps
        launch("batch_norm_fwd", x.dtype, *self.sizes, x, *statistics, added, self.relu, out)
        self.save(x, weight, out if self.relu else None)
        return y

    def _move_running(self, count):
        unbiased = self.var * self.var.dtype.type(count / (count - 1))
        with autograd.no_grad():
            for running, batch in ((self.running_mean, self.mean), (self.running_var, unbiased)):
                running *= 1 - self.momentum
                running += batch * batch.dtype.type(self.momentum)

    def backward(self, gy):
        x, weight, y = self.saved
        xp, wide = array_module(x), self.mean.dtype
        gy, C = in_memory(gy, self.last), self.sizes[1]
        # 0: not wanted. What comes behind the ReLU takes the place of dx where the residual does not want it.
        dx = xp.empty(x.shape, x.dtype) if self.needs[0] or self.relu else 0
        residual = len(self.needs) > 3 and self.needs[3]
        masked = xp.empty(x.shape, x.dtype) if self.relu and residual else dx
        dweight, dbias = xp.empty(C, wide), xp.empty(C, wide)
        launch(
            "batch_norm_bwd",
            *(x.dtype, self.training, *self.sizes, x, gy, y if self.relu else 0, self.mean, self.var),
            *(xp.ascontiguousarray(weight, wide), self.eps, masked if self.relu else 0, dx, dweight, dbias),
            *_workspace(self.sizes, x),
        )
        grads = from_memory(dx, self.last) if self.needs[0] else None, dweight, dbias
        return grads if len(self.needs) == 3 else (*grads, from_memory(masked if self.relu else gy, self.last))


def batch_norm(
    x,
    running_mean,
    running_var,
    weight=None,
    bias=None,
    *,
    training=False,
    momentum=0.1,
    eps=1e-5,
    residual=None,
    relu=False,
    statistics=None,
):
    """Batch normalisation, (x - mean) / sqrt(var + eps) * weight + bias for each channel (Ioffe & Szegedy 2015).

    x             (N, C) or (N, C, ...)    float
    running_*     (C,)                     statistics for evaluation; in training they are updated in place:
                                           running = (1 - momentum) running + momentum batch, with the unbiased variance
    weight, bias  (C,) or None             any float dtype
    training      use the mean and the biased variance of this batch (more than one value a channel)
    residual      of x's shape, or None    added to that, as at the end of a residual block
    relu          max(that, 0) in the end
    statistics    the list that ``conv2d`` was given which made x: in training, what is in it is not computed again

    Residual and relu take no pass over memory of their own, and the result is rounded once. Statistics and sums are in
    float32 for float16 and bfloat16.
    """
    x = as_tensor(x)
    checks.floats("batch_norm", x)
    if x.ndim < 2:
        raise ValueError(f"batch_norm: takes (N, C, ...), but came {x.ndim} dimensions ({x.shape})")
    C, count = x.shape[1], x.size // max(x.shape[1], 1)
    weight = as_tensor(weight) if weight is not None else to_device(as_tensor(np.ones(C, x.dtype)), x.device)
    bias = as_tensor(bias) if bias is not None else to_device(as_tensor(np.zeros(C, x.dtype)), x.device)
    running_mean, running_var = as_tensor(running_mean), as_tensor(running_var)
    for name, value in (
        ("running_mean", running_mean),
        ("running_var", running_var),
        ("weight", weight),
        ("bias", bias),
    ):
        if value.shape != (C,):
            raise ValueError(f"batch_norm: {name} has one value a channel, but came {value.shape} (x {x.shape})")
        if value.device != x.device:
            raise TypeError(f"batch_norm: all tensors are on one device, but came {value.device} and {x.device}")
    if training and count < 2:
        raise ValueError(f"batch_norm: needs more than one value a channel in training, but came {count} ({x.shape})")
    added = ()
    if residual is not None:
        added = (as_tensor(residual),)
        checks.floats("batch_norm", *added)
        if added[0].shape != x.shape:
            raise ValueError(f"batch_norm: residual has the shape of x, but came {added[0].shape} (x {x.shape})")
        if added[0].device != x.device:
            raise TypeError(f"batch_norm: all tensors are on one device, but came {added[0].device} and {x.device}")
        dtype = dtypes.promote(x.dtype, added[0].dtype)
        x, added = astype(x, dtype), (astype(added[0], dtype),)
    return BatchNorm.apply(
        x,
        weight,
        bias,
        *added,
        relu=bool(relu),
        training=training,
        running_mean=running_mean,
        running_var=running_var,
        momentum=momentum,
        eps=eps,
        statistics=statistics,
    )


class Standardize(Function):
    """Each row of (rows, columns), less its mean, over its deviation: batch normalisation with rows for channels."""

    def forward(self, x):
        xp, x = array_module(x), array_module(x).ascontiguousarray(x)
        rows, columns = x.shape
        mean, var = _statistics((1, rows, columns), x, x.dtype)
        y = xp.empty(x.shape, x.dtype)
        one, zero = xp.ones(rows, x.dtype), xp.zeros(rows, x.dtype)
        launch("batch_norm_fwd", x.dtype, 1, rows, columns, x, mean, var, one, zero, self.eps, 0, False, y)
        self.save(x, mean, var)
        return y

    def backward(self, gy):
        x, mean, var = self.saved
        xp, (rows, columns) = array_module(x), x.shape
        dx, unused = xp.empty(x.shape, x.dtype), xp.empty((2, rows), x.dtype)
        launch(
            "batch_norm_bwd",
            *(x.dtype, True, 1, rows, columns, x, xp.ascontiguousarray(gy), 0, mean, var),
            *(xp.ones(rows, x.dtype), self.eps, 0, dx, unused[0], unused[1]),
            *_workspace((1, rows, columns), x),
        )
        return dx


def _standardize(x, rows, eps):
    """x with each of its ``rows`` equal parts standardised, in the dtype of sums: results are rounded once, later."""
    wide = astype(x, dtypes.accumulate(x.dtype))
    if not x.size:
        return wide
    return reshape(Standardize.apply(reshape(wide, (rows, -1)), eps=eps), x.shape)


def _affine(op, y, weight, bias, shape, trailing, x):
    """y weight + bias, rounded to the dtype of x; the two have ``shape``, and so many axes of length 1 after it."""
    for name, combine, value in (("weight", mul, weight), ("bias", add, bias)):
        if value is None:
            continue
        value = as_tensor(value)
        if value.shape != shape:
            raise ValueError(f"{op}: {name} has shape {shape}, but came {value.shape} (x {x.shape})")
        y = combine(y, astype(reshape(value, (*shape, *[1] * trailing)), y.dtype))
    return astype(y, x.dtype)


def layer_norm(x, weight=None, bias=None, *, axes=1, eps=1e-5):
    """(x - mean) / sqrt(var + eps) * weight + bias, with the statistics of each example (Ba, Kiros & Hinton 2016).

    x             float                        the last ``axes`` axes are one example
    weight, bias  x.shape[-axes:], or None     any float dtype

    The variance is the biased one. Computed in float32 for float16 and bfloat16.

    >>> layer_norm(as_tensor([[1.0, 3.0], [5.0, 5.0]])).numpy().round(3).tolist()
    [[-1.0, 1.0], [0.0, 0.0]]
    """
    x = as_tensor(x)
    checks.floats("layer_norm", x)
    if not 1 <= checks.whole(axes, "layer_norm axes") <= x.ndim:
        raise ValueError(f"layer_norm: takes from 1 to {x.ndim} axes of the tensor, but came {axes} ({x.shape})")
    y = _standardize(x, prod(x.shape[:-axes]), eps)
    return _affine("layer_norm", y, weight, bias, x.shape[-axes:], 0, x)


def group_norm(x, groups, weight=None, bias=None, *, eps=1e-5):
    """(x - mean) / sqrt(var + eps) * weight + bias, with the statistics of each group of channels (Wu & He 2018).

    x             (N, C, ...)    float
    groups        a divisor of C: with 1, all of an image is a group; with C, each channel (instance normalisation)
    weight, bias  (C,) or None   any float dtype

    The variance is the biased one. Computed in float32 for float16 and bfloat16.

    >>> group_norm(as_tensor([[1.0, 3.0, 5.0, 5.0]]), 2).numpy().round(3).tolist()
    [[-1.0, 1.0, 0.0, 0.0]]
    """
    x = as_tensor(x)
    checks.floats("group_norm", x)
    if x.ndim < 2 or checks.whole(groups, "group_norm groups") < 1 or x.shape[1] % groups:
        raise ValueError(f"group_norm: takes (N, C, ...) and a divisor of C, but came {groups} groups ({x.shape})")
    layout = x.layout
    x = to_layout(x, "channels_first") if x.ndim == 4 else x  # where an example's group is a row
    y = _standardize(x, x.shape[0] * groups, eps)
    y = _affine("group_norm", y, weight, bias, x.shape[1:2], x.ndim - 2, x)
    return to_layout(y, layout) if x.ndim == 4 else y
