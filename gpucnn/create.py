"""The functions that make tensors: from data, filled, counted or drawn."""

import numpy as np

from . import device as devices
from . import dtype as dtypes
from .device import array_module
from .tensor import Tensor, as_shape, as_tensor


def _new(array, dtype, device, requires_grad):
    if dtype is not None:
        array = array.astype(dtypes.as_dtype(dtype), copy=False)
    if device is not None:
        array = devices.to_device(array, device)
    return Tensor(array, requires_grad)


def tensor(data, dtype=None, device=None, requires_grad=False):
    """A new leaf holding a copy of data: numbers, nested lists, NumPy or CuPy arrays, tensors, DLPack exporters.

    dtype     a dtype or name; by default that of an array, float32 for Python floats, int64 for ints
    device    "cpu", "cuda" or "cuda:1"; by default where data is

    >>> tensor([[1.0, 2.0], [3.0, 4.0]]).sum()
    tensor(10.)
    """
    if dtype is not None and isinstance(data, (int, float, list, tuple)):
        data = np.asarray(data)  # Python floats keep their digits on the way to dtype
    return _new(as_tensor(data).data.copy(), dtype, device, requires_grad)


def from_numpy(array):
    """A tensor on the memory of a NumPy (or CuPy) array: a change of one is a change of the other."""
    return as_tensor(array)


def full(shape, value, dtype="float32", device=None, requires_grad=False):
    """A tensor filled with one value."""
    return _new(np.full(shape, value, dtypes.as_dtype(dtype)), None, device, requires_grad)


def zeros(*shape, dtype="float32", device=None, requires_grad=False):
    """A tensor of zeros: ``zeros(2, 3)`` or ``zeros((2, 3))``."""
    return full(as_shape(shape), 0, dtype, device, requires_grad)


def ones(*shape, dtype="float32", device=None, requires_grad=False):
    """A tensor of ones."""
    return full(as_shape(shape), 1, dtype, device, requires_grad)


def zeros_like(like):
    """A tensor of zeros with the shape, dtype and device of another."""
    return Tensor(array_module(like.data).zeros_like(like.data))


def ones_like(like):
    """A tensor of ones with the shape, dtype and device of another."""
    return Tensor(array_module(like.data).ones_like(like.data))


def arange(*limits, dtype=None, device=None):
    """Evenly spaced values, as NumPy's arange: int64 for ints, float32 for floats."""
    array = np.arange(*limits)
    return _new(array, dtype or ("float32" if array.dtype == np.float64 else None), device, False)


def randn(*shape, dtype="float32", device=None, requires_grad=False):
    """Standard normal numbers, drawn on the CPU, so that a seed means the same values on every device."""
    return _new(devices.get_rng().standard_normal(as_shape(shape), np.float32), dtype, device, requires_grad)


def rand(*shape, dtype="float32", device=None, requires_grad=False):
    """Uniform numbers in [0, 1), drawn on the CPU."""
    return _new(devices.get_rng().random(as_shape(shape), np.float32), dtype, device, requires_grad)
