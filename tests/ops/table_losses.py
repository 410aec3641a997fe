"""Cases of the losses and penalties, but for the plain ones in table.py."""

import numpy as np

import gpucnn as g
from tests.ops.case import Case, apart, real

LABELS = np.array([2, 0, 4])
WEIGHT = np.array([0.5, 2.0, 0.0, 1.0, 1.5])
TARGET = np.array([[0.0, 0.5, 0.5], [1.0, 0.0, 0.0], [0.25, 0.5, 0.25], [0.0, 1.0, 0.0]])
SHARES = np.array([[0.25, 1.0, 0.0, 0.5]] * 3)


def on(x, array, dtype=None):
    """A constant beside x: on its device and in its dtype, unless another is given."""
    return g.tensor(array, dtype or x.dtype, x.device)


def cross_entropy(variant, weight=None, **options):
    return Case(
        "cross_entropy",
        lambda x: g.cross_entropy(
            x, on(x, LABELS, "int64"), weight=None if weight is None else on(x, weight, "float64"), **options
        ),
        ((3, 5),),
        lambda t, x: t.nn.functional.cross_entropy(
            x, t.tensor(LABELS), weight=None if weight is None else t.tensor(weight), **options
        ),
        forward=2,
        spread=True,
        variant=variant,
    )


def hinge(variant="", margin=1.0, **options):
    """PyTorch's loss is divided by the number of classes."""
    return Case(
        "hinge_loss",
        lambda x: g.hinge_loss(x, on(x, LABELS, "int64"), margin, **options),
        (((3, 5), apart),),
        lambda t, x: 5 * t.nn.functional.multi_margin_loss(x, t.tensor(LABELS), margin=margin, **options),
        forward=2,
        spread=True,
        variant=variant,
    )


def of_two(name, torch_name, second, variant="", **options):
    """A loss of two tensors of one shape."""
    return Case(
        name,
        lambda *x: getattr(g, name)(*x, **options),
        ((3, 4), ((3, 4), second)),
        lambda t, *x: getattr(t.nn.functional, torch_name)(*x, **options),
        forward=3,
        gradient=3,
        spread=True,
        empty=((0, 4), (0, 4)) if options else None,
        variant=variant,
    )


def kl_div(variant="", torch_reduction="batchmean", **options):
    return Case(
        "kl_div",
        lambda x: g.kl_div(x, on(x, TARGET), **options),
        ((4, 3),),
        lambda t, x: t.nn.functional.kl_div(x, t.tensor(TARGET), reduction=torch_reduction),
        forward=2,
        spread=True,
        variant=variant,
    )


CASES = [
    cross_entropy("smoothed", label_smoothing=0.2),
    cross_entropy("smoothed_sum", label_smoothing=1.0, reduction="sum"),
    cross_entropy("weighted", WEIGHT + 0.1),
    cross_entropy("weighted_sum", WEIGHT, reduction="sum"),
    cross_entropy("weighted_none", WEIGHT, reduction="none", label_smoothing=0.1),
    cross_entropy("weighted_smoothed", WEIGHT + 0.1, label_smoothing=0.3),
    hinge(),
    hinge("sum", reduction="sum"),
    hinge("none", margin=0.42, reduction="none"),
    of_two("l1_loss", "l1_loss", lambda rng, shape: apart(rng, shape) + 7),
    of_two("l1_loss", "l1_loss", lambda rng, shape: apart(rng, shape) + 7, "sum", reduction="sum"),
    of_two("binary_cross_entropy_with_logits", "binary_cross_entropy_with_logits", real),
    of_two("binary_cross_entropy_with_logits", "binary_cross_entropy_with_logits", real, "none", reduction="none"),
    Case(
        "binary_cross_entropy_with_logits",
        lambda x: g.binary_cross_entropy_with_logits(x, on(x, SHARES), "sum"),
        ((3, 4),),
        lambda t, x: t.nn.functional.binary_cross_entropy_with_logits(x, t.tensor(SHARES), reduction="sum"),
        forward=2,
        spread=True,
        variant="constant",
    ),
    kl_div(),
    kl_div("sum", "sum", reduction="sum"),
    Case(
        "l1_penalty",
        lambda *x: g.l1_penalty(x),
        (((3, 4), apart), ((5,), apart)),
        lambda t, a, b: a.abs().sum() + b.abs().sum(),
        forward=3,
        spread=True,
        empty=((0, 4), (2,)),
    ),
    Case(
        "l2_penalty",
        lambda *x: g.l2_penalty(x),
        ((3, 4), (5,)),
        lambda t, a, b: (a * a).sum() + (b * b).sum(),
        forward=4,
        spread=True,
        empty=((0, 4), (2,)),
    ),
]
