"""The two orders in memory of images (N, C, H, W): channels_first, which is that, and channels_last, (N, H, W, C).

Operations keep the order of their input. A result is the same in both, except where sums are in another order, and but
for dropout, whose random numbers come in the order of memory.
"""

from .device import array_module, launch

LAYOUTS = ("channels_first", "channels_last")


def is_channels_last(array):
    """Whether the channels of a pixel are neighbours in memory. Images of one pixel can have either order, as strides.

    >>> import numpy as np
    >>> is_channels_last(channels_first(np.zeros((1, 4, 4, 3)))), is_channels_last(np.zeros((1, 3, 4, 4)))
    (True, False)
    """
    if array.ndim != 4 or array.strides[1] != array.itemsize:
        return False
    _, C, H, W = array.shape
    return array.strides[3] >= C * array.itemsize and C * H * W > 1


def channels_last(array):
    """The same memory as (N, H, W, C)."""
    return array.transpose(0, 2, 3, 1)


def channels_first(array):
    """The same memory, of an array (N, H, W, C), as (N, C, H, W)."""
    return array.transpose(0, 3, 1, 2)


def in_memory(array, last, out=None):
    """A C-contiguous array of the same values: (N, H, W, C) where ``last``, else (N, C, H, W); a copy, into ``out`` if
    that is given, else if need be."""
    wanted = channels_last(array) if last else array
    if out is None:
        if wanted.flags.c_contiguous:
            return wanted
        if array.ndim != 4:
            return array_module(array).ascontiguousarray(wanted)
        out = array_module(array).empty(wanted.shape, wanted.dtype)
    held = array if last else channels_last(array)
    if held.flags.c_contiguous and held.itemsize in (2, 4):
        N, C, H, W = array.shape
        rows, columns = (C, H * W) if last else (H * W, C)
        launch("transpose_matrices", held.itemsize, N, rows, columns, rows, held, out)
    else:
        out[...] = wanted
    return out


def from_memory(array, last):
    """The inverse of ``in_memory``: an array (N, C, H, W) on the same memory."""
    return channels_first(array) if last else array


def moved(array, last):
    """An array (N, C, H, W) of the same values in channels_last order, where ``last``, else in channels_first order."""
    memory = in_memory(array, last)
    return from_memory(memory.reshape(-1).reshape(memory.shape), last)  # the strides of lengths of 1 say it, too


def copied(array):
    """A copy in the order of the array."""
    return channels_first(channels_last(array).copy()) if is_channels_last(array) else array.copy()


def empty(xp, shape, dtype, last):
    """A new array of a shape (N, C, H, W), in channels_last order where ``last``."""
    N, C, *image = shape
    return from_memory(xp.empty((N, *image, C) if last else shape, dtype), last)


def added(a, b):
    """a + b of one shape, in the order of a."""
    return channels_first(channels_last(a) + channels_last(b)) if is_channels_last(a) else a + b
