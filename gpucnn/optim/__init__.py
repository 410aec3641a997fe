"""Optimisers and limits on gradients."""

from .adam import Adam, AdamW
from .adaptive import Adadelta, Adagrad, RMSprop
from .clip import clip_grad_norm, clip_grad_value
from .optimizer import Optimizer
from .sgd import SGD

__all__ = [
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Optimizer",
    "RMSprop",
    "clip_grad_norm",
    "clip_grad_value",
]
