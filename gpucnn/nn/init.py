"""Initial values of weights, in place, from the generator that ``gpucnn.manual_seed`` seeds.

He: K. He, X. Zhang, S. Ren, J. Sun, Delving Deep into Rectifiers, 2015, eq. 10 (PyTorch's kaiming_*).
Xavier: X. Glorot, Y. Bengio, Understanding the difficulty of training deep feedforward neural networks, 2010, eq. 16.
"""

import math
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

from ..device import get_rng, to_device

_skipping = ContextVar("gpucnn_init_skipping", default=False)


@contextmanager
def skip():
    """Draw nothing inside the block: weights keep the zeros that they are made with, which take no time or memory yet.

    For a network whose weights come from a file or are drawn afterwards, or of which only the shapes are of interest.

    >>> from gpucnn import nn
    >>> with skip():
    ...     layer = nn.Linear(3, 2)
    >>> layer.weight.numpy().tolist()
    [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    token = _skipping.set(True)
    try:
        yield
    finally:
        _skipping.reset(token)


def fans(shape):
    """(fan_in, fan_out) of a weight (K, C/groups, R, S) or (out, in): the products that one output, one input is in."""
    if len(shape) < 2:
        raise ValueError(f"init: a weight has at least 2 dimensions, but came shape {shape}")
    taps = math.prod(shape[2:])
    return shape[1] * taps, shape[0] * taps


def normal_(tensor, std):
    """Normal with a given standard deviation: 0.01 in AlexNet and its contemporaries. Returns tensor."""
    return _fill(tensor, lambda rng: rng.standard_normal(tensor.shape, dtype=np.float32) * np.float32(std))


def he_normal_(tensor):
    """Normal with standard deviation sqrt(2 / fan_in): keeps the variance through ReLU layers. Returns tensor."""
    return normal_(tensor, math.sqrt(2 / fans(tensor.shape)[0]))


def he_uniform_(tensor):
    """Uniform in +-sqrt(6 / fan_in): the variance of ``he_normal_``. Returns tensor."""
    return _uniform(tensor, math.sqrt(6 / fans(tensor.shape)[0]))


def xavier_normal_(tensor):
    """Normal with standard deviation sqrt(2 / (fan_in + fan_out)): for tanh and sigmoid. Returns tensor."""
    return normal_(tensor, math.sqrt(2 / sum(fans(tensor.shape))))


def xavier_uniform_(tensor):
    """Uniform in +-sqrt(6 / (fan_in + fan_out)): the variance of ``xavier_normal_``. Returns tensor."""
    return _uniform(tensor, math.sqrt(6 / sum(fans(tensor.shape))))


def _uniform(tensor, bound):
    return _fill(tensor, lambda rng: (2 * rng.random(tensor.shape, dtype=np.float32) - 1) * np.float32(bound))


def _fill(tensor, draw):
    # Drawn on the CPU, so that a seed gives the same network on every device.
    if not _skipping.get():
        values = draw(get_rng())
        tensor.data[...] = to_device(values.astype(tensor.dtype, copy=False), tensor.device)
        tensor.version[0] += 1
    return tensor
