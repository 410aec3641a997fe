"""Losses: each calls the function of gpucnn with its options."""

from .. import ops
from .module import Buffer, Module


class CrossEntropyLoss(Module):
    """``gpucnn.cross_entropy`` of logits (N, classes) and labels (N,).

    weight      (classes,) or None: a Buffer, which goes to the device with the module
    """

    def __init__(self, reduction="mean", weight=None, label_smoothing=0.0):
        self.reduction, self.label_smoothing = reduction, label_smoothing
        self.weight = None if weight is None else Buffer(weight)

    def forward(self, logits, labels):
        return ops.cross_entropy(
            logits, labels, self.reduction, weight=self.weight, label_smoothing=self.label_smoothing
        )

    def extra(self):
        smoothing = f", label_smoothing={self.label_smoothing}" if self.label_smoothing else ""
        return f"reduction={self.reduction!r}{smoothing}"


class MSELoss(Module):
    """``gpucnn.mse_loss`` of two tensors of the same shape."""

    def __init__(self, reduction="mean"):
        self.reduction = reduction

    def forward(self, x, target):
        return ops.mse_loss(x, target, self.reduction)

    def extra(self):
        return f"reduction={self.reduction!r}"


class L1Loss(MSELoss):
    """``gpucnn.l1_loss`` of two tensors of the same shape."""

    def forward(self, x, target):
        return ops.l1_loss(x, target, self.reduction)


class BCEWithLogitsLoss(MSELoss):
    """``gpucnn.binary_cross_entropy_with_logits`` of logits and probabilities of the same shape."""

    def forward(self, x, target):
        return ops.binary_cross_entropy_with_logits(x, target, self.reduction)


class KLDivLoss(MSELoss):
    """``gpucnn.kl_div`` of log-probabilities and probabilities (..., classes)."""

    def forward(self, log_q, p):
        return ops.kl_div(log_q, p, self.reduction)


class HingeLoss(MSELoss):
    """``gpucnn.hinge_loss`` of scores (N, classes) and labels (N,): the multi-class support vector machine."""

    def __init__(self, margin=1.0, reduction="mean"):
        super().__init__(reduction)
        self.margin = margin

    def forward(self, scores, labels):
        return ops.hinge_loss(scores, labels, self.margin, self.reduction)

    def extra(self):
        return f"margin={self.margin}, {super().extra()}"
