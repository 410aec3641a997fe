"""Cases of the activations beyond ReLU, sigmoid and tanh."""

import gpucnn as g
from tests.ops.case import Case, apart, real


def activation(name, domain=real, variant="", torch_options=None, **options):
    """An activation of a tensor, with the same options for PyTorch unless it has other names for them.

    The slope of gelu is a sum whose terms cancel where it is zero.
    """
    return Case(
        name,
        lambda x: getattr(g, name)(x, **options),
        (((3, 4), domain),),
        lambda t, x: getattr(t.nn.functional, name)(x, **(torch_options or options)),
        gradient=3,
        spread=name == "gelu",
        empty=((0, 4),),
        variant=variant,
    )


def prelu(shape, weights, variant=""):
    return Case(
        "prelu",
        g.prelu,
        ((shape, apart), weights),
        lambda t, *x: t.nn.functional.prelu(*x),
        spread=True,
        empty=((0, *shape[1:]), weights),
        variant=variant,
    )


CASES = [
    activation("leaky_relu", domain=apart),
    activation("leaky_relu", domain=apart, variant="slope", slope=0.3, torch_options={"negative_slope": 0.3}),
    prelu((2, 3, 4), (3,)),
    prelu((2, 3), (3,), "matrix"),
    prelu((2, 3, 2, 2), (1,), "shared"),
    activation("elu", domain=apart),
    activation("elu", domain=apart, variant="alpha", alpha=0.6),
    activation("gelu"),
    activation("gelu", variant="tanh", approximate="tanh"),
]
