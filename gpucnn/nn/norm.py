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

    def forward(self, x):
        return ops.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            training=self.training,
            momentum=self.momentum,
            eps=self.eps,
        )

    def extra(self):
        return f"{self.weight.shape[0]}, eps={self.eps}, momentum={self.momentum}"


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
