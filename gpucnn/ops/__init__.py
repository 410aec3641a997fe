"""The differentiable operations, grouped by topic: one Function and one public function each."""

from .. import amp
from .activation import elu, gelu, leaky_relu, prelu, relu, sigmoid, tanh
from .conv import conv2d
from .conv_transpose import conv_transpose2d
from .dropout import dropout, stochastic_depth
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
    sqrt,
    sub,
    to_device,
    where,
)
from .loss import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    hinge_loss,
    kl_div,
    l1_loss,
    mse_loss,
)
from .matmul import linear, matmul
from .norm import batch_norm, group_norm, layer_norm
from .penalty import l1_penalty, l2_penalty
from .pool import adaptive_avg_pool2d, adaptive_max_pool2d, avg_pool2d, max_pool2d
from .reduce import argmax, max, mean, min, sum, var
from .response import local_response_norm
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
    to_layout,
    transpose,
    unsqueeze,
)
from .softmax import log_softmax, softmax

# Where autocast is on, these cast their operands first; modules of this package call each other without.
globals().update({name: amp.casting(globals()[name], policy) for name, policy in amp.POLICY.items()})
