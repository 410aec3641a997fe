"""The convolution engine: arrays in, arrays out. Knows nothing of tensors; usable with bare NumPy and CuPy arrays."""

from .algos import ALGOS, Algo
from .plan import Plan
from .run import plan, run
from .shape import DIRECTIONS, ConvShape, shape_of

__all__ = ["ALGOS", "DIRECTIONS", "Algo", "ConvShape", "Plan", "plan", "run", "shape_of"]
