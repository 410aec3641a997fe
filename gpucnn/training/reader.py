"""Recipes: TOML files that say how a network is trained; those in gpucnn/recipes come with the package.

    model = "cifar-resnet-20"               # trained where no other is named
    batch = 128                             # images a step
    epochs = 164
    label_smoothing = 0.1                   # of the cross-entropy (0)
    amp = "float16"                         # mixed precision, or "bfloat16" (none)
    dtype = "float32"                       # of the weights ("float32")
    layout = "channels_last"                # of images in memory: what 16-bit tensor cores read ("channels_first")
    average = 0.999                         # decay of a moving average of the weights, which is tested (none)

    [optimizer]                             # a name, and the options of the class in gpucnn.optim
    name = "sgd"
    lr = 0.1

    [schedule]                              # of the learning rate: a name of SCHEDULES and its options (constant)
    name = "multi_step"
    milestones = [32000, 48000]
    per = "step"                            # what step and multi_step count: "step" or "epoch" ("epoch")
    warm_up = 400                           # steps over which the rate rises from 0 (none)
    warm_up_factor = 0.1                    # instead, the rate in these steps, as a multiple of lr

    [train]                                 # what is done to an image in training, in this order: OPERATIONS
    padded_crop = { padding = 4 }
    flip = {}

    [test]                                  # what is done to any other image: short_side, centre_crop

What is not known, missing, of the wrong type or out of range is a ValueError that names the file and the key.
"""

import sys
from dataclasses import MISSING, asdict, fields
from functools import partial
from inspect import Parameter, signature
from pathlib import Path

import numpy as np

from .. import nn
from ..dtype import FLOATS
from ..layout import LAYOUTS
from ..models import MODELS
from .recipe import COUNTING, OPERATIONS, OPTIMIZERS, SCHEDULES, Recipe, without

FOLDER = Path(__file__).parents[1] / "recipes"


def names():
    """The recipes that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


# The recipe of each network that has one; the first part of a name decides where the whole name does not.
OF_MODEL = {
    "cifar-resnet-110": "cifar-resnet-110",
    "cifar-preresnet-110": "cifar-resnet-110",
    "cifar-stochastic-resnet-110": "cifar-resnet-110",
    **dict.fromkeys(("cifar", "wide", "densenet-bc-100-12"), "cifar-resnet"),
    **dict.fromkeys(("alexnet", "zfnet", "overfeat"), "alexnet"),
    **dict.fromkeys(("resnet", "densenet"), "resnet"),
    **{name: name for name in ("lenet", "vgg", "googlenet")},
}


def recipe_of(model):
    """The name of the recipe for a network: the one of its paper, or of the nearest."""
    name = OF_MODEL.get(model) or OF_MODEL.get(model.partition("-")[0])
    if name is None:
        raise ValueError(f"recipe: {model} has no recipe of its own, but none was named; {', '.join(names())} are here")
    return name


# Kinds of values: (what is asked for, whether a value is that).
COUNT = ("a whole number from 1 on", lambda v: type(v) is int and v >= 1)
NATURAL = ("a whole number from 0 on", lambda v: type(v) is int and v >= 0)
NUMBER = ("a number", lambda v: type(v) in (int, float) and -1e300 < v < 1e300)
SHARE = ("a number from 0 to 1", lambda v: NUMBER[1](v) and 0 <= v <= 1)
SIZE = ("a number that is not negative", lambda v: NUMBER[1](v) and v >= 0)
SWITCH = ("true or false", lambda v: type(v) is bool)
TABLE = ("a table", lambda v: type(v) is dict)


def one_of(*values):
    return (f"one of {', '.join(values)}", lambda v: v in values)


def list_of(kind, count=None):
    def fits(value):
        return type(value) is list and (count is None or len(value) == count) and all(map(kind[1], value))

    return (f"a list of {'' if count is None else f'{count} times '}{kind[0]}", fits)


KINDS = {  # of options, by their name; the others are numbers
    "nesterov": SWITCH,
    "betas": list_of(NUMBER, 2),
    "milestones": list_of(COUNT),
    "values": list_of(NUMBER, 3),
    "vectors": list_of(list_of(NUMBER, 3), 3),
    "mode": one_of("min", "max"),
    "patience": NATURAL,
    "p": SHARE,
    **dict.fromkeys(("limit", "std", "rotation", "stretch", "shear", "translation", "lens"), SIZE),
    **dict.fromkeys(("every", "cycles", "padding", "size", "side", "low", "high"), COUNT),
}


def load_recipe(name, **changes):
    """The Recipe of a name that ``names`` lists, or of a TOML file; ``changes`` are those of ``changed``.

    >>> load_recipe("cifar-resnet", lr=0.05).optimizer
    {'name': 'sgd', 'lr': 0.05, 'momentum': 0.9, 'weight_decay': 0.0001}
    """
    path = FOLDER / f"{name}.toml" if name in names() else Path(name)
    if not path.is_file() and path.suffix != ".toml":
        raise ValueError(f"recipe: one of {', '.join(names())}, or a TOML file, but came {name}")
    return changed(parse(path.read_bytes(), path), **changes)


def changed(recipe, lr=None, **values):
    """A recipe with other values, checked; ``lr`` is that of the optimiser."""
    values = {**asdict(recipe), **values}
    if lr is not None:
        values["optimizer"] = {**recipe.optimizer, "lr": lr}
    return checked(values, "options")


def parse(text, path):
    """The Recipe in the bytes of a TOML file; ``path`` is what errors name."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        values = tomllib.loads(text.decode())
    except (ValueError, RecursionError) as error:  # of TOML, which says in which line, or of UTF-8
        reason = " ".join(str(error).split())
        raise ValueError(f"recipe: {path}: a TOML file is needed, but {reason}") from None
    return checked(values, path)


