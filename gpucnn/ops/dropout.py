"""Dropout (Srivastava et al. 2014), inverted: scaled in training, the identity in evaluation."""

from .. import checks
from ..autograd import Function
from ..device import uniform
from ..tensor import as_tensor


class Dropout(Function):
    def forward(self, x):
        kept = uniform(x) >= self.p
        self.save(kept)
        return x * kept * x.dtype.type(1 / (1 - self.p))

    def backward(self, gy):
        (kept,) = self.saved
        return gy * kept * gy.dtype.type(1 / (1 - self.p))


def dropout(x, p=0.5, training=True):
    """In training, each element is zero with probability p and otherwise scaled by 1 / (1 - p); else x itself."""
    x = as_tensor(x)
    checks.floats("dropout", x)
    if not 0 <= p < 1:
        raise ValueError(f"dropout: the probability lies in [0, 1), but came {p}")
    return Dropout.apply(x, p=p) if training and p else x
