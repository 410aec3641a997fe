"""Optimisers, limits on gradients, schedules of the learning rate, averages of weights."""

from . import schedule
from .adam import Adam, AdamW
from .adaptive import Adadelta, Adagrad, RMSprop
from .average import Ensemble, MovingAverage
from .clip import clip_grad_norm, clip_grad_value
from .optimizer import Optimizer
from .schedule import Plateau, Schedule
from .sgd import SGD

__all__ = [
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Ensemble",
    "MovingAverage",
    "Optimizer",
    "Plateau",
    "RMSprop",
    "Schedule",
    "clip_grad_norm",
    "clip_grad_value",
    "schedule",
]
