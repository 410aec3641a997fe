"""The few checks of arguments that operations share, and their messages."""

from . import dtype as dtypes


def pair(value, name):
    """(h, w) of an int or of two ints."""
    if isinstance(value, int):
        return (value, value)
    if isinstance(value, (tuple, list)) and len(value) == 2 and all(isinstance(v, int) for v in value):
        return tuple(value)
    raise ValueError(f"{name}: takes an int or a pair (h, w) of ints, but came {value!r}")


def ndim(op, tensor, count, meaning):
    """Refuse a tensor that has not ``count`` dimensions."""
    if tensor.ndim != count:
        raise ValueError(f"{op}: takes {count} dimensions {meaning}, but came {tensor.ndim} ({tensor.shape})")


def floats(op, *tensors):
    """Refuse tensors that are no floats, or not all of one dtype."""
    names = [t.dtype.name for t in tensors]
    if not dtypes.is_float(tensors[0].dtype) or len(set(names)) > 1:
        shapes = ", ".join(str(t.shape) for t in tensors)
        raise TypeError(f"{op}: takes floats of one dtype, but came {', '.join(names)} ({shapes})")
