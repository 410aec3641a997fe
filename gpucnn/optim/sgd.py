"""Stochastic gradient descent."""

from .optimizer import Optimizer


class SGD(Optimizer):
    """Gradient descent with momentum, Nesterov momentum and weight decay, by PyTorch's formula.

        g = grad + weight_decay p;  v = momentum v + g;  p = p - lr (g + momentum v if nesterov else v)

    v starts at 0. One native call steps all parameters, with one rounding an operation.

    lr, momentum, weight_decay      not negative; numbers that may be changed between steps
    """

    state_names = ("velocity",)

    def __init__(self, params, lr, momentum=0.0, weight_decay=0.0, nesterov=False):
        super().__init__(params, lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov)

    def check(self, options):
        self.require("lr is not negative", options.lr >= 0, options.lr)
        self.require("momentum is in [0, 1)", 0 <= options.momentum < 1, options.momentum)
        self.require("weight_decay is not negative", options.weight_decay >= 0, options.weight_decay)
        unneeded = not options.nesterov or options.momentum > 0
        self.require("nesterov needs momentum", unneeded, f"momentum {options.momentum}")

    def update(self, parts, options, step):
        slots = ["velocity" if options.momentum else None]
        self.launch("sgd_step", parts, slots, options.lr, options.momentum, options.weight_decay, options.nesterov)
