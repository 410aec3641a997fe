"""Cases of pooling, normalisation and convolution layers beyond the basic ones in table.py."""

import warnings

import gpucnn as g
from tests.ops.case import Case, apart


def max_pool(shape, *window, variant, **options):
    """Windows that reach over the edge, in the order of PyTorch's arguments: size, stride, padding, dilation."""
    return Case(
        "max_pool2d",
        lambda x: g.max_pool2d(x, *window, ceil_mode=True),
        ((shape, apart),),
        lambda t, x: t.nn.functional.max_pool2d(x, *window, ceil_mode=True),
        spread=True,
        variant=f"ceil_{variant}",
        **options,
    )


def adaptive(name, shape, size, domain, variant="", **options):
    return Case(
        f"adaptive_{name}_pool2d",
        lambda x: getattr(g, f"adaptive_{name}_pool2d")(x, size),
        ((shape, domain),) if domain else (shape,),
        lambda t, x: getattr(t.nn.functional, f"adaptive_{name}_pool2d")(x, size),
        spread=True,
        variant=variant,
        **options,
    )


def torch_same(t, *x, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch says that it copies x
        return t.nn.functional.conv2d(*x, padding="same", **options)


def same(weight, dilation=1, groups=1, **options):
    return Case(
        "conv2d",
        lambda *x: g.conv2d(*x, padding="same", dilation=dilation, groups=groups),
        ((2, 4, 7, 6), weight, (weight[0],)),
        lambda t, *x: torch_same(t, *x, dilation=dilation, groups=groups),
        spread=True,
        forward=2,
        **options,
    )


def local_response_norm(shape, size, variant="", **options):
    alpha, beta, k = 0.7, 0.75, 2.0
    return Case(
        "local_response_norm",
        lambda x: g.local_response_norm(x, size, alpha, beta, k),
        (shape,),
        lambda t, x: t.nn.functional.local_response_norm(x, size, alpha * size, beta, k),
        spread=True,
        variant=variant,
        **options,
    )


CASES = [
    max_pool((1, 2, 6, 9), 3, 2, variant="one_side"),
    max_pool((2, 3, 8, 7), (3, 2), (2, 3), (1, 0), variant="pairs", empty=((0, 3, 8, 7),)),
    max_pool((1, 2, 10, 9), (3, 2), (4, 3), (1, 1), (2, 3), variant="dilated"),
    max_pool((1, 1, 2, 5), 3, 2, variant="larger_than_the_image"),
    max_pool((1, 2, 5, 4), 2, 3, 1, variant="last_begins_behind_the_image"),
    adaptive("avg", (2, 3, 7, 5), (3, 4), None, empty=((0, 3, 7, 5),)),
    adaptive("avg", (2, 3, 4, 5), 1, None, variant="global"),
    adaptive("avg", (1, 2, 2, 3), (5, 3), None, variant="larger_than_the_image"),
    adaptive("max", (2, 3, 7, 5), (3, 4), apart, empty=((0, 3, 7, 5),)),
    adaptive("max", (2, 3, 4, 5), 1, apart, variant="global"),
    adaptive("max", (1, 2, 2, 3), (5, 3), apart, variant="larger_than_the_image"),
    same((6, 4, 3, 5), variant="same_odd"),
    same((6, 2, 2, 3), (3, 2), 2, variant="same_even", empty=((0, 4, 7, 6), (6, 2, 2, 3), (6,))),
    same((3, 4, 4, 2), variant="same_even_both"),
    local_response_norm((2, 7, 3, 2), 5, empty=((0, 7, 3, 2),)),
    local_response_norm((2, 6, 3, 2), 4, variant="even"),
    local_response_norm((3, 2, 4), 7, variant="wider_than_the_channels"),
]
