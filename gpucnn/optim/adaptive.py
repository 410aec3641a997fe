"""Adagrad, Adadelta and RMSprop: rates divided by the size of past gradients, element by element."""

from ..device import array_module
from .optimizer import Optimizer


class _Adaptive(Optimizer):
    """What the three share: L2 weight decay, and checks."""

    def check(self, options):
        self.require("lr is not negative", options.lr >= 0, options.lr)
        self.require("eps is not negative", options.eps >= 0, options.eps)
        self.require("weight_decay is not negative", options.weight_decay >= 0, options.weight_decay)

    def rule(self, value, grad, slot, options, step):
        if options.weight_decay:
            grad = grad + options.weight_decay * value
        value -= options.lr * self.direction(grad, slot, options)

    def direction(self, grad, slot, options):
        """What the learning rate multiplies; changes the arrays ``slot(name)`` of the state in place."""
        raise NotImplementedError


class Adagrad(_Adaptive):
    """Adagrad (Duchi, Hazan & Singer 2011), by PyTorch's formula.

    g = grad + weight_decay p;  s = s + g^2;  p = p - lr g / (sqrt(s) + eps)
    """

    state_names = ("square",)

    def __init__(self, params, lr=1e-2, eps=1e-10, weight_decay=0.0):
        super().__init__(params, lr=lr, eps=eps, weight_decay=weight_decay)

    def direction(self, grad, slot, options):
        square = slot("square")
        square += grad * grad
        return grad / (array_module(grad).sqrt(square) + options.eps)


class RMSprop(_Adaptive):
    """RMSprop (Tieleman & Hinton 2012), by PyTorch's formula.

        g = grad + weight_decay p;  s = alpha s + (1 - alpha) g^2;  v = momentum v + g / (sqrt(s) + eps);  p = p - lr v

    alpha, momentum     in [0, 1)
    """

    state_names = ("square", "velocity")

    def __init__(self, params, lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0):
        super().__init__(params, lr=lr, alpha=alpha, eps=eps, weight_decay=weight_decay, momentum=momentum)

    def check(self, options):
        super().check(options)
        self.require("alpha is in [0, 1)", 0 <= options.alpha < 1, options.alpha)
        self.require("momentum is in [0, 1)", 0 <= options.momentum < 1, options.momentum)

    def direction(self, grad, slot, options):
        square = slot("square")
        square *= options.alpha
        square += (1 - options.alpha) * (grad * grad)
        scaled = grad / (array_module(grad).sqrt(square) + options.eps)
        if not options.momentum:
            return scaled
        velocity = slot("velocity")
        velocity *= options.momentum
        velocity += scaled
        return velocity


class Adadelta(_Adaptive):
    """Adadelta (Zeiler 2012), by PyTorch's formula, which adds the learning rate.

        g = grad + weight_decay p;  s = rho s + (1 - rho) g^2;  d = sqrt(c + eps) / sqrt(s + eps) g
        c = rho c + (1 - rho) d^2;  p = p - lr d

    rho         in [0, 1)
    """

    state_names = ("square", "change")

    def __init__(self, params, lr=1.0, rho=0.9, eps=1e-6, weight_decay=0.0):
        super().__init__(params, lr=lr, rho=rho, eps=eps, weight_decay=weight_decay)

    def check(self, options):
        super().check(options)
        self.require("rho is in [0, 1)", 0 <= options.rho < 1, options.rho)

    def direction(self, grad, slot, options):
        xp, square, change = array_module(grad), slot("square"), slot("change")
        square *= options.rho
        square += (1 - options.rho) * (grad * grad)
        moved = xp.sqrt(change + options.eps) / xp.sqrt(square + options.eps) * grad
        change *= options.rho
        change += (1 - options.rho) * (moved * moved)
        return moved
