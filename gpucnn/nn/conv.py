"""Convolution layers."""

from .. import ops
from ..checks import pair
from . import init
from .module import Module, new_parameter

DEFAULTS = {"stride": 1, "padding": 0, "output_padding": 0, "dilation": 1, "groups": 1, "algorithm": "auto"}


class Conv2d(Module):
    """Two-dimensional convolution, ``gpucnn.conv2d``.

    weight      (out_channels, in_channels/groups, R, S), from ``init.he_normal_``
    bias        (out_channels,), zeros; None with ``bias=False``
    """

    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size,
        stride=1,
        padding=0,
        dilation=1,
        groups=1,
        bias=True,
        algorithm="auto",
    ):
        r, s = pair(kernel_size, "kernel_size")
        _check_groups("Conv2d", groups, in_channels, out_channels)
        self.options = {
            "stride": stride,
            "padding": padding,
            "dilation": dilation,
            "groups": groups,
            "algorithm": algorithm,
        }
        self.weight = init.he_normal_(new_parameter(out_channels, in_channels // groups, r, s))
        self.bias = new_parameter(out_channels) if bias else None

    def forward(self, x, relu=False, statistics=None):
        """The convolution of x, and ReLU after it where ``relu``: ``Sequential`` asks for that.

        statistics    a list for the ``batch_norm`` that follows, see ``gpucnn.conv2d``
        """
        return ops.conv2d(x, self.weight, self.bias, relu=relu, statistics=statistics, **self.options)

    def extra(self):
        k, c, r, s = self.weight.shape
        return _extra(f"{c * self.options['groups']}, {k}, kernel_size=({r}, {s})", self)


class ConvTranspose2d(Module):
    """Transposed convolution, ``gpucnn.conv_transpose2d``.

    weight      (in_channels, out_channels/groups, R, S), from ``init.he_normal_``: as the weight of the convolution,
                from out_channels to in_channels, whose gradient this is
    bias        (out_channels,), zeros; None with ``bias=False``
    """

    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size,
        stride=1,
        padding=0,
        output_padding=0,
        dilation=1,
        groups=1,
        bias=True,
        algorithm="auto",
    ):
        r, s = pair(kernel_size, "kernel_size")
        _check_groups("ConvTranspose2d", groups, in_channels, out_channels)
        self.options = {
            "stride": stride,
            "padding": padding,
            "output_padding": output_padding,
            "dilation": dilation,
            "groups": groups,
            "algorithm": algorithm,
        }
        self.weight = init.he_normal_(new_parameter(in_channels, out_channels // groups, r, s))
        self.bias = new_parameter(out_channels) if bias else None

    def forward(self, x):
        return ops.conv_transpose2d(x, self.weight, self.bias, **self.options)

    def extra(self):
        c, k, r, s = self.weight.shape
        return _extra(f"{c}, {k * self.options['groups']}, kernel_size=({r}, {s})", self)


def _extra(text, layer):
    """text, and the options that are not the defaults."""
    text += "".join(f", {name}={value!r}" for name, value in layer.options.items() if value != DEFAULTS[name])
    return text + ("" if layer.bias is not None else ", bias=False")


def _check_groups(layer, groups, in_channels, out_channels):
    if groups < 1 or in_channels % groups or out_channels % groups:
        raise ValueError(
            f"{layer}: groups divides both channel counts, but came {groups} for {in_channels} -> {out_channels}"
        )
