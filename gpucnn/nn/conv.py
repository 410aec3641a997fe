"""Convolution layers."""

from .. import ops
from ..checks import pair
from . import init
from .module import Module, new_parameter


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
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(
                f"Conv2d: groups divides both channel counts, but came {groups} for {in_channels} -> {out_channels}"
            )
        self.options = {
            "stride": stride,
            "padding": padding,
            "dilation": dilation,
            "groups": groups,
            "algorithm": algorithm,
        }
        self.weight = init.he_normal_(new_parameter(out_channels, in_channels // groups, r, s))
        self.bias = new_parameter(out_channels) if bias else None

    def forward(self, x):
        return ops.conv2d(x, self.weight, self.bias, **self.options)

    def extra(self):
        defaults = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "algorithm": "auto"}
        k, c, r, s = self.weight.shape
        text = f"{c * self.options['groups']}, {k}, kernel_size=({r}, {s})"
        text += "".join(f", {name}={value!r}" for name, value in self.options.items() if value != defaults[name])
        return text + ("" if self.bias is not None else ", bias=False")
