"""Fully connected layers."""

from .. import ops
from . import init
from .dropout import check_probability
from .module import Module, new_parameter


class Linear(Module):
    """y = x weight^T + bias, ``gpucnn.linear``.

    weight      (out_features, in_features), from ``init.he_normal_``
    bias        (out_features,), zeros; None with ``bias=False``
    """

    def __init__(self, in_features, out_features, bias=True):
        self.weight = init.he_normal_(new_parameter(out_features, in_features))
        self.bias = new_parameter(out_features) if bias else None

    def forward(self, x):
        return ops.linear(x, self.weight, self.bias)

    def extra(self):
        out_features, in_features = self.weight.shape
        return f"{in_features}, {out_features}" + ("" if self.bias is not None else ", bias=False")


class DropConnectLinear(Linear):
    """A fully connected layer that drops weights instead of inputs in training (Wan et al. 2013).

    Each weight is zero with probability p for the whole batch, and otherwise scaled by 1/(1 - p): ``gpucnn.dropout``.
    """

    def __init__(self, in_features, out_features, p=0.5, bias=True):
        super().__init__(in_features, out_features, bias)
        self.p = check_probability("DropConnectLinear", p)

    def forward(self, x):
        return ops.linear(x, ops.dropout(self.weight, self.p, self.training), self.bias)

    def extra(self):
        return f"{super().extra()}, p={self.p}"
