"""Penalties on weights, to be added to a loss. (Optimisers have weight decay, which costs no graph.)"""

from .. import checks
from ..tensor import as_tensor
from .elementwise import abs, add, mul
from .reduce import sum


def _total(op, parameters, measure):
    tensors = [as_tensor(p) for p in parameters]
    if not tensors:
        raise ValueError(f"{op}: needs at least one tensor, but came none")
    checks.floats(op, *tensors)
    total = sum(measure(tensors[0]))
    for tensor in tensors[1:]:
        total = add(total, sum(measure(tensor)))
    return total


def l1_penalty(parameters):
    """The sum of |w| over tensors of one dtype: its gradient, the sign, drives small weights to zero.

    >>> l1_penalty([as_tensor([1.0, -2.0]), as_tensor([[3.0]])])
    tensor(6.)
    """
    return _total("l1_penalty", parameters, abs)


def l2_penalty(parameters):
    """The sum of w w over tensors of one dtype (without a half: the gradient is 2 w).

    >>> l2_penalty([as_tensor([1.0, -2.0]), as_tensor([[3.0]])])
    tensor(14.)
    """
    return _total("l2_penalty", parameters, lambda w: mul(w, w))
