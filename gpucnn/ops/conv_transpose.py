"""Transposed convolution: the gradient of a convolution as an operation of its own; the engine computes."""

from .. import checks
from ..autograd import Function
from ..conv import ConvShape, run
from ..layout import is_channels_last
from ..tensor import as_tensor
from .reduce import channel_sum


class ConvTranspose2d(Function):
    """``shape`` is the convolution from y to x, whose gradients are these results: forward is its dgrad."""

    def forward(self, x, weight, *bias):
        self.save(x if self.needs[1] else None, weight if self.needs[0] else None)
        version = None if any(self.needs) else self.version
        y = run("dgrad", self.shape, x, weight, algorithm=self.algorithm, version=version)
        if bias:
            y += bias[0][:, None, None]
        return y

    def backward(self, gy):
        x, weight = self.saved
        dx = run("fwd", self.shape, gy, weight, algorithm=self.algorithm) if self.needs[0] else None
        dw = run("wgrad", self.shape, gy, x, algorithm=self.algorithm) if self.needs[1] else None
        if len(self.needs) < 3:
            return dx, dw
        return dx, dw, channel_sum(gy) if self.needs[2] else None


def conv_transpose2d(
    x, weight, bias=None, *, stride=1, padding=0, output_padding=0, dilation=1, groups=1, algorithm="auto"
):
    """Transposed convolution: the gradient of conv2d with respect to its input ("deconvolution", upsampling).

    x          (N, K, P, Q)           float32, float16 or bfloat16 (float64 on the CPU)
    weight     (K, C/groups, R, S)    same dtype and device as x: that of the conv2d from C to K channels
    bias       (C,) or None           same dtype and device as x
    returns    (N, C, H, W),          H = (P - 1) stride_h - 2 pad_h + dil_h (R - 1) + 1 + output_padding_h
    stride, padding, dilation         pixels: an int, or (h, w), those of the conv2d
    output_padding                    less than the stride: which of the sizes that conv2d brings to P by rounding down

    Sums are in float32 for every 16-bit dtype. ``algorithm`` as for conv2d, and weight may be kept as there.

    >>> conv_transpose2d(randn(1, 4, 2, 6), randn(4, 3, 3, 2), stride=(2, 1)).shape
    (1, 3, 5, 7)
    """
    x, weight = as_tensor(x), as_tensor(weight)
    operands = [x, weight] if bias is None else [x, weight, as_tensor(bias)]
    checks.floats("conv_transpose2d", *operands)
    checks.ndim("conv_transpose2d", x, 4, "(N, K, P, Q)")
    checks.ndim("conv_transpose2d weight", weight, 4, "(K, C/groups, R, S)")
    stride, padding, output_padding, dilation = (
        checks.pair(value, f"conv_transpose2d {name}")
        for name, value in (
            ("stride", stride),
            ("padding", padding),
            ("output_padding", output_padding),
            ("dilation", dilation),
        )
    )
    shapes = f"(x {x.shape}, weight {weight.shape})"
    if any(not 0 <= extra < max(s, 1) for extra, s in zip(output_padding, stride, strict=True)):
        raise ValueError(
            f"conv_transpose2d: output_padding is from 0 to stride - 1, but came {output_padding} for {stride} {shapes}"
        )
    if weight.shape[0] != x.shape[1]:
        raise ValueError(
            f"conv_transpose2d: weight takes {weight.shape[0]} channels, but x has {x.shape[1]} channels {shapes}"
        )
    C = weight.shape[1] * checks.whole(groups, "conv_transpose2d groups")
    H, W = (
        (count - 1) * s - 2 * pad + dil * (taps - 1) + 1 + extra
        for count, s, pad, dil, taps, extra in zip(
            x.shape[2:], stride, padding, dilation, weight.shape[2:], output_padding, strict=True
        )
    )
    if min(C, H, W) < 1:
        raise ValueError(
            f"conv_transpose2d: the result has channels and pixels, but came {C} channels of {H}x{W} {shapes}"
        )
    K, _, R, S = weight.shape
    last = is_channels_last(x.data)
    shape = ConvShape(x.shape[0], C, H, W, K, R, S, padding, stride, dilation, groups, last)
    if bias is not None and operands[2].shape != (C,):
        raise ValueError(
            f"conv_transpose2d: bias has one value an output channel, but came {operands[2].shape} {shapes}"
        )
    return ConvTranspose2d.apply(*operands, shape=shape, algorithm=algorithm, version=weight.version[0])
