"""Pooling layers."""

from .. import ops
from ..checks import pair
from .module import Module, shown


class MaxPool2d(Module):
    """Largest value of each window, ``gpucnn.max_pool2d``; stride defaults to kernel_size."""

    def __init__(self, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
        self.options = {
            "kernel_size": kernel_size,
            "stride": stride,
            "padding": padding,
            "dilation": dilation,
            "ceil_mode": ceil_mode,
        }

    def forward(self, x):
        return ops.max_pool2d(x, **self.options)

    def extra(self):
        return shown(self.options)


class AvgPool2d(Module):
    """Mean of each window, ``gpucnn.avg_pool2d``; stride defaults to kernel_size."""

    def __init__(self, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
        self.options = {
            "kernel_size": kernel_size,
            "stride": stride,
            "padding": padding,
            "ceil_mode": ceil_mode,
            "count_include_pad": count_include_pad,
        }

    def forward(self, x):
        return ops.avg_pool2d(x, **self.options)

    def extra(self):
        return shown(self.options)


class AdaptiveAvgPool2d(Module):
    """Means of bins that cover an image of any size, ``gpucnn.adaptive_avg_pool2d``.

    ``AdaptiveAvgPool2d(1)`` is global average pooling: (N, C, H, W) to (N, C, 1, 1).
    """

    def __init__(self, output_size):
        self.output_size = pair(output_size, "output_size")

    def forward(self, x):
        return ops.adaptive_avg_pool2d(x, self.output_size)

    def extra(self):
        return f"output_size={self.output_size}"


class AdaptiveMaxPool2d(AdaptiveAvgPool2d):
    """Maxima of bins that cover an image of any size, ``gpucnn.adaptive_max_pool2d``."""

    def forward(self, x):
        return ops.adaptive_max_pool2d(x, self.output_size)
