"""Pooling. A window is described as the filter of a depthwise convolution, so ConvShape serves here too."""

from dataclasses import replace
from itertools import product

import numpy as np

from .. import checks
from .. import dtype as dtypes
from ..autograd import Function
from ..conv import ConvShape
from ..device import array_module, launch
from ..layout import channels_last, empty, from_memory, in_memory, is_channels_last, moved
from ..tensor import as_tensor
from .reduce import mean


class MaxPool2d(Function):
    def forward(self, x):
        xp, last = array_module(x), self.shape.channels_last
        y = empty(xp, self.shape.y, x.dtype, last)
        index = xp.empty(in_memory(y, last).shape, np.int32)
        launch("max_pool2d_fwd", self.shape, x.dtype, in_memory(x, last), in_memory(y, last), index)
        self.save(index)  # where in its plane each maximum was: h W + w
        return y

    def backward(self, gy):
        (index,) = self.saved
        last = self.shape.channels_last
        dx = empty(array_module(gy), self.shape.x, gy.dtype, last)
        launch("max_pool2d_bwd", self.shape, gy.dtype, in_memory(gy, last), index, in_memory(dx, last))
        return dx


class AvgPool2d(Function):
    """``border`` (h, w): rows and columns of zeros on every side that are pixels of shape.x, but not of the input."""

    def forward(self, x):
        xp, (h, w) = array_module(x), self.border
        last = self.shape.channels_last
        if h or w:
            images = channels_last(x) if last else x
            sides = ((h, h), (w, w))
            x = from_memory(xp.pad(images, ((0, 0), *sides, (0, 0)) if last else ((0, 0), (0, 0), *sides)), last)
        y = empty(xp, self.shape.y, x.dtype, last)
        launch("avg_pool2d_fwd", self.shape, x.dtype, self.count_include_pad, in_memory(x, last), in_memory(y, last))
        return y

    def backward(self, gy):
        (h, w), last = self.border, self.shape.channels_last
        dx = empty(array_module(gy), self.shape.x, gy.dtype, last)
        launch("avg_pool2d_bwd", self.shape, gy.dtype, self.count_include_pad, in_memory(gy, last), in_memory(dx, last))
        return dx[:, :, h : self.shape.H - h, w : self.shape.W - w]


def _window(op, x, kernel_size, stride, padding, dilation, ceil_mode):
    """(shape, over): the windows as a ConvShape, and the rows and columns of them to leave out at the front.

    ConvShape pads both sides alike. Where rounding up makes one more window, an image padded by one stride more has
    that one behind, and one in front that is left out.
    """
    checks.floats(op, x)
    checks.ndim(op, x, 4, "(N, C, H, W)")
    window = checks.pair(kernel_size, f"{op} kernel_size")
    stride = window if stride is None else checks.pair(stride, f"{op} stride")
    pad, dilation = checks.pair(padding, f"{op} padding"), checks.pair(dilation, f"{op} dilation")
    if any(2 * p > n for p, n in zip(pad, window, strict=True)):
        raise ValueError(f"{op}: padding is at most half of the window, but came {pad} for {window} ({x.shape})")
    over = (0, 0)
    if ceil_mode and min(stride) > 0:
        over = tuple(map(_one_more, x.shape[2:], window, stride, pad, dilation))
        pad = tuple(p + s * more for p, s, more in zip(pad, stride, over, strict=True))
    (N, C, H, W), last = x.shape, is_channels_last(x.data)
    return ConvShape(
        N, C, H, W, C, *window, pad=pad, stride=stride, dilation=dilation, groups=C, channels_last=last
    ), over


