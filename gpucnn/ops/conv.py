"""Convolution as an operation: checks and the graph; the engine in gpucnn/conv computes."""

from .. import checks
from ..autograd import Function
from ..conv import run, shape_of
from ..layout import from_memory, in_memory, is_channels_last
from ..tensor import as_tensor
from .activation import sloped
from .reduce import channel_sum


class Conv2d(Function):
    def forward(self, x, weight, *bias):
        y = run(
            "fwd",
            self.shape,
            x,
            weight,
            bias=bias[0] if bias else None,
            relu=self.relu,
            algorithm=self.algorithm,
            version=None if any(self.needs) else self.version,
            statistics=self.statistics,
        )
        self.save(
            x if self.needs[1] else None,
            weight if self.needs[0] else None,
            in_memory(y, self.shape.channels_last) > 0 if self.relu and any(self.needs) else None,
        )
        return y

    def backward(self, gy):
        x, weight, positive = self.saved
        if positive is not None:
            last = self.shape.channels_last
            gy = from_memory(sloped(in_memory(gy, last), positive), last)
        dx = run("dgrad", self.shape, gy, weight, algorithm=self.algorithm) if self.needs[0] else None
        dw = run("wgrad", self.shape, x, gy, algorithm=self.algorithm) if self.needs[1] else None
        if len(self.needs) < 3:
            return dx, dw
        return dx, dw, channel_sum(gy) if self.needs[2] else None


def conv2d(
    x,
    weight,
    bias=None,
    *,
    stride=1,
    padding=0,
    dilation=1,
    groups=1,
    relu=False,
    algorithm="auto",
    statistics=None,
):
    """Two-dimensional convolution (cross-correlation: the filter is not flipped), and ReLU after it where ``relu``.

    x          (N, C, H, W)           float32, float16 or bfloat16 (float64 on the CPU), in either layout
    weight     (K, C/groups, R, S)    same dtype and device as x
    bias       (K,) or None           same dtype and device as x
    returns    (N, K, P, Q),          P = floor((H + 2 pad_h - dil_h (R - 1) - 1) / stride_h) + 1; in the layout of x
    stride, padding, dilation         pixels: an int, or (h, w)
    padding="same"                    the output has the size of x; for stride 1. Of an odd number of padded rows or
                                      columns, the greater half is behind
    statistics                        None, or an empty list: gets the raw mean and biased variance of each output
                                      channel where the algorithm has them; for the ``batch_norm`` that follows

    Sums are in float32 for every 16-bit dtype. ``algorithm`` is "auto", "find" (the fastest, timed at the first call
    with this shape) or a name in ``gpucnn.conv.ALGOS``, used for the gradients too; a name that cannot do this shape is
    a ValueError. ``gpucnn.conv.plan`` shows what there is to choose from. Where no gradient is wanted, a transform of
    weight may be kept for the next call, until an operation or optimiser of gpucnn changes weight; who writes into the
    array below it adds 1 to ``weight.version[0]``.

    >>> from gpucnn import randn
    >>> conv2d(randn(1, 3, 5, 7), randn(4, 3, 3, 2), stride=(2, 1)).shape
    (1, 4, 2, 6)
    """
    x, weight = as_tensor(x), as_tensor(weight)
    operands = [x, weight] if bias is None else [x, weight, as_tensor(bias)]
    checks.floats("conv2d", *operands)
    shape, over = shape_and_surplus(x, weight, stride, padding, dilation, groups)
    if bias is not None and operands[2].shape != (shape.K,):
        raise ValueError(
            f"conv2d: bias has one value an output channel, but came {operands[2].shape} (weight {weight.shape})"
        )
    y = Conv2d.apply(
        *operands,
        shape=shape,
        relu=bool(relu),
        algorithm=algorithm,
        version=weight.version[0],
        statistics=None if any(over) else statistics,
    )
    return y[:, :, over[0] :, over[1] :] if any(over) else y


def shape_and_surplus(x, weight, stride, padding, dilation, groups):
    """The ConvShape that conv2d computes, and the (rows, columns) of its result that are left out in front."""
    over = (0, 0)
    if isinstance(padding, str):
        padding, over = _same(padding, weight, stride, dilation)
    shape = shape_of(
        x.shape,
        weight.shape,
        checks.pair(stride, "conv2d stride"),
        checks.pair(padding, "conv2d padding"),
        checks.pair(dilation, "conv2d dilation"),
        checks.whole(groups, "conv2d groups"),
        is_channels_last(x.data),
    )
    return shape, over


def _same(padding, weight, stride, dilation):
    """(padding, over) of padding="same": ConvShape pads both sides alike, so one row or column too many is left out."""
    if padding != "same":
        raise ValueError(f'conv2d padding: takes an int, a pair (h, w) of ints or "same", but came {padding!r}')
    if checks.pair(stride, "conv2d stride") != (1, 1):
        raise ValueError(f'conv2d: padding="same" goes with stride 1, but came stride {stride} (weight {weight.shape})')
    checks.ndim("conv2d weight", weight, 4, "(K, C/groups, R, S)")
    dilation = checks.pair(dilation, "conv2d dilation")
    total = [d * (taps - 1) for d, taps in zip(dilation, weight.shape[2:], strict=True)]
    return tuple(-(-n // 2) for n in total), tuple(n % 2 for n in total)
