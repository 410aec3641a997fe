"""Adam and AdamW."""

import math

from .optimizer import Optimizer


class Adam(Optimizer):
    """Adam (Kingma & Ba 2014) with the bias correction of the paper and L2 weight decay, by PyTorch's formula.

        g = grad + weight_decay p;  m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2
        p = p - lr / (1 - b1^t) m / (sqrt(v) / sqrt(1 - b2^t) + eps)

    betas       (b1, b2), each in [0, 1)

    One native call steps all parameters, with one rounding an operation.
    """

    state_names = ("mean", "square")
    decoupled = False  # whether weight decay shrinks the parameter instead of joining the gradient

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
        super().__init__(params, lr=lr, betas=tuple(betas), eps=eps, weight_decay=weight_decay)

    def check(self, options):
        self.require("lr is not negative", options.lr >= 0, options.lr)
        self.require("betas are in [0, 1)", all(0 <= b < 1 for b in options.betas), options.betas)
        self.require("eps is not negative", options.eps >= 0, options.eps)
        self.require("weight_decay is not negative", options.weight_decay >= 0, options.weight_decay)

    def update(self, parts, options, step):
        beta1, beta2 = options.betas
        self.launch(
            *("adam_step", parts, ["mean", "square"], options.lr / (1 - beta1**step)),
            1 - options.lr * options.weight_decay if self.decoupled else 1.0,
            *(1 - beta1, beta2, 1 - beta2, 1 / math.sqrt(1 - beta2**step), options.eps),
            0.0 if self.decoupled else options.weight_decay,
        )


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2017): first p = (1 - lr weight_decay) p, then Adam's step.

    The decay is not divided by the size of past gradients, as it is in Adam.
    """

    decoupled = True

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2):
        super().__init__(params, lr, betas, eps, weight_decay)
