"""gpucnn: convolutional networks on NVIDIA GPUs and CPUs, with their own convolution kernels."""

from . import conv, data, models, nn, optim
from .amp import GradScaler, autocast
from .autograd import Function, is_grad_enabled, no_grad
from .checkpoint import load_checkpoint, save_checkpoint
from .config import using
from .create import arange, from_numpy, full, ones, ones_like, rand, randn, tensor, zeros, zeros_like
from .device import manual_seed
from .dtype import bfloat16, float16, float32, float64
from .ops import (
    abs,
    adaptive_avg_pool2d,
    adaptive_max_pool2d,
    add,
    argmax,
    astype,
    avg_pool2d,
    batch_norm,
    binary_cross_entropy_with_logits,
    broadcast_to,
    cat,
    clip,
    conv2d,
    conv_transpose2d,
    cross_entropy,
    div,
    dropout,
    elu,
    exp,
    flatten,
    gelu,
    group_norm,
    hinge_loss,
    kl_div,
    l1_loss,
    l1_penalty,
    l2_penalty,
    layer_norm,
    leaky_relu,
    linear,
    local_response_norm,
    log,
    log_softmax,
    matmul,
    max,
    max_pool2d,
    maximum,
    mean,
    min,
    minimum,
    mse_loss,
    mul,
    neg,
    permute,
    pow,
    prelu,
    relu,
    reshape,
    sigmoid,
    softmax,
    sqrt,
    squeeze,
    stack,
    stochastic_depth,
    sub,
    sum,
    tanh,
    to_layout,
    transpose,
    unsqueeze,
    var,
    where,
)
from .tensor import Tensor, from_dlpack
from .training import evaluate, fit

__version__ = "0.1.0"
