"""Operations on images give the same in both orders of memory, and keep the order of their first input."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpucnn as g
from tests.ops.case import real
from tests.ops.table import CASES

# Of another order, or with random numbers or an operand of fixed order or shape.
OWN_ORDER = {"matmul", "squeeze", "where", "getitem", "dropout", "binary_cross_entropy_with_logits", "to_layout"}
VIEWS = {"adaptive_avg_pool2d-global"}  # whose gradient repeats numbers, and has no order before it is used
SAME_BITS = {"max_pool2d", "avg_pool2d", "adaptive_max_pool2d", "add", "sub", "mul", "maximum", "minimum", "neg"}


def shape_of(spec):
    return spec[0] if callable(spec[-1]) else spec


def reshaped(case, shape):
    """A case of an operation on each element, or of a loss of two equal shapes, on images."""
    domains = (spec[-1] if callable(spec[-1]) else real for spec in case.inputs)
    return replace(case, inputs=tuple((shape, domain) for domain in domains))


WITH_IMAGES = [c for c in CASES if len(shape_of(c.inputs[0])) == 4 and c.name not in OWN_ORDER]
ON_ELEMENTS = [c for c in CASES if {shape_of(s) for s in c.inputs} == {(3, 4)} and c.name not in OWN_ORDER]
EVERY = [*WITH_IMAGES, *(reshaped(case, (2, 5, 3, 4)) for case in ON_ELEMENTS)]


def run(case, arrays, layouts, device):
    """The result and the gradients of inputs in these orders; that of the result comes in the order of the first."""
    leaves = [g.tensor(array, device=device) for array in arrays]
    leaves = [x.to(to) if x.ndim == 4 else x for x, to in zip(leaves, layouts, strict=True)]
    for leaf in leaves:
        leaf.requires_grad_()
    y = case.function(*leaves)
    gy = g.tensor(np.random.default_rng(1).standard_normal(y.shape).astype(y.dtype), device=y.device)
    y.backward(gy.to(layouts[0]) if y.ndim == 4 else gy)
    return [y, *(leaf.grad for leaf in leaves)]


def check(case, dtype, layouts, device="cpu"):
    arrays = case.arrays(dtype)
    results = run(case, arrays, layouts, device)
    for result in results[: 1 if str(case) in VIEWS else 2]:
        _, C, *pixels = result.shape if result.ndim == 4 else (1, 1, 1)
        assert result.layout == layouts[0] or min(C, np.prod(pixels)) < 2  # then both are one
    plain = run(case, arrays, ["channels_first"] * len(arrays), device)
    for result, first in zip(results, plain, strict=True):
        if case.name in SAME_BITS:
            assert result.numpy().tobytes() == first.numpy().tobytes()
        case.agree(result.numpy(), first.numpy().astype(np.float64), 2 * (case.forward + case.gradient))


DTYPE, LAYOUT = st.sampled_from(["float32", "float16", "float64"]), st.sampled_from(g.layout.LAYOUTS)


@pytest.mark.parametrize("case", WITH_IMAGES, ids=str)
def test_operations_on_images(case):
    @settings(max_examples=12)
    @given(DTYPE, st.tuples(*[LAYOUT] * len(case.inputs)))
    def every_layout(dtype, layouts):
        check(case, dtype, layouts)

    every_layout()


@pytest.mark.parametrize("case", ON_ELEMENTS, ids=str)
def test_operations_on_elements(case):
    sizes = st.tuples(st.integers(1, 3), *[st.integers(1, 5)] * 3)

    @settings(max_examples=12)
    @given(DTYPE, st.tuples(*[LAYOUT] * len(case.inputs)), sizes)
    def every_layout(dtype, layouts, shape):
        check(reshaped(case, shape), dtype, ["channels_last", *layouts[1:]])

    every_layout()
