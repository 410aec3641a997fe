"""The differentiable operations, grouped by topic: one Function and one public function each."""

from .. import amp
from .conv import conv2d
from .dropout import dropout
from .elementwise import (
    abs,
    add,
    astype,
    clip,
    compare,
    div,
    exp,
    log,
    maximum,
    minimum,
    mul,
    neg,
    pow,
    relu,
    sigmoid,
    sqrt,
    sub,
    tanh,
    to_device,
    where,
)
from .loss import cross_entropy, mse_loss
from .matmul import linear, matmul
from .norm import batch_norm
from .pool import avg_pool2d, max_pool2d
from .reduce import argmax, max, mean, min, sum, var
from .shape import (
    broadcast_to,
    cat,
    flatten,
    getitem,
    permute,
    raw_index,
    reshape,
    squeeze,
    stack,
    transpose,
    unsqueeze,
)
from .softmax import log_softmax, softmax

# Where autocast is on, these cast their operands first; modules of this package call each other without.
globals().update({name: amp.casting(globals()[name], policy) for name, policy in amp.POLICY.items()})
