"""Shape operations: views where NumPy makes views. A view shares the version of its tensor."""

from math import prod

import numpy as np

from .. import dtype as dtypes
from ..autograd import Function
from ..device import array_module
from ..layout import LAYOUTS, channels_first, channels_last, is_channels_last, moved
from ..tensor import Tensor, as_tensor
from .elementwise import unbroadcast


class ToLayout(Function):
    view = True  # of one channel or one pixel

    def forward(self, x):
        self.before = is_channels_last(x)
        return moved(x, self.last)

    def backward(self, gy):
        return moved(gy, self.before)


class Reshape(Function):
    view = True

    def forward(self, x):
        self.before = x.shape
        return x.reshape(self.shape)

    def backward(self, gy):
        return gy.reshape(self.before)


class Permute(Function):
    view = True

    def forward(self, x):
        return x.transpose(self.axes)

    def backward(self, gy):
        inverse = sorted(range(len(self.axes)), key=self.axes.__getitem__)
        return gy.transpose(inverse)


class BroadcastTo(Function):
    view = True

    def forward(self, x):
        self.before = x.shape
        return array_module(x).broadcast_to(x, self.shape)

    def backward(self, gy):
        return unbroadcast(gy, self.before)


class GetItem(Function):
    view = True  # of basic indices; apply() sees whether memory is really shared

    def forward(self, x):
        self.before = x.shape
        parts = self.index if isinstance(self.index, tuple) else (self.index,)
        if self.needs[0]:  # the caller may change an index array before backward
            self.index = parts = tuple(part.copy() if hasattr(part, "copy") else part for part in parts)
        y = x[self.index]
        # NumPy makes a scalar of a single element, but a view where the index has an Ellipsis
        return x[(*parts, Ellipsis)] if isinstance(y, np.generic) else y

    def backward(self, gy):
        xp = array_module(gy)
        gx = xp.zeros(self.before, dtypes.accumulate(gy.dtype))
        parts = self.index
        if all(part is None or part is Ellipsis or isinstance(part, (int, slice)) for part in parts):
            gx[self.index] = gy
        else:  # an element may be named twice
            xp.add.at(gx, self.index, gy.astype(gx.dtype))
        return gx


class Cat(Function):
    def forward(self, *arrays):
        self.sizes = [a.shape[self.axis] for a in arrays]
        xp = array_module(arrays[0])
        if is_channels_last(arrays[0]):
            return channels_first(xp.concatenate(list(map(channels_last, arrays)), axis=(0, 3, 1, 2)[self.axis]))
        return xp.concatenate(arrays, axis=self.axis)

    def backward(self, gy):
        grads, start = [], 0
        for size in self.sizes:
            grads.append(gy[(slice(None),) * self.axis + (slice(start, start + size),)])
            start += size
        return tuple(grads)


def raw_index(index):
    """An index with arrays in place of tensors."""
    if isinstance(index, tuple):
        return tuple(raw_index(part) for part in index)
    if isinstance(index, Tensor):
        return index.data
    return index


def getitem(x, index):
    """x[index], with NumPy's basic and advanced indices; tensors may be indices.

    An index outside is an IndexError; but in an array of indices into a CUDA tensor, where CuPy does not look, it is
    taken modulo the length. Gradients of an element that is named several times are summed there in any order.
    """
    try:
        return GetItem.apply(x, index=raw_index(index))
    except IndexError as error:
        raise IndexError(f"getitem: the index fits the tensor, but {error} ({x.shape})") from None


