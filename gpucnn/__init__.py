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
    add,
    argmax,
    astype,
    avg_pool2d,
    batch_norm,
    broadcast_to,
    cat,
    clip,
    conv2d,
    cross_entropy,
    div,
    dropout,
    exp,
    flatten,
    linear,
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
    relu,
    reshape,
    sigmoid,
    softmax,
    sqrt,
    squeeze,
    stack,
    sub,
    sum,
    tanh,
    transpose,
    unsqueeze,
    var,
    where,
)
from .tensor import Tensor, from_dlpack

__version__ = "0.1.0"