def _one_more(size, taps, stride, pad, dilation):
    """1 where rounding up gives a window more, which must begin inside the image or the padding before it; else 0."""
    room = size + 2 * pad - dilation * (taps - 1) - 1
    return int(room % stride > 0 and (room // stride + 1) * stride < size + pad)


def max_pool2d(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """The maximum of each window; padding never wins, a NaN does. The gradient goes to the first maximum.

    x          (N, C, H, W)     float
    returns    (N, C, P, Q),    P = floor((H + 2 pad_h - dil_h (R - 1) - 1) / stride_h) + 1 for R x S windows
    kernel_size, stride, padding, dilation      pixels: an int, or (h, w); the stride is by default the window
    ceil_mode  P and Q are rounded up: the last window may reach over the edge (Caffe's rule, GoogLeNet's sizes), if it
               begins inside the image or the padding before it

    >>> max_pool2d(as_tensor([[[[1.0, 1, 2, 4], [5, 6, 7, 8], [3, 2, 1, 0], [1, 2, 3, 4]]]]), 2).numpy().tolist()
    [[[[6.0, 8.0], [3.0, 4.0]]]]
    """
    x = as_tensor(x)
    shape, over = _window("max_pool2d", x, kernel_size, stride, padding, dilation, ceil_mode)
    y = MaxPool2d.apply(x, shape=shape)
    return y[:, :, over[0] :, over[1] :] if any(over) else y


def avg_pool2d(x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
    """The mean of each window, summed in float32 for 16-bit dtypes.

    x          (N, C, H, W)     float
    returns    (N, C, P, Q),    P = floor((H + 2 pad_h - R) / stride_h) + 1 for R x S windows
    ceil_mode  P and Q are rounded up, as those of ``max_pool2d``
    count_include_pad           whether padded zeros count in the mean; what a window covers behind them never does

    >>> avg_pool2d(as_tensor([[[[1.0, 1, 2, 4], [5, 6, 7, 8], [3, 2, 1, 0], [1, 2, 3, 4]]]]), 2).numpy().tolist()
    [[[[3.25, 5.25], [2.0, 2.0]]]]
    """
    x = as_tensor(x)
    shape, over = _window("avg_pool2d", x, kernel_size, stride, padding, 1, ceil_mode)
    border, counted = (0, 0), bool(count_include_pad)
    if counted and any(over):  # the padding becomes pixels, and then only pixels count
        beyond = tuple(s * more for s, more in zip(shape.stride, over, strict=True))
        border, counted = tuple(p - b for p, b in zip(shape.pad, beyond, strict=True)), False
        shape = replace(shape, H=shape.H + 2 * border[0], W=shape.W + 2 * border[1], pad=beyond)
    y = AvgPool2d.apply(x, shape=shape, count_include_pad=counted, border=border)
    return y[:, :, over[0] :, over[1] :] if any(over) else y


def _bins(size, count):
    """The ``count`` bins that cover ``size`` pixels: bin i is [floor(i size / count), ceil((i + 1) size / count))."""
    return [slice(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]


class AdaptiveAvgPool2d(Function):
    """Row sums, then column sums: a bin is a product of a range of rows and one of columns."""

    def forward(self, x):
        xp, wide = array_module(x), dtypes.accumulate(x.dtype)
        self.before, (P, Q) = x.shape, self.output_size
        self.last = is_channels_last(x)
        rows = [x[:, :, b].sum(axis=2, dtype=wide, keepdims=True) for b in _bins(x.shape[2], P)]
        tall = xp.concatenate(rows, axis=2)
        columns = [tall[..., b].sum(axis=3, keepdims=True) for b in _bins(x.shape[3], Q)]
        y = (xp.concatenate(columns, axis=3) * self._weights(xp, wide)).astype(x.dtype, copy=False)
        return moved(y, self.last)

    def _weights(self, xp, wide):
        """(P, Q): 1 / the pixels of each bin."""
        pixels = [[b.stop - b.start for b in bins] for bins in map(_bins, self.before[2:], self.output_size)]
        return xp.asarray(1 / np.outer(*pixels), wide)

    def backward(self, gy):
        xp, wide = array_module(gy), dtypes.accumulate(gy.dtype)
        N, C, H, W = self.before
        share = gy * self._weights(xp, wide)
        tall = xp.zeros((*gy.shape[:3], W), wide)
        for i, b in enumerate(_bins(W, gy.shape[3])):
            tall[..., b] += share[..., i : i + 1]
        dx = empty(xp, self.before, wide, self.last)
        dx[...] = 0
        for i, b in enumerate(_bins(H, gy.shape[2])):
            dx[:, :, b] += tall[:, :, i : i + 1]
        return dx


class AdaptiveMaxPool2d(Function):
    """Bin by bin; the first maximum in rows wins, as in MaxPool2d."""

    def forward(self, x):
        xp, (N, C, H, W) = array_module(x), x.shape
        self.last = is_channels_last(x)
        x = in_memory(x, False)
        self.before, bins = x.shape, list(product(*map(_bins, (H, W), self.output_size)))
        planes = x.reshape(N * C, H, W)
        y, index = xp.empty((N * C, len(bins)), x.dtype), xp.empty((N * C, len(bins)), np.int32)
        for i, (rows, columns) in enumerate(bins):
            values = planes[:, rows, columns].reshape(N * C, -1 if N * C else 1)
            at, width = xp.argmax(values, axis=1), columns.stop - columns.start
            y[:, i] = values[xp.arange(N * C), at]
            index[:, i] = (rows.start + at // width) * W + columns.start + at % width
        self.save(index)  # where in its plane each maximum was: h W + w
        return moved(y.reshape(N, C, *self.output_size), self.last)

    def backward(self, gy):
        (index,) = self.saved
        xp, (N, C, H, W) = array_module(gy), self.before
        gy, planes = in_memory(gy, False).reshape(index.shape), xp.arange(N * C)
        dx = xp.zeros((N * C, H * W), dtypes.accumulate(gy.dtype))
        for i in range(index.shape[1]):  # bins may share a pixel, planes do not
            dx[planes, index[:, i]] += gy[:, i]
        return moved(dx.reshape(self.before), self.last)


def _adaptive(op, x, output_size):
    x, output_size = as_tensor(x), checks.pair(output_size, f"{op} output_size")
    checks.floats(op, x)
    checks.ndim(op, x, 4, "(N, C, H, W)")
    if min(*output_size, *x.shape[2:]) < 1:
        raise ValueError(f"{op}: image and output have at least one pixel, but came {output_size} ({x.shape})")
    return x, output_size


def adaptive_avg_pool2d(x, output_size):
    """The means of bins that cover the image whatever its size; output_size 1 is global average pooling.

    x            (N, C, H, W)    float
    output_size  (P, Q)          an int, or (h, w)
    returns      (N, C, P, Q)    bin i of P has the rows from floor(i H / P) to ceil((i + 1) H / P), exclusive

    Sums are in float32 for 16-bit dtypes.

    >>> adaptive_avg_pool2d(as_tensor([[[[1.0, 2.0, 3.0]]]]), (1, 2)).numpy().tolist()
    [[[[1.5, 2.5]]]]
    """
    x, output_size = _adaptive("adaptive_avg_pool2d", x, output_size)
    if output_size == (1, 1):
        return mean(x, (2, 3), keepdims=True)
    return AdaptiveAvgPool2d.apply(x, output_size=output_size)


def adaptive_max_pool2d(x, output_size):
    """The maxima of the bins of ``adaptive_avg_pool2d``; a NaN wins. The gradient goes to the first maximum.

    x            (N, C, H, W)    float
    output_size  (P, Q)          an int, or (h, w)
    returns      (N, C, P, Q)

    >>> adaptive_max_pool2d(as_tensor([[[[1.0, 2.0, 3.0]]]]), (1, 2)).numpy().tolist()
    [[[[2.0, 3.0]]]]
    """
    x, output_size = _adaptive("adaptive_max_pool2d", x, output_size)
    return AdaptiveMaxPool2d.apply(x, output_size=output_size)
