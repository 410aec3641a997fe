"""The differentiable operations, grouped by topic: one Function and one public function each."""

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
from .norm import batch_norm, local_response_norm
from .pool import adaptive_avg_pool2d, adaptive_max_pool2d, avg_pool2d, max_pool2d
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
