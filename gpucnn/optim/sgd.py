"""Stochastic gradient descent."""

from .optimizer import Optimizer


class SGD(Optimizer):
    """Gradient descent with momentum, Nesterov momentum and weight decay, by PyTorch's formula.

        g = grad + weight_decay p;  v = momentum v + g;  p = p - lr (g + momentum v if nesterov else v)

    The first step sets v = g.

    lr, momentum, weight_decay      not negative; numbers that may be changed between steps
    """

    state_names = ("velocity",)

    def __init__(self, params, lr, momentum=0.0, weight_decay=0.0, nesterov=False):
        super().__init__(params, lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov)
        self._check("lr is not negative", lr >= 0, lr)
        self._check("momentum is in [0, 1)", 0 <= momentum < 1, momentum)
        self._check("weight_decay is not negative", weight_decay >= 0, weight_decay)
        self._check("nesterov needs momentum", not nesterov or momentum > 0, f"momentum {momentum}")

    def update(self, value, grad, state, step):
        if self.weight_decay:
            grad = grad + self.weight_decay * value
        if self.momentum:
            if "velocity" in state:
                velocity = state["velocity"]
                velocity *= self.momentum
                velocity += grad
            else:
                velocity = state["velocity"] = grad.copy()
            grad = grad + self.momentum * velocity if self.nesterov else velocity
        value -= self.lr * grad