def checked(values, where):
    """The Recipe of a dict of its fields, every value checked; ``where`` is what errors name."""

    def fail(key, reason):
        raise ValueError(f"recipe: {where}: {key}: {reason}")

    def check(key, kind, value):
        if not kind[1](value):
            fail(key, f"is {kind[0]}, but came {value!r}")

    def check_options(table, given, takes, required=()):
        for key, value in given.items():
            if key not in takes:
                fail(f"{table}.{key}", f"known are {', '.join(takes) or 'no options'}, but not this key")
            check(f"{table}.{key}", takes[key], value)
        for key in required:
            if key not in given:
                fail(f"{table}.{key}", "is needed, but it is missing")

    values = {key: value for key, value in values.items() if value is not None}
    kinds = {
        **dict.fromkeys(("batch", "epochs"), COUNT),
        **dict.fromkeys(("optimizer", "schedule", "train", "test"), TABLE),
        "model": one_of(*MODELS),
        "label_smoothing": SHARE,
        "average": SHARE,
        "dtype": one_of(*FLOATS),
        "amp": one_of("float16", "bfloat16"),
        "layout": one_of(*LAYOUTS),
    }
    for key, value in values.items():
        if key not in kinds:
            fail(key, f"known are {', '.join(kinds)}, but not this key")
        check(key, kinds[key], value)
    for entry in fields(Recipe):
        if entry.default is MISSING and entry.default_factory is MISSING and entry.name not in values:
            fail(entry.name, "is needed, but it is missing")
    recipe = Recipe(**values)
    if recipe.amp and recipe.dtype != "float32":
        fail("amp", f"is mixed precision beside the dtype float32, but came {recipe.amp} beside {recipe.dtype}")

    for table, known, ours in (("optimizer", OPTIMIZERS, "params"), ("schedule", SCHEDULES, "total")):
        name = getattr(recipe, table).get("name")
        check(f"{table}.name", one_of(*known), name)
        takes, required = _takes(known[name], ours)
        if name in COUNTING:
            takes["per"] = one_of("step", "epoch")
        if table == "schedule" and name != "plateau":  # it has a state, which a function around it would hide
            takes |= {"warm_up": COUNT, "warm_up_factor": NUMBER}
        check_options(table, without(getattr(recipe, table), "name"), takes, required)
    if "warm_up_factor" in recipe.schedule and "warm_up" not in recipe.schedule:
        fail("schedule.warm_up", "is needed beside warm_up_factor, but it is missing")
    known = {"train": tuple(OPERATIONS), "test": ("short_side", "centre_crop")}
    for part, operations in known.items():
        check_options(part, getattr(recipe, part), dict.fromkeys(operations, TABLE))
        for name, options in getattr(recipe, part).items():
            takes, required = _takes(OPERATIONS[name])
            check_options(f"{part}.{name}", options, takes, [key for key in required if key != "size"])

    trials = {  # each class checks the range of its values
        "optimizer": partial(recipe.make_optimizer, [nn.Parameter(np.zeros(1, np.float32))]),
        "schedule": partial(recipe.make_schedule, 1),
        "train": partial(recipe.operations, "train"),
        "test": partial(recipe.operations, "test"),
    }
    if not recipe.optimizer.get("lr", 1) > 0:
        fail("optimizer.lr", f"is positive, but came {recipe.optimizer['lr']}")
    for table, trial in trials.items():
        try:
            trial()
        except ValueError as error:
            fail(table, str(error))
    return recipe


def _takes(make, ours=""):
    """({option: kind}, the options without a default) of a class or function; ``ours`` is one that we give."""
    parameters = [p for name, p in signature(make).parameters.items() if name != ours]
    required = [p.name for p in parameters if p.default is Parameter.empty]
    return {p.name: KINDS.get(p.name, NUMBER) for p in parameters}, required
