"""SGD and Adam in array language, one rounding an operation: what the native steps must give, bit for bit.

``bench.optim`` measures what the native steps gain over them.
"""

import math

import numpy as np

from gpucnn.optim import SGD, Adam, AdamW, Optimizer


class ArraySGD(SGD):
    update = Optimizer.update  # the one that calls rule

    def rule(self, value, grad, slot, options, step):
        if options.weight_decay:
            grad = grad + options.weight_decay * value
        if options.momentum:
            velocity = slot("velocity")
            velocity *= options.momentum
            velocity += grad
            grad = grad + options.momentum * velocity if options.nesterov else velocity
        value -= options.lr * grad


class ArrayAdam(Adam):
    update = Optimizer.update

    def rule(self, value, grad, slot, options, step):
        beta1, beta2 = options.betas
        if self.decoupled:
            value *= 1 - options.lr * options.weight_decay
        elif options.weight_decay:
            grad = grad + options.weight_decay * value
        mean, square = slot("mean"), slot("square")
        mean += (1 - beta1) * (grad - mean)
        square *= beta2
        square += (1 - beta2) * (grad * grad)
        root = np.sqrt(square)
        root *= 1 / math.sqrt(1 - beta2**step)
        root += options.eps
        value -= options.lr / (1 - beta1**step) * (mean / root)


class ArrayAdamW(AdamW):
    update = Optimizer.update
    rule = ArrayAdam.rule
