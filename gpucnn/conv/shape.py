"""ConvShape: one convolution, described once, always in its forward sense."""

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

DIRECTIONS = ("fwd", "dgrad", "wgrad")
_IMAGES = {"fwd": (True, False, True), "dgrad": (True, False, True), "wgrad": (True, True, False)}  # of operands


@dataclass(frozen=True)
class ConvShape:
    """The sizes of y (N, K, P, Q) = x (N, C, H, W) * w (K, C/groups, R, S).

    N C H W     batch, input channels, image      K R S   output channels, filter
    pad, stride, dilation                          (h, w) pairs in pixels
    P Q         output image: P = floor((H + 2 pad_h - dil_h (R - 1) - 1) / stride_h) + 1
    channels_last    images lie in memory as (N, H, W, C); their shapes, and filters, are as ever

    The same struct, field for field, is ``ConvShape`` in kernels/conv_shape.h. A pooling window is described
    as a depthwise convolution: K = groups = C. A shape whose filter does not fit is a ValueError.

    >>> ConvShape(2, 3, 12, 11, 8, 4, 5, pad=(1, 2), stride=(2, 1), dilation=(1, 2)).y
    (2, 8, 6, 7)
    """

    N: int
    C: int
    H: int
    W: int
    K: int
    R: int
    S: int
    pad: tuple[int, int] = (0, 0)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    channels_last: bool = False

    def __post_init__(self):
        sizes = (self.C, self.H, self.W, self.K, self.R, self.S, self.groups)
        if self.N < 0 or min(sizes) < 1 or min(self.stride) < 1 or min(self.dilation) < 1:
            raise ValueError(f"ConvShape: sizes, strides and dilations are positive, but {self}")
        if min(self.pad) < 0:
            raise ValueError(f"ConvShape: padding is not negative, but {self}")
        if max(self.N, *sizes, *self.stride, *self.dilation, *self.pad) > 2**30:
            raise ValueError(f"ConvShape: every size is at most 2**30, but {self}")
        if self.C % self.groups or self.K % self.groups:
            raise ValueError(f"ConvShape: groups divides C and K, but {self}")
        if self.P < 1 or self.Q < 1:
            raise ValueError(
                f"ConvShape: the filter fits the padded image, but {self.R}x{self.S} with dilation {self.dilation}"
                f" is larger than {self.H}x{self.W} with padding {self.pad} ({self})"
            )

    @cached_property
    def P(self):
        return (self.H + 2 * self.pad[0] - self.dilation[0] * (self.R - 1) - 1) // self.stride[0] + 1

    @cached_property
    def Q(self):
        return (self.W + 2 * self.pad[1] - self.dilation[1] * (self.S - 1) - 1) // self.stride[1] + 1

    @property
    def x(self):
        return (self.N, self.C, self.H, self.W)

    @property
    def w(self):
        return (self.K, self.C // self.groups, self.R, self.S)

    @property
    def y(self):
        return (self.N, self.K, self.P, self.Q)

    def operands(self, direction):
        """The shapes of (a, b, out): x, w, y for fwd; dy, w, dx for dgrad; x, dy, dw for wgrad."""
        return self._operands[direction]

    @cached_property
    def _operands(self):
        x, w, y = self.x, self.w, self.y
        return {"fwd": (x, w, y), "dgrad": (y, w, x), "wgrad": (x, y, w)}

    @cached_property
    def channels_first(self):
        """The same convolution of images in (N, C, H, W) order."""
        return replace(self, channels_last=False) if self.channels_last else self

    def in_channels_last(self, direction):
        """Which of (a, b, out) lie in memory as (N, H, W, C): images do where the shape says so, filters never."""
        return _IMAGES[direction] if self.channels_last else (False, False, False)

    def terms(self, direction):
        """L of the tolerance law: how many products one output element sums."""
        taps = self.R * self.S
        return {
            "fwd": self.C // self.groups * taps,
            "dgrad": self.K // self.groups * taps,
            "wgrad": self.N * self.P * self.Q,
        }[direction]

    @property
    def flops(self):
        """Floating-point operations of the direct algorithm (two a multiply-add), the same in every direction."""
        return 2 * self.N * self.K * self.P * self.Q * (self.C // self.groups) * self.R * self.S

    @cached_property
    def ints(self):
        """What crosses to native code: the seventeen fields of the C++ struct, in its order."""
        return (
            *(self.N, self.C, self.H, self.W, self.K, self.R, self.S, self.P, self.Q),
            *(*self.pad, *self.stride, *self.dilation, self.groups, int(self.channels_last)),
        )


@lru_cache(maxsize=4096)
def shape_of(x, w, stride=(1, 1), pad=(0, 0), dilation=(1, 1), groups=1, channels_last=False):
    """The ConvShape of the shapes of x (N, C, H, W) and w (K, C/groups, R, S); a ValueError where they disagree."""
    if len(x) != 4 or len(w) != 4:
        raise ValueError(f"conv2d: x and weight have 4 dimensions, but came {len(x)} and {len(w)} (x {x}, weight {w})")
    if groups < 1 or w[1] * groups != x[1]:
        raise ValueError(
            f"conv2d: weight takes {w[1]} channels x {groups} groups = {w[1] * groups}, but x has {x[1]} channels"
            f" (x {x}, weight {w})"
        )
    return ConvShape(x[0], x[1], x[2], x[3], w[0], w[2], w[3], pad, stride, dilation, groups, channels_last)
