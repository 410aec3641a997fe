"""Normalisation: over the batch and over neighbouring channels. Sums are in float32 for every 16-bit dtype."""

from math import prod

import numpy as np

from .. import autograd, checks
from .. import dtype as dtypes
from ..autograd import Function
from ..conv import ConvShape
from ..device import array_module, launch
from ..tensor import as_tensor
from .elementwise import to_device


class BatchNorm(Function):
    """Normalise (N, C, ...) by the running statistics, or by those of the batch where ``training``."""

    def forward(self, x, weight, bias):
        xp, wide = array_module(x), dtypes.accumulate(x.dtype)
        x = xp.ascontiguousarray(x)
        self.sizes = (x.shape[0], x.shape[1], prod(x.shape[2:]))
        if self.training:
            self.mean, self.var = xp.empty(x.shape[1], wide), xp.empty(x.shape[1], wide)
            launch("batch_norm_stats", x.dtype.name, *self.sizes, x, self.mean, self.var)
            self._move_running(self.sizes[0] * self.sizes[2])
        else:
            self.mean, self.var = (
                xp.array(running.data, wide, order="C") for running in (self.running_mean, self.running_var)
            )
        self.save(x, weight)
        y = xp.empty(x.shape, x.dtype)
        scale, shift = xp.ascontiguousarray(weight, wide), xp.ascontiguousarray(bias, wide)
        launch("batch_norm_fwd", x.dtype.name, *self.sizes, x, self.mean, self.var, scale, shift, self.eps, y)
        return y

    def _move_running(self, count):
        unbiased = self.var * self.var.dtype.type(count / (count - 1))
        with autograd.no_grad():
            for running, batch in ((self.running_mean, self.mean), (self.running_var, unbiased)):
                running *= 1 - self.momentum
                running += batch * batch.dtype.type(self.momentum)

    def backward(self, gy):
        x, weight = self.saved
        xp, wide = array_module(x), self.mean.dtype
        dx = xp.empty(x.shape, x.dtype) if self.needs[0] else 0  # 0: not wanted
        dweight, dbias = xp.empty(x.shape[1], wide), xp.empty(x.shape[1], wide)
        launch(
            "batch_norm_bwd",
            *(x.dtype.name, self.training, *self.sizes, x, xp.ascontiguousarray(gy), self.mean, self.var),
            *(xp.ascontiguousarray(weight, wide), self.eps, dx, dweight, dbias),
        )
        return dx if self.needs[0] else None, dweight, dbias


def batch_norm(x, running_mean, running_var, weight=None, bias=None, *, training=False, momentum=0.1, eps=1e-5):
    """Batch normalisation, (x - mean) / sqrt(var + eps) * weight + bias for each channel (Ioffe & Szegedy 2015).

    x             (N, C) or (N, C, ...)    float
    running_*     (C,)                     statistics for evaluation; in training they are updated in place:
                                           running = (1 - momentum) running + momentum batch, with the unbiased variance
    weight, bias  (C,) or None             any float dtype
    training      use the mean and the biased variance of this batch (more than one value a channel)

    Statistics and sums are in float32 for float16 and bfloat16.
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
    return BatchNorm.apply(
        x,
        weight,
        bias,
        training=training,
        running_mean=running_mean,
        running_var=running_var,
        momentum=momentum,
        eps=eps,
    )


class LocalResponseNorm(Function):
    """y = x d**-beta with d = k + alpha S(x x), S the sum over the window of channels.

    S is average pooling, without the division, over an image that has the channels for rows and the pixels for columns.
    """

    def forward(self, x):
        xp, wide = array_module(x), dtypes.accumulate(x.dtype)
        N, C, pixels = x.shape[0], x.shape[1], prod(x.shape[2:])
        # Of an even window the greater half is before the channel; the last of C + 1 windows is left out.
        self.windows = ConvShape(N, 1, C, pixels, 1, self.size, 1, pad=(self.size // 2, 0))
        square = xp.ascontiguousarray(xp.square(x, dtype=wide).reshape(self.windows.x))
        total = xp.empty(self.windows.y, wide)
        launch("avg_pool2d_fwd", self.windows, square.dtype.name, True, square, total)
        divisor = self.k + self.alpha * self.size * total[:, :, :C].reshape(x.shape)
        self.save(x, divisor)
        return (x * divisor**-self.beta).astype(x.dtype, copy=False)

    def backward(self, gy):
        """dx = gy d**-beta - 2 alpha beta x S^T(gy x d**(-beta - 1))."""
        x, divisor = self.saved
        xp, (N, _, windows, pixels) = array_module(x), self.windows.y
        direct = gy * divisor**-self.beta
        weighted = xp.zeros((N, 1, windows, pixels), divisor.dtype)
        weighted[:, 0, : x.shape[1]] = (direct * x / divisor).reshape(N, x.shape[1], pixels)
        spread = xp.empty(self.windows.x, divisor.dtype)
        launch("avg_pool2d_bwd", self.windows, divisor.dtype.name, True, weighted, spread)
        return direct - 2 * self.alpha * self.beta * self.size * x * spread.reshape(x.shape)


def local_response_norm(x, size=5, alpha=1e-4, beta=0.75, k=2.0):
    """Divide by the activity of neighbouring channels: x / (k + alpha * sum of squares) ** beta.

    x          (N, C, ...)        float
    returns    the shape of x;    the sum is over ``size`` channels: from c - size // 2 to c + (size - 1) // 2, where
                                  there are such
    The formula and constants of AlexNet (Krizhevsky, Sutskever & Hinton 2012, section 3.3), where alpha multiplies the
    sum. Caffe and PyTorch multiply the mean, the sum divided by ``size``: give alpha / size for their alpha.

    Computed in float32 for 16-bit dtypes.

    >>> local_response_norm(as_tensor([[3.0, 4.0]]), size=3, alpha=1.0, beta=1.0, k=0.0)
    tensor([[0.12, 0.16]])
    """
    x = as_tensor(x)
    checks.floats("local_response_norm", x)
    if x.ndim < 2 or not prod(x.shape[1:]):
        raise ValueError(f"local_response_norm: takes (N, C, ...), none but N zero, but came {x.shape}")
    if checks.whole(size, "local_response_norm size") < 1:
        raise ValueError(f"local_response_norm: the window has at least one channel, but came {size} ({x.shape})")
    return LocalResponseNorm.apply(x, size=int(size), alpha=float(alpha), beta=float(beta), k=float(k))
