"""The few checks of arguments that operations share, and their messages."""

import numpy as np

from . import dtype as dtypes


def pair(value, name):
    """(h, w) of an int or of two ints."""
    values = value if isinstance(value, (tuple, list)) else (value, value)
    if len(values) == 2 and all(isinstance(v, (int, np.integer)) for v in values):
        return tuple(map(int, values))
    raise ValueError(f"{name}: takes an int or a pair (h, w) of ints, but came {value!r}")


def whole(value, name):
    """A Python int."""
    if isinstance(value, (int, np.integer)):
        return int(value)
    raise ValueError(f"{name}: takes an int, but came {value!r}")


def ndim(op, tensor, count, meaning):
    """Refuse a tensor that has not ``count`` dimensions."""
    if tensor.ndim != count:
        raise ValueError(f"{op}: takes {count} dimensions {meaning}, but came {tensor.ndim} ({tensor.shape})")


def floats(op, *tensors):
    """Refuse tensors that are no floats, or not all of one dtype."""
    first = tensors[0].dtype
    if not dtypes.is_float(first) or any(t.dtype != first for t in tensors):
        names = [t.dtype.name for t in tensors]
        shapes = ", ".join(str(t.shape) for t in tensors)
        raise TypeError(f"{op}: takes floats of one dtype, but came {', '.join(names)} ({shapes})")
