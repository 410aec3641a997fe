"""Losses. Labels are checked: a wrong one is an error, never a stray read."""

import numpy as np

from .. import checks
from .. import dtype as dtypes
from ..autograd import Function
from ..device import array_module, launch
from ..tensor import as_tensor
from .elementwise import abs, mul, sub
from .reduce import mean, sum

REDUCTIONS = {"mean": mean, "sum": sum, "none": lambda x: x}


def _check_reduction(op, reduction):
    if reduction not in REDUCTIONS:
        raise ValueError(f"{op}: reduction is {', '.join(REDUCTIONS)}, but came {reduction!r}")


def _reduce(op, loss, reduction):
    _check_reduction(op, reduction)
    return REDUCTIONS[reduction](loss)


def _check_labels(op, noun, scores, labels):
    """Scores (N, classes), which are called ``noun``, and one label a row, in [0, classes)."""
    checks.floats(op, scores)
    checks.ndim(f"{op} {noun}", scores, 2, "(N, classes)")
    shapes = f"({noun} {scores.shape}, labels {labels.shape})"
    if labels.dtype.kind not in "iu":
        raise TypeError(f"{op}: labels are integers, but came {labels.dtype.name} {labels.shape}")
    if labels.shape != scores.shape[:1]:
        raise ValueError(f"{op}: one label a row, but came {labels.shape} {shapes}")
    if labels.device != scores.device:
        raise TypeError(f"{op}: all tensors are on one device, but came {scores.device} and {labels.device}")
    if not scores.size:
        raise ValueError(f"{op}: needs at least one row and class, but came {shapes}")
    low, high = int(labels.data.min()), int(labels.data.max())
    if low < 0 or high >= scores.shape[1]:
        raise ValueError(f"{op}: labels lie in [0, {scores.shape[1]}), but came {low if low < 0 else high} {shapes}")


class CrossEntropy(Function):
    """Loss and gradient in one native pass: a row is read from memory once. In float32 for 16-bit logits."""

    def forward(self, logits, labels):
        xp, wide = array_module(logits), dtypes.accumulate(logits.dtype)
        loss = xp.empty(len(logits), wide)
        dx = xp.empty(logits.shape, logits.dtype) if self.needs[0] else 0  # 0: not wanted
        weight = 0 if self.weight is None else xp.ascontiguousarray(self.weight, wide)
        launch(
            "cross_entropy",
            *(logits.dtype, *logits.shape, xp.ascontiguousarray(logits), xp.ascontiguousarray(labels, np.int64)),
            *(weight, self.smoothing, loss, dx),
        )
        if self.needs[0]:
            self.save(dx)
        self.count = None
        if self.reduction != "none":
            self.count = 1 if self.reduction == "sum" else len(logits) if self.weight is None else weight[labels].sum()
            loss = loss.sum() / self.count
        return loss.astype(logits.dtype, copy=False)

    def backward(self, gy):
        (dx,) = self.saved
        scale = gy.astype(dtypes.accumulate(gy.dtype), copy=False)
        return dx * (scale[:, None] if self.count is None else scale / self.count), None


def cross_entropy(logits, labels, reduction="mean", *, weight=None, label_smoothing=0.0):
    """Softmax cross-entropy: minus the log-probability that the logits give to each label.

    logits           (N, classes)         float; any finite scale
    labels           (N,)                 integers in [0, classes), same device
    reduction        "mean", "sum" or "none" (one loss a row); the mean is over rows, by the weights of their labels
    weight           (classes,) or None   of each class, a constant
    label_smoothing  in [0, 1]: this share of the target is spread evenly over all classes (Szegedy et al. 2016)

    Computed in float32 for 16-bit logits.

    >>> cross_entropy(as_tensor([[0.0, 0.0]]), as_tensor([1]))
    tensor(0.6931)
    """
    logits, labels = as_tensor(logits), as_tensor(labels)
    _check_labels("cross_entropy", "logits", logits, labels)
    _check_reduction("cross_entropy", reduction)
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"cross_entropy: label_smoothing lies in [0, 1], but came {label_smoothing} ({logits.shape})")
    if weight is not None:
        weight = as_tensor(weight)
        if weight.shape != logits.shape[1:] or not dtypes.is_float(weight.dtype):
            raise ValueError(
                f"cross_entropy: weight has one float a class, but came {weight.dtype.name} {weight.shape}"
                f" (logits {logits.shape})"
            )
        if weight.requires_grad:
            raise ValueError(
                f"cross_entropy: weight is a constant, but came one that requires grad ({weight.shape}); use .detach()"
            )
        if weight.device != logits.device:
            raise TypeError(
                f"cross_entropy: all tensors are on one device, but came {logits.device} and {weight.device}"
            )
        weight = weight.data
    return CrossEntropy.apply(logits, labels, weight=weight, smoothing=float(label_smoothing), reduction=reduction)


class Hinge(Function):
    def forward(self, scores, labels):
        xp, wide = array_module(scores), dtypes.accumulate(scores.dtype)
        rows, scores = xp.arange(len(scores)), scores.astype(wide)
        excess = scores - scores[rows, labels][:, None] + wide.type(self.margin)
        excess[rows, labels] = 0
        self.save(excess > 0, labels)
        return xp.maximum(excess, wide.type(0)).sum(axis=1)

    def backward(self, gy):
        violated, labels = self.saved
        dx = violated.astype(gy.dtype)
        dx[array_module(gy).arange(len(dx)), labels] = -violated.sum(axis=1).astype(gy.dtype)
        return dx * gy[:, None], None


