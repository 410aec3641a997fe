"""Losses."""

from .. import ops
from .module import Module


class CrossEntropyLoss(Module):
    """``gpucnn.cross_entropy`` of logits (N, classes) and labels (N,)."""

    def __init__(self, reduction="mean"):
        self.reduction = reduction

    def forward(self, logits, labels):
        return ops.cross_entropy(logits, labels, reduction=self.reduction)

    def extra(self):
        return f"reduction={self.reduction!r}"


class MSELoss(CrossEntropyLoss):
    """``gpucnn.mse_loss`` of two tensors of the same shape."""

    def forward(self, x, target):
        return ops.mse_loss(x, target, reduction=self.reduction)
