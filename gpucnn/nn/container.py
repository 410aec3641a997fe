"""Sequences of layers, and layers that only pass on or reshape."""

from itertools import zip_longest

from .. import ops
from .activation import ReLU
from .conv import Conv2d
from .module import Module
from .norm import BatchNorm1d, BatchNorm2d

TAKES_RELU = (Conv2d, BatchNorm1d, BatchNorm2d)


class Sequential(Module):
    """Modules applied one after the other; named "0", "1", ... and reached by index.

    A ``Conv2d`` or batch normalisation and the ``ReLU`` behind it run as one operation, with the same results; and a
    ``Conv2d`` before batch normalisation may measure its result for it.

    >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    >>> net[0].weight.shape
    (3, 4)
    """

    def __init__(self, *modules):
        for i, module in enumerate(modules):
            if not isinstance(module, Module):
                raise TypeError(f"Sequential: takes Modules, but argument {i} is a {type(module).__name__}")
            setattr(self, str(i), module)

    def forward(self, x):
        modules, fused, measured = [module for _, module in self.children()], False, None
        for module, after in zip_longest(modules, modules[1:]):
            if fused:  # with the layer before it
                fused = False
                continue
            fused = type(module) in TAKES_RELU and type(after) is ReLU
            options = {"relu": True} if fused else {}
            if measured is not None:  # by the convolution before it
                options["statistics"] = measured
            measured = [] if type(module) is Conv2d and type(after) is BatchNorm2d and after.training else None
            if measured is not None:
                options["statistics"] = measured
            x = module(x, **options)
        return x

    def __len__(self):
        return len(self.children())

    def __getitem__(self, index):
        return self.children()[index][1]


class Flatten(Module):
    """(N, ...) to (N, features)."""

    def forward(self, x):
        return ops.flatten(x, 1)


class Identity(Module):
    """x itself: for a place where a layer is left out, such as the shortcut of a residual block."""

    def forward(self, x):
        return x
