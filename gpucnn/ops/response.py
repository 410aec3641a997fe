"""Local response normalisation: neighbouring channels compete. Sums are in float32 for every 16-bit dtype."""

from math import prod

import numpy as np

from .. import checks
from .. import dtype as dtypes
from ..autograd import Function
from ..conv import ConvShape
from ..device import array_module, launch
from ..layout import channels_last, from_memory, is_channels_last
from ..tensor import as_tensor


class LocalResponseNorm(Function):
    """y = x d**-beta with d = k + alpha S(x x), S the sum over the window of channels.

    S is average pooling, without the division, over an image that has the channels for rows and the pixels for columns,
    or in channels_last order the pixels for rows and the channels for columns.
    """

    def forward(self, x):
        xp, N, C, pixels = array_module(x), x.shape[0], x.shape[1], prod(x.shape[2:])
        self.last = is_channels_last(x)
        x = channels_last(x) if self.last else x
        wide = x.astype(dtypes.accumulate(x.dtype), copy=False)
        # Of an even window the greater half is before the channel; the last of C + 1 windows is left out.
        if self.last:
            self.windows = ConvShape(N, 1, pixels, C, 1, 1, self.size, pad=(0, self.size // 2))
            self.kept = np.s_[..., :C]
        else:
            self.windows = ConvShape(N, 1, C, pixels, 1, self.size, 1, pad=(self.size // 2, 0))
            self.kept = np.s_[:, :, :C]
        square = xp.ascontiguousarray((wide * wide).reshape(self.windows.x))
        total = xp.empty(self.windows.y, wide.dtype)
        launch("avg_pool2d_fwd", self.windows, wide.dtype, True, square, total)
        divisor = self.k + self.alpha * self.size * total[self.kept].reshape(x.shape)
        self.save(x, divisor)
        return from_memory((wide * divisor**-self.beta).astype(x.dtype, copy=False), self.last)

    def backward(self, gy):
        """dx = gy d**-beta - 2 alpha beta x S^T(gy x d**(-beta - 1))."""
        x, divisor = self.saved
        xp = array_module(x)
        direct = (channels_last(gy) if self.last else gy) * divisor**-self.beta
        weighted = xp.zeros(self.windows.y, divisor.dtype)
        weighted[self.kept] = (direct * x / divisor).reshape(self.windows.x)
        spread = xp.empty(self.windows.x, divisor.dtype)
        launch("avg_pool2d_bwd", self.windows, divisor.dtype, True, weighted, spread)
        dx = direct - (2 * self.alpha * self.beta * self.size) * spread.reshape(x.shape) * x
        return from_memory(dx, self.last)


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
