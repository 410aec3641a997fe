"""Layers that drop at random in training."""

from .. import ops
from .module import Module


class Dropout(Module):
    """Zero each element with probability p and scale the rest by 1/(1 - p), in training only: ``gpucnn.dropout``."""

    def __init__(self, p=0.5):
        if not 0 <= p < 1:
            raise ValueError(f"Dropout: p is in [0, 1), but came {p}")
        self.p = p

    def forward(self, x):
        return ops.dropout(x, self.p, self.training)

    def extra(self):
        return f"p={self.p}"
