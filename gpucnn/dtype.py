"""The dtype list: names, promotion, and the dtype that sums are made in."""

from functools import cache

import ml_dtypes
import numpy as np

float32 = np.dtype(np.float32)
float16 = np.dtype(np.float16)
bfloat16 = np.dtype(ml_dtypes.bfloat16)
float64 = np.dtype(np.float64)
FLOATS = {d.name: d for d in (float32, float16, bfloat16, float64)}
OTHERS = {np.dtype(n).name: np.dtype(n) for n in ("int64", "int32", "int16", "int8", "uint8", "bool")}


def as_dtype(dtype):
    """The NumPy dtype of a name, type or dtype that gpucnn knows; anything else is a TypeError.

    >>> as_dtype("bfloat16")
    dtype(bfloat16)
    """
    try:
        found = bfloat16 if dtype == "bfloat16" else np.dtype(dtype)
    except TypeError:
        found = None
    if found is None or found.name not in {**FLOATS, **OTHERS}:
        raise TypeError(f"dtype: takes one of {', '.join([*FLOATS, *OTHERS])}, but came {dtype}")
    return FLOATS.get(found.name) or OTHERS[found.name]  # in the byte order of this machine


@cache
def name_of(dtype):
    """The name of a dtype; NumPy's own ``name`` takes several microseconds."""
    return dtype.name


@cache
def is_float(dtype):
    """Whether tensors of this dtype can have gradients."""
    return dtype.name in FLOATS


@cache
def accumulate(dtype):
    """The dtype of sums over values of ``dtype``: float64 for itself, float32 for other floats, int64 for ints."""
    if is_float(dtype):
        return float64 if dtype == float64 else float32
    return OTHERS["int64"]


def promote(a, b):
    """The dtype of an operation on two dtypes: a float wins over integers, float16 with bfloat16 gives float32."""
    if a == b:
        return a
    if is_float(a) != is_float(b):
        return a if is_float(a) else b
    if {a, b} == {float16, bfloat16}:
        return float32
    return np.promote_types(a, b)
