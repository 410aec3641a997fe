"""Pooling. A window is described as the filter of a depthwise convolution, so ConvShape serves here too."""

import numpy as np

from .. import checks
from ..autograd import Function
from ..conv import ConvShape
from ..device import array_module, launch
from ..tensor import as_tensor


class MaxPool2d(Function):
    def forward(self, x):
        xp, x = array_module(x), array_module(x).ascontiguousarray(x)
        y, index = xp.empty(self.shape.y, x.dtype), xp.empty(self.shape.y, np.int32)
        launch("max_pool2d_fwd", self.shape, x.dtype.name, x, y, index)
        self.save(index)  # where in its plane each maximum was: h W + w
        return y

    def backward(self, gy):
        (index,) = self.saved
        xp = array_module(gy)
        dx = xp.empty(self.shape.x, gy.dtype)
        launch("max_pool2d_bwd", self.shape, gy.dtype.name, xp.ascontiguousarray(gy), index, dx)
        return dx


class AvgPool2d(Function):
    def forward(self, x):
        xp = array_module(x)
        y = xp.empty(self.shape.y, x.dtype)
        launch("avg_pool2d_fwd", self.shape, x.dtype.name, self.count_include_pad, xp.ascontiguousarray(x), y)
        return y

    def backward(self, gy):
        xp = array_module(gy)
        dx = xp.empty(self.shape.x, gy.dtype)
        launch("avg_pool2d_bwd", self.shape, gy.dtype.name, self.count_include_pad, xp.ascontiguousarray(gy), dx)
        return dx


def _window(op, x, kernel_size, stride, padding, dilation):
    checks.floats(op, x)
    checks.ndim(op, x, 4, "(N, C, H, W)")
    window = checks.pair(kernel_size, f"{op} kernel_size")
    stride = window if stride is None else checks.pair(stride, f"{op} stride")
    pad, dilation = checks.pair(padding, f"{op} padding"), checks.pair(dilation, f"{op} dilation")
    if any(2 * p > n for p, n in zip(pad, window, strict=True)):
        raise ValueError(f"{op}: padding is at most half of the window, but came {pad} for {window} ({x.shape})")
    N, C, H, W = x.shape
    return ConvShape(N, C, H, W, C, *window, pad=pad, stride=stride, dilation=dilation, groups=C)


def max_pool2d(x, kernel_size, stride=None, padding=0, dilation=1):
    """The maximum of each window; padding never wins, a NaN does. The gradient goes to the first maximum.

    x          (N, C, H, W)     float
    returns    (N, C, P, Q),    P = floor((H + 2 pad_h - dil_h (R - 1) - 1) / stride_h) + 1 for R x S windows
    kernel_size, stride, padding, dilation      pixels: an int, or (h, w); the stride is by default the window

    >>> max_pool2d(as_tensor([[[[1.0, 1, 2, 4], [5, 6, 7, 8], [3, 2, 1, 0], [1, 2, 3, 4]]]]), 2).numpy().tolist()
    [[[[6.0, 8.0], [3.0, 4.0]]]]
    """
    x = as_tensor(x)
    return MaxPool2d.apply(x, shape=_window("max_pool2d", x, kernel_size, stride, padding, dilation))


def avg_pool2d(x, kernel_size, stride=None, padding=0, count_include_pad=True):
    """The mean of each window, summed in float32 for 16-bit dtypes.

    x          (N, C, H, W)     float
    returns    (N, C, P, Q),    P = floor((H + 2 pad_h - R) / stride_h) + 1 for R x S windows
    count_include_pad           whether padded zeros count in the mean

    >>> avg_pool2d(as_tensor([[[[1.0, 1, 2, 4], [5, 6, 7, 8], [3, 2, 1, 0], [1, 2, 3, 4]]]]), 2).numpy().tolist()
    [[[[3.25, 5.25], [2.0, 2.0]]]]
    """
    x = as_tensor(x)
    shape = _window("avg_pool2d", x, kernel_size, stride, padding, 1)
    return AvgPool2d.apply(x, shape=shape, count_include_pad=bool(count_include_pad))
