"""Losses. Labels are checked: a wrong one is an error, never a stray read."""

from .. import checks
from .. import dtype as dtypes
from ..autograd import Function
from ..device import array_module
from ..tensor import as_tensor
from .elementwise import mul, sub
from .reduce import mean, sum
from .softmax import softmax_rows

REDUCTIONS = {"mean": mean, "sum": sum, "none": lambda x: x}


class NegativeLogLikelihood(Function):
    """Per row, minus the log-softmax at the label; computed in float32 for 16-bit logits."""

    def forward(self, logits, labels):
        xp = array_module(logits)
        log_p = softmax_rows(logits.astype(dtypes.accumulate(logits.dtype), copy=False), True)
        self.save(log_p, labels)
        self.rows = xp.arange(len(logits))
        return -log_p[self.rows, labels].astype(logits.dtype)

    def backward(self, gy):
        log_p, labels = self.saved
        dx = array_module(log_p).exp(log_p)
        dx[self.rows, labels] -= log_p.dtype.type(1)
        return dx * gy[:, None].astype(log_p.dtype), None


def _reduce(op, loss, reduction):
    if reduction not in REDUCTIONS:
        raise ValueError(f"{op}: reduction is {', '.join(REDUCTIONS)}, but came {reduction!r}")
    return REDUCTIONS[reduction](loss)


def cross_entropy(logits, labels, reduction="mean"):
    """Softmax cross-entropy: minus the log-probability that the logits give to each label.

    logits     (N, classes)    float; any finite scale
    labels     (N,)            integers in [0, classes), same device
    reduction  "mean", "sum" or "none" (one loss a row)

    >>> cross_entropy(as_tensor([[0.0, 0.0]]), as_tensor([1]))
    tensor(0.6931)
    """
    logits, labels = as_tensor(logits), as_tensor(labels)
    checks.floats("cross_entropy", logits)
    checks.ndim("cross_entropy logits", logits, 2, "(N, classes)")
    if labels.dtype.kind not in "iu":
        raise TypeError(f"cross_entropy: labels are integers, but came {labels.dtype.name} {labels.shape}")
    if labels.shape != logits.shape[:1]:
        raise ValueError(
            f"cross_entropy: one label a row, but came {labels.shape} (logits {logits.shape}, labels {labels.shape})"
        )
    if labels.device != logits.device:
        raise TypeError(f"cross_entropy: all tensors are on one device, but came {logits.device} and {labels.device}")
    if not logits.size:
        raise ValueError(f"cross_entropy: needs at least one row and class, but came logits {logits.shape}")
    classes = logits.shape[1]
    low, high = int(labels.data.min()), int(labels.data.max())
    if low < 0 or high >= classes:
        raise ValueError(
            f"cross_entropy: labels lie in [0, {classes}), but came {low if low < 0 else high}"
            f" (logits {logits.shape}, labels {labels.shape})"
        )
    return _reduce("cross_entropy", NegativeLogLikelihood.apply(logits, labels), reduction)


def mse_loss(x, target, reduction="mean"):
    """Squared differences of two tensors of one shape; "mean", "sum" or "none" of them."""
    x, target = as_tensor(x), as_tensor(target)
    checks.floats("mse_loss", x, target)
    if x.shape != target.shape:
        raise ValueError(f"mse_loss: x and target have one shape, but came {x.shape} and {target.shape}")
    difference = sub(x, target)
    return _reduce("mse_loss", mul(difference, difference), reduction)
