"""Recipe: how a network is trained, as values; and what they stand for."""

from dataclasses import dataclass, field
from inspect import signature

import numpy as np

from .. import data, optim
from ..models import INPUTS
from ..optim import schedule

OPTIMIZERS = {
    kind.__name__.lower(): kind
    for kind in (optim.SGD, optim.Adagrad, optim.Adadelta, optim.RMSprop, optim.Adam, optim.AdamW)
}
SCHEDULES = {
    "constant": lambda: lambda t: 1.0,
    **{name: getattr(schedule, name) for name in ("step", "multi_step", "linear", "cosine", "one_cycle")},
    "plateau": schedule.Plateau,
}
COUNTING = ("step", "multi_step")


def _crop(size):
    return data.RandomCrop(size=(size, size))


OPERATIONS = {
    "short_side": data.ShortSide,
    "centre_crop": data.CentreCrop,
    "scale_jitter": data.ScaleJitter,
    "crop": _crop,
    "padded_crop": lambda padding: data.RandomCrop(padding),
    "flip": data.RandomFlip,
    "warp": data.RandomWarp,
    "brightness": data.Brightness,
    "contrast": data.Contrast,
    "saturation": data.Saturation,
    "colour_offset": lambda values, vectors, std=0.1: data.ColourOffset(np.array(values), np.array(vectors), std),
    "cutout": data.Cutout,
}
SIZING = ("short_side", "centre_crop", "scale_jitter", "crop")  # give images their size


@dataclass(frozen=True)
class Recipe:
    """How a network is trained; gpucnn/training/reader.py says what each means, as a file has it."""

    model: str
    batch: int
    epochs: int
    optimizer: dict
    schedule: dict = field(default_factory=lambda: {"name": "constant"})
    train: dict = field(default_factory=dict)
    test: dict = field(default_factory=dict)
    label_smoothing: float = 0.0
    dtype: str = "float32"
    amp: str | None = None
    layout: str = "channels_first"
    average: float | None = None

    def make_optimizer(self, parameters):
        """The optimiser of these parameters."""
        return OPTIMIZERS[self.optimizer["name"]](parameters, **without(self.optimizer, "name"))

    def make_schedule(self, batches):
        """The function of the step, of which an epoch has ``batches``, that multiplies the learning rate."""
        own = ("name", "per", "warm_up", "warm_up_factor")
        name, options = self.schedule["name"], without(self.schedule, *own)
        make = SCHEDULES[name]
        if "total" in signature(make).parameters:
            options["total"] = self.epochs * batches
        function = make(**options)
        if name in COUNTING and self.schedule.get("per", "epoch") == "epoch":
            function = _by_epoch(function, batches)
        if "warm_up" in self.schedule:
            function = schedule.warm_up(self.schedule["warm_up"], function, self.schedule.get("warm_up_factor"))
        return function

    def operations(self, part):
        """The steps (images, draws) -> images of "train" or "test", as (of one image, of a batch).

        Up to the last one that gives images their size, they are of one image at a time. Without another size, that
        is the one which the network is made for.
        """
        given, size, steps = getattr(self, part), INPUTS[self.model][1], []
        for name, options in given.items():
            sized = name in SIZING and "size" in signature(OPERATIONS[name]).parameters
            steps.append(OPERATIONS[name](**({"size": size} if sized else {}) | options))
        single = max((i for i, name in enumerate(given, 1) if name in SIZING), default=0)
        return steps[:single], steps[single:]


def without(table, *keys):
    """A table without some of its keys."""
    return {key: value for key, value in table.items() if key not in keys}


def _by_epoch(function, batches):
    return lambda step: function(step // batches)
