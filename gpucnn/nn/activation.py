"""Activations."""

from .. import ops
from .module import Module


class ReLU(Module):
    """max(x, 0), ``gpucnn.relu``."""

    def forward(self, x):
        return ops.relu(x)


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