def hinge_loss(scores, labels, margin=1.0, reduction="mean"):
    """Multi-class support vector machine: per row, the sum of max(0, s_j - s_label + margin) over the other classes j.

    scores     (N, classes)    float
    labels     (N,)            integers in [0, classes), same device
    reduction  "mean" (over rows), "sum" or "none" (one loss a row)

    The loss of Weston & Watkins (1999). PyTorch's multi_margin_loss divides it by the number of classes.

    >>> hinge_loss(as_tensor([[3.2, 5.1, -1.7]]), as_tensor([0]))
    tensor(2.9)
    """
    scores, labels = as_tensor(scores), as_tensor(labels)
    _check_labels("hinge_loss", "scores", scores, labels)
    wide = Hinge.apply(scores, labels, margin=margin)
    return _reduce("hinge_loss", wide, reduction).astype(scores.dtype)


def _difference(op, x, target):
    x, target = as_tensor(x), as_tensor(target)
    checks.floats(op, x, target)
    if x.shape != target.shape:
        raise ValueError(f"{op}: x and target have one shape, but came {x.shape} and {target.shape}")
    return sub(x, target)


def mse_loss(x, target, reduction="mean"):
    """Squared differences of two tensors of one shape; "mean", "sum" or "none" of them."""
    difference = _difference("mse_loss", x, target)
    return _reduce("mse_loss", mul(difference, difference), reduction)


def l1_loss(x, target, reduction="mean"):
    """Absolute differences of two tensors of one shape; "mean", "sum" or "none" of them."""
    return _reduce("l1_loss", abs(_difference("l1_loss", x, target)), reduction)


class BinaryCrossEntropy(Function):
    def forward(self, x, target):
        xp, wide = array_module(x), x.astype(dtypes.accumulate(x.dtype), copy=False)
        power = xp.exp(-xp.abs(wide))  # at most 1: no overflow, and no digits lost
        if any(self.needs):
            probability = xp.where(wide < 0, power, wide.dtype.type(1)) / (1 + power)
            self.save((probability - target).astype(x.dtype) if self.needs[0] else None, x if self.needs[1] else None)
        return (xp.maximum(wide, wide.dtype.type(0)) - wide * target + xp.log1p(power)).astype(x.dtype)

    def backward(self, gy):
        slope, x = self.saved
        return gy * slope if self.needs[0] else None, -gy * x if self.needs[1] else None


def binary_cross_entropy_with_logits(x, target, reduction="mean"):
    """-target log p - (1 - target) log(1 - p) with p = sigmoid(x), for logits x of any finite scale.

    x, target  one shape and float dtype; the target is a probability
    reduction  "mean", "sum" or "none" of the elements

    >>> binary_cross_entropy_with_logits(as_tensor([0.0, 100.0]), as_tensor([1.0, 0.0]), "none")
    tensor([  0.6931, 100.    ])
    """
    x, target = as_tensor(x), as_tensor(target)
    op = "binary_cross_entropy_with_logits"
    checks.floats(op, x, target)
    if x.shape != target.shape:
        raise ValueError(f"{op}: x and target have one shape, but came {x.shape} and {target.shape}")
    return _reduce(op, BinaryCrossEntropy.apply(x, target), reduction)


class KLDivergence(Function):
    def forward(self, log_q, p):
        xp, wide = array_module(p), p.astype(dtypes.accumulate(p.dtype), copy=False)
        self.save(p)
        some = wide > 0  # p log p -> 0 at 0
        log_p = xp.log(xp.where(some, wide, wide.dtype.type(1)))
        return xp.where(some, wide * (log_p - log_q), wide.dtype.type(0)).sum(axis=-1)

    def backward(self, gy):
        (p,) = self.saved
        return -gy[..., None] * p, None


def kl_div(log_q, p, reduction="mean"):
    """Kullback-Leibler divergence of distribution q from p, sum(p (log p - log q)), over the last axis.

    log_q      (..., classes)    float: logarithms, as log_softmax gives
    p          (..., classes)    same dtype: probabilities, a constant (no gradient); 0 log 0 is 0
    reduction  "mean" (over distributions: PyTorch's "batchmean" of two axes), "sum" or "none" (one value each)

    >>> kl_div(as_tensor([[0.5, 0.5]]).log(), as_tensor([[1.0, 0.0]]))
    tensor(0.6931)
    """
    log_q, p = as_tensor(log_q), as_tensor(p)
    checks.floats("kl_div", log_q, p)
    if log_q.shape != p.shape or not p.ndim:
        raise ValueError(f"kl_div: both have one shape (..., classes), but came {log_q.shape} and {p.shape}")
    if p.requires_grad:
        raise ValueError(f"kl_div: p is a constant, but came one that requires grad ({p.shape}); use .detach()")
    return _reduce("kl_div", KLDivergence.apply(log_q, p), reduction).astype(log_q.dtype)
