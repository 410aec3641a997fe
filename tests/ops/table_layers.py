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


def avg_pool(shape, *window, variant, **options):
    """Windows that reach over the edge: size, stride, padding, and whether padding counts."""
    *window, counted = window
    return Case(
        "avg_pool2d",
        lambda x: g.avg_pool2d(x, *window, ceil_mode=True, count_include_pad=counted),
        (shape,),
        lambda t, x: t.nn.functional.avg_pool2d(x, *window, ceil_mode=True, count_include_pad=counted),
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


def conv_transpose2d(inputs, variant="", empty=None, **options):
    return Case(
        "conv_transpose2d",
        lambda *x: g.conv_transpose2d(*x, **options),
        inputs,
        lambda t, *x: t.nn.functional.conv_transpose2d(*x, **options),
        spread=True,
        forward=2,
        empty=empty,
        variant=variant,
    )


def layer_norm(shape, axes, *parameters, **options):
    return Case(
        "layer_norm",
        lambda *x: g.layer_norm(*x, axes=axes),
        (shape, *parameters),
        lambda t, x, *rest: t.nn.functional.layer_norm(x, shape[-axes:], *rest),
        spread=True,
        gradient=3,
        **options,
    )


def group_norm(shape, groups, *parameters, **options):
    return Case(
        "group_norm",
        lambda x, *rest: g.group_norm(x, groups, *rest),
        (shape, *parameters),
        lambda t, x, *rest: t.nn.functional.group_norm(x, groups, *rest),
        spread=True,
        gradient=3,
        **options,
    )


def stochastic_depth(x):
    g.manual_seed(7)
    return g.stochastic_depth(x, 0.3)


CASES = [
    max_pool((1, 2, 6, 9), 3, 2, variant="one_side"),
    max_pool((2, 3, 8, 7), (3, 2), (2, 3), (1, 0), variant="pairs", empty=((0, 3, 8, 7),)),
    max_pool((1, 2, 10, 9), (3, 2), (4, 3), (1, 1), (2, 3), variant="dilated"),
    max_pool((1, 1, 2, 5), 3, 2, variant="larger_than_the_image"),
    max_pool((1, 2, 5, 4), 2, 3, 1, variant="last_begins_behind_the_image"),
    avg_pool((2, 3, 8, 7), (3, 2), (2, 3), (1, 1), True, variant="counted", empty=((0, 3, 8, 7),)),
    avg_pool((2, 3, 8, 7), (3, 2), (2, 3), (1, 1), False, variant="pixels_only"),
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
    conv_transpose2d(
        ((2, 4, 3, 5), (4, 3, 2, 3), (3,)),
        stride=(3, 2),
        padding=(0, 1),
        output_padding=(2, 1),
        dilation=(1, 2),
        empty=((0, 4, 3, 5), (4, 3, 2, 3), (3,)),
    ),
    conv_transpose2d(((2, 6, 4, 3), (6, 2, 3, 2)), "groups", stride=2, padding=1, groups=3),
    conv_transpose2d(((1, 3, 5, 6), (3, 4, 3, 3), (4,)), "unit_stride", padding=(2, 1)),
    layer_norm((4, 6), 1, (6,), (6,), empty=((0, 6), (6,), (6,))),
    layer_norm((2, 3, 4), 2, variant="axes_without_parameters"),
    group_norm((2, 6, 2, 3), 3, (6,), (6,), empty=((0, 6, 2, 3), (6,), (6,))),
    group_norm((3, 10), 2, variant="matrix_without_parameters"),
    group_norm((2, 4, 3), 4, (4,), variant="instance"),
    Case("stochastic_depth", stochastic_depth, ((7, 3, 2),), forward=2, empty=((0, 3, 2),)),
]
