"""Normalisation layers."""

import numpy as np

from .. import ops
from .module import Buffer, Module, new_parameter, shown


class BatchNorm2d(Module):
    """Batch normalisation of each channel, ``gpucnn.batch_norm``: batch statistics in training, running ones in eval.

    weight, bias                    (channels,), ones and zeros
    running_mean, running_var       (channels,) buffers, zeros and ones; they move by ``momentum`` each training step
    """

    def __init__(self, channels, eps=1e-5, momentum=0.1):
        self.eps, self.momentum = eps, momentum
        self.weight, self.bias = new_parameter(channels), new_parameter(channels)
        self.weight.data[...] = 1
        self.running_mean = Buffer(np.zeros(channels, np.float32))
        self.running_var = Buffer(np.ones(channels, np.float32))

    def forward(self, x, residual=None, relu=False, statistics=None):
        """x normalised, plus ``residual``, and ReLU after it where ``relu``: ``Sequential`` asks for that.

        statistics    the list that the convolution was given which made x, see ``gpucnn.conv2d``
        """
        return ops.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            training=self.training,
            momentum=self.momentum,
            eps=self.eps,
            residual=residual,
            relu=relu,
            statistics=statistics,
        )

    def of(self, convolution, x, residual=None, relu=False):
        """This layer on convolution(x), a ``Conv2d``, which may measure its result on its way."""
        statistics = [] if self.training else None
        return self(convolution(x, statistics=statistics), residual, relu, statistics)

    def extra(self):
        return f"{self.weight.shape[0]}, eps={self.eps}, momentum={self.momentum}"


class BatchNorm1d(BatchNorm2d):
    """``BatchNorm2d`` for (N, channels) or (N, channels, length): ``gpucnn.batch_norm`` takes any of them."""


class LayerNorm(Module):
    """Normalisation of each example over its last axes, ``gpucnn.layer_norm``.

    weight, bias    of the shape of those axes (an int, or several), ones and zeros
    """

    def __init__(self, shape, eps=1e-5):
        self.eps = eps
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        self.weight, self.bias = new_parameter(*shape), new_parameter(*shape)
        self.weight.data[...] = 1

    def forward(self, x):
        return ops.layer_norm(x, self.weight, self.bias, axes=self.weight.ndim, eps=self.eps)

    def extra(self):
        return f"{self.weight.shape}, eps={self.eps}"


class GroupNorm(Module):
    """Normalisation of each group of channels of each example, ``gpucnn.group_norm``.

    weight, bias    (channels,), ones and zeros
    """

    def __init__(self, groups, channels, eps=1e-5):
        if groups < 1 or channels % groups:
            raise ValueError(f"GroupNorm: groups divides the channels, but came {groups} for {channels}")
        self.groups, self.eps = groups, eps
        self.weight, self.bias = new_parameter(channels), new_parameter(channels)
        self.weight.data[...] = 1

    def forward(self, x):
        return ops.group_norm(x, self.groups, self.weight, self.bias, eps=self.eps)

    def extra(self):
        return f"{self.groups}, {self.weight.size}, eps={self.eps}"


class LocalResponseNorm(Module):
    """Division by the activity of neighbouring channels, ``gpucnn.local_response_norm`` with AlexNet's constants.

    alpha multiplies the sum of squares; PyTorch's multiplies their mean: give alpha / size for its alpha.
    """

    def __init__(self, size=5, alpha=1e-4, beta=0.75, k=2.0):
        self.options = {"size": size, "alpha": alpha, "beta": beta, "k": k}

    def forward(self, x):
        return ops.local_response_norm(x, **self.options)

    def extra(self):
        return shown(self.options)
