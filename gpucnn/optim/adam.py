"""Adam: D. P. Kingma, J. Ba, Adam: A Method for Stochastic Optimization, 2014."""

import math

from ..device import array_module
from .optimizer import Optimizer


class Adam(Optimizer):
    """Adam with the bias correction of the paper and L2 weight decay, by PyTorch's formula.

        g = grad + weight_decay p;  m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2
        p = p - lr / (1 - b1^t) m / (sqrt(v) / sqrt(1 - b2^t) + eps)

    betas       (b1, b2), each in [0, 1)
    """

    state_names = ("mean", "square")

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
        super().__init__(params, lr=lr, beta1=betas[0], beta2=betas[1], eps=eps, weight_decay=weight_decay)
        self._check("lr is not negative", lr >= 0, lr)
        self._check("betas are in [0, 1)", all(0 <= b < 1 for b in betas), betas)
        self._check("eps is not negative", eps >= 0, eps)
        self._check("weight_decay is not negative", weight_decay >= 0, weight_decay)

    def update(self, value, grad, state, step):
        if self.weight_decay:
            grad = grad + self.weight_decay * value
        mean, square = self._zeros(state, "mean", value), self._zeros(state, "square", value)
        mean += (1 - self.beta1) * (grad - mean)
        square *= self.beta2
        square += (1 - self.beta2) * (grad * grad)
        root = array_module(square).sqrt(square)
        root *= 1 / math.sqrt(1 - self.beta2**step)
        root += self.eps
        value -= self.lr / (1 - self.beta1**step) * (mean / root)
