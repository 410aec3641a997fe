"""Case: one way to call an operation, its inputs, and how far its results may be from the truth."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import gpucnn as g
from tests.tolerance import TINY, U_ACC, U_OUT

SLOPE = 1e-7  # of a central difference: h**2 plus 2**-53 / h, times derivatives of order one, with h = 1e-5
LIBRARY = 8  # exp, log, tanh and power of NumPy, in float32: up to 4 units in the last place (half units counted)


def real(rng, shape):
    return rng.standard_normal(shape)


def positive(rng, shape):
    return rng.uniform(0.5, 2, shape)


def apart(rng, shape):
    """Different odd multiples of 0.05: no kink at a multiple of 0.1, no tie, is near, not even in bfloat16."""
    size = int(np.prod(shape))
    return (0.1 * (rng.permutation(size) - size // 2) + 0.05).reshape(shape)


def between(rng, shape):
    """As ``apart``, and away from every value that ``apart`` gives."""
    return apart(rng, shape) + 0.05


@dataclass(frozen=True)
class Case:
    """One way to call an operation.

    name        the public name in gpucnn.ops               function   tensors -> tensor
    inputs      shapes, or pairs of a shape and a domain     torch      (torch, tensors) -> tensor, the same in PyTorch
    forward, gradient   how many times a result is rounded to its dtype on the way
    spread      errors are relative to the largest result, not to each: sums with cancellation inside
    empty       shapes of inputs with no element in at least one, on which the operation works too
    """

    name: str
    function: Callable
    inputs: tuple
    torch: Callable | None = None
    forward: int = 1
    gradient: int = 2
    spread: bool = False
    empty: tuple | None = None
    variant: str = ""

    def __str__(self):
        return f"{self.name}-{self.variant}" if self.variant else self.name

    def arrays(self, dtype="float64", seed=0):
        """Inputs in float64, rounded to dtype."""
        rng = np.random.default_rng(seed)
        pairs = [i if callable(i[-1]) else (i, real) for i in self.inputs]
        return [domain(rng, shape).astype(g.dtype.as_dtype(dtype)) for shape, domain in pairs]

    def agree(self, y, ref, roundings):
        """Assert that y is ref (float64), but for so many roundings of its dtype."""
        assert y.shape == ref.shape
        name, y = y.dtype.name, y.astype(np.float64)
        assert np.isfinite(y).all()
        u_acc = U_OUT["float64"] if name == "float64" else U_ACC
        scale = np.abs(ref).max(initial=0) if self.spread else np.abs(ref)
        bound = (roundings * U_OUT[name] + LIBRARY * u_acc) * scale + TINY[name]
        assert (np.abs(y - ref) <= bound).all(), f"{(np.abs(y - ref) / bound).max():.3g} times the bound"


def elementwise(name, inputs, **options):
    """Cases of an operation that PyTorch has under the same name, on given inputs and on empty ones."""
    empty = tuple((0, *(i[0] if callable(i[-1]) else i)[1:]) for i in inputs)
    options = {"torch": lambda t, *x: getattr(t, name)(*x), "empty": empty, **options}
    return Case(name, getattr(g, name), inputs, **options)


def binary(name, first=real, second=real, **options):
    """The same shape twice, and shapes that broadcast in both directions."""
    row, wide = (((3, 1, 5), first), ((4, 1), second)), (((1,), first), ((2, 3), second))
    return [
        elementwise(name, (((3, 4), first), ((3, 4), second)), **options),
        elementwise(name, row, variant="broadcast", empty=((0, 1, 5), (4, 1)), spread=True, **options),
        elementwise(name, wide, variant="one", empty=((1,), (0, 3)), spread=True, **options),
    ]
