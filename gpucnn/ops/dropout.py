"""Dropout (Srivastava et al. 2014) and its relatives, inverted: scaled in training, the identity in evaluation."""

from .. import checks
from ..autograd import Function
from ..device import uniform
from ..tensor import as_tensor


class Dropout(Function):
    pointwise = True

    def forward(self, x):
        kept = uniform(x[self.shared]) >= self.p
        self.save(kept)
        return x * kept * x.dtype.type(1 / (1 - self.p))

    def backward(self, gy):
        (kept,) = self.saved
        return gy * kept * gy.dtype.type(1 / (1 - self.p))


def _drop(op, x, p, training, shared):
    x = as_tensor(x)
    checks.floats(op, x)
    if not 0 <= p < 1:
        raise ValueError(f"{op}: the probability lies in [0, 1), but came {p}")
    return Dropout.apply(x, p=p, shared=shared(x)) if training and p else x


def dropout(x, p=0.5, training=True):
    """In training, each element is zero with probability p and otherwise scaled by 1 / (1 - p); else x itself.

    Of a layer's weights instead of its inputs, this is DropConnect (Wan et al. 2013). With the same seed, images in
    channels_last order lose other elements than those in channels_first order.
    """
    return _drop("dropout", x, p, training, lambda x: ...)


def stochastic_depth(x, p, training=True):
    """In training, each example is zero with probability p and otherwise scaled by 1 / (1 - p); else x itself.

    x          (N, ...)     float: what a residual block adds to its input
    p          of dropping; ``nn.drop_rates`` has those of Huang et al. (2016), who drop a block for the whole batch

    >>> x = ones(2, 3)
    >>> y = x + stochastic_depth(x, 0.5)
    >>> sorted(set(y.numpy().ravel().tolist())) in ([1.0], [3.0], [1.0, 3.0])
    True
    """
    if not as_tensor(x).ndim:
        raise ValueError(f"stochastic_depth: takes (N, ...), but came {as_tensor(x).shape}")
    return _drop("stochastic_depth", x, p, training, lambda x: (slice(None), *[slice(1)] * (x.ndim - 1)))