def reshape(x, shape):
    """x with another shape of the same size; one length may be -1.

    >>> reshape(as_tensor([1.0, 2.0, 3.0, 4.0]), (2, -1)).shape
    (2, 2)
    """
    x, shape = as_tensor(x), (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
    known = prod(n for n in shape if n != -1)
    if shape.count(-1) == 1 and known > 0 and x.size % known == 0:
        shape = tuple(x.size // known if n == -1 else n for n in shape)
    if min(shape, default=1) < 0 or prod(shape) != x.size:
        raise ValueError(f"reshape: keeps the number of elements, but came {shape} for {x.size} ({x.shape})")
    return Reshape.apply(x, shape=shape)


def permute(x, axes):
    """x with its axes in another order: axis i of the result is axes[i] of x."""
    x = as_tensor(x)
    axes = tuple(a % x.ndim if x.ndim and -x.ndim <= a < x.ndim else a for a in axes)
    if sorted(axes) != list(range(x.ndim)):
        raise ValueError(f"permute: names every axis once, but came {axes} ({x.shape})")
    return Permute.apply(x, axes=axes)


def _axis(op, axis, count, shape):
    if not -count <= axis < count:
        raise ValueError(f"{op}: the axis lies in [{-count}, {count}), but came {axis} ({shape})")
    return axis % count


def transpose(x, axis0, axis1):
    """x with two axes swapped."""
    x = as_tensor(x)
    axes = list(range(x.ndim))
    axis0, axis1 = (_axis("transpose", a, x.ndim, x.shape) for a in (axis0, axis1))
    axes[axis0], axes[axis1] = axes[axis1], axes[axis0]
    return Permute.apply(x, axes=tuple(axes))


def flatten(x, start=0):
    """x with all axes from ``start`` on made one: (N, C, H, W) -> (N, C H W) for start=1."""
    x = as_tensor(x)
    start = _axis("flatten", start, x.ndim, x.shape) if x.ndim else 0
    return reshape(x, (*x.shape[:start], prod(x.shape[start:])))


def squeeze(x, axis=None):
    """x without its axes of length 1, or without that one axis (which must have length 1)."""
    x = as_tensor(x)
    if axis is None:
        return reshape(x, tuple(n for n in x.shape if n != 1))
    axis = _axis("squeeze", axis, x.ndim, x.shape)
    if x.shape[axis] != 1:
        raise ValueError(f"squeeze: the axis has length 1, but came axis {axis} ({x.shape})")
    return reshape(x, x.shape[:axis] + x.shape[axis + 1 :])


def unsqueeze(x, axis):
    """x with an axis of length 1 inserted before ``axis``."""
    x = as_tensor(x)
    axis = _axis("unsqueeze", axis, x.ndim + 1, x.shape)
    return reshape(x, (*x.shape[:axis], 1, *x.shape[axis:]))


def to_layout(x, layout):
    """x (N, C, H, W), in another order in memory: "channels_last", so (N, H, W, C), or "channels_first".

    The values are the same, and so is all that is computed from them but the choice of ``dropout``. Convolutions,
    pooling, normalisation and operations on each element keep the order of their input, so that a network is brought
    into it at its border: 16-bit tensor cores read channels_last, and every other order is copied for them.

    >>> to_layout(as_tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]]), "channels_last").layout
    'channels_last'
    """
    x = as_tensor(x)
    if layout not in LAYOUTS or x.ndim != 4:
        raise ValueError(f"to_layout: takes (N, C, H, W) and {' or '.join(LAYOUTS)}, but came {layout!r} ({x.shape})")
    return x if x.layout == layout else ToLayout.apply(x, last=layout == "channels_last")


def broadcast_to(x, shape):
    """x repeated (without copying) to a shape that NumPy broadcasts it to."""
    x, shape = as_tensor(x), tuple(shape)
    lead = len(shape) - x.ndim
    if lead < 0 or any(n not in (1, m) for n, m in zip(x.shape, shape[lead:], strict=True)):
        raise ValueError(f"broadcast_to: lengths are equal or 1, but came {shape} ({x.shape})")
    return BroadcastTo.apply(x, shape=shape)


def cat(tensors, axis=0):
    """Tensors of one dtype joined along an axis; the other lengths are equal."""
    tensors = [as_tensor(t) for t in tensors]
    if not tensors:
        raise ValueError("cat: needs at least one tensor, but came none")
    axis = _axis("cat", axis, tensors[0].ndim, tensors[0].shape)
    came = ", ".join(f"{t.dtype.name} {t.shape}" for t in tensors)
    if len({t.dtype.name for t in tensors}) > 1:
        raise TypeError(f"cat: tensors have one dtype, but came {came}")
    if len({(t.shape[:axis], t.shape[axis + 1 :]) for t in tensors}) > 1:
        raise ValueError(f"cat: all lengths but that of axis {axis} are equal, but came {came}")
    return Cat.apply(*tensors, axis=axis)


def stack(tensors, axis=0):
    """Tensors of one shape and dtype joined along a new axis."""
    tensors = [as_tensor(t) for t in tensors]
    if len({t.shape for t in tensors}) > 1:
        raise ValueError(f"stack: tensors have one shape, but came {', '.join(str(t.shape) for t in tensors)}")
    return cat([unsqueeze(t, axis) for t in tensors], axis)
