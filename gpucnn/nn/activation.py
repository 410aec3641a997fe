"""Activations."""

from .. import ops
from .module import Module, new_parameter


class ReLU(Module):
    """max(x, 0), ``gpucnn.relu``."""

    def forward(self, x):
        return ops.relu(x)


class LeakyReLU(Module):
    """x where it is positive, else slope x: ``gpucnn.leaky_relu``."""

    def __init__(self, slope=0.01):
        self.slope = slope

    def forward(self, x):
        return ops.leaky_relu(x, self.slope)

    def extra(self):
        return f"slope={self.slope}"


class PReLU(Module):
    """x where it is positive, else weight x with learned slopes: ``gpucnn.prelu``.

    weight      (channels,), at first all ``slope``; by default one for all channels
    """

    def __init__(self, channels=1, slope=0.25):
        self.weight = new_parameter(channels)
        self.weight.data[...] = slope

    def forward(self, x):
        return ops.prelu(x, self.weight)

    def extra(self):
        return f"{self.weight.size}"


class ELU(Module):
    """x where it is positive, else alpha (exp(x) - 1): ``gpucnn.elu``."""

    def __init__(self, alpha=1.0):
        self.alpha = alpha

    def forward(self, x):
        return ops.elu(x, self.alpha)

    def extra(self):
        return f"alpha={self.alpha}"


class GELU(Module):
    """x times the standard normal distribution function, ``gpucnn.gelu``; approximate="tanh" for a cheaper one."""

    def __init__(self, approximate="none"):
        self.approximate = approximate

    def forward(self, x):
        return ops.gelu(x, self.approximate)

    def extra(self):
        return f"approximate={self.approximate!r}"


class Sigmoid(Module):
    """1 / (1 + exp(-x)), ``gpucnn.sigmoid``."""

    def forward(self, x):
        return ops.sigmoid(x)


class Tanh(Module):
    """``gpucnn.tanh``."""

    def forward(self, x):
        return ops.tanh(x)


class Softmax(Module):
    """``gpucnn.softmax`` over an axis, the last by default."""

    def __init__(self, axis=-1):
        self.axis = axis

    def forward(self, x):
        return ops.softmax(x, self.axis)

    def extra(self):
        return f"axis={self.axis}"


class LogSoftmax(Softmax):
    """``gpucnn.log_softmax`` over an axis, the last by default."""

    def forward(self, x):
        return ops.log_softmax(x, self.axis)
