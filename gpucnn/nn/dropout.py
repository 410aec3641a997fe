"""Layers that drop at random in training."""

from .. import ops
from .module import Module


class Dropout(Module):
    """Zero each element with probability p and scale the rest by 1/(1 - p), in training only: ``gpucnn.dropout``."""

    def __init__(self, p=0.5):
        self.p = check_probability(type(self).__name__, p)

    def forward(self, x):
        return ops.dropout(x, self.p, self.training)

    def extra(self):
        return f"p={self.p}"


class StochasticDepth(Dropout):
    """Zero each example with probability p, in training only: ``gpucnn.stochastic_depth``, the end of a residual block.

    >>> blocks = [nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.StochasticDepth(p)) for p in nn.drop_rates(3)]
    >>> blocks[-1][1]
    StochasticDepth(p=0.5)
    """

    def forward(self, x):
        return ops.stochastic_depth(x, self.p, self.training)


def drop_rates(blocks, last=0.5):
    """The probability of dropping each of so many residual blocks: rising linearly to that of the last.

    Huang, Sun, Liu, Sedra & Weinberger (2016), eq. 4: block l of L survives with probability 1 - l / L * last.

    >>> drop_rates(4)
    [0.125, 0.25, 0.375, 0.5]
    """
    check_probability("drop_rates", last)
    return [last * block / blocks for block in range(1, blocks + 1)]


def check_probability(name, p):
    """p, where it is a probability that something remains after dropping."""
    if not 0 <= p < 1:
        raise ValueError(f"{name}: p is in [0, 1), but came {p}")
    return p
