"""Reverse-mode differentiation: a Function instance is the graph node; backward walks the nodes in a loop."""

import sys
import time
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

from . import config, tensor
from . import dtype as dtypes
from .device import array_module, device_of
from .layout import added, channels_first, channels_last, copied, is_channels_last

_enabled = ContextVar("gpucnn_grad_enabled", default=True)
# Under GPUCNN_DEBUG=3: the Module whose forward runs, and its path from the outermost one, as in "features.3.conv1".
running = ContextVar("gpucnn_running_module", default=(None, ""))


def is_grad_enabled():
    """Whether operations record a graph in this thread."""
    return _enabled.get()


@contextmanager
def no_grad():
    """Record no graph inside the block (or inside a function, as a decorator)."""
    token = _enabled.set(False)
    try:
        yield
    finally:
        _enabled.reset(token)


def _is_finite(array):
    """Whether no value is an infinity or a NaN; only floats have such values."""
    if not dtypes.is_float(array.dtype):
        return True
    wide = array.astype(np.float32) if array.dtype.itemsize == 2 else array
    return bool(array_module(array).isfinite(wide).all())


def _owner(array):
    """The array whose memory this is: itself, or what it is a view of."""
    return array if array.base is None else array.base


class Function:
    """One differentiable operation, and the node of the graph that one call of it makes.

    ``forward(*arrays)`` computes on raw arrays and calls ``self.save`` on what ``backward(gy)`` needs; backward
    returns one gradient an input (None where there is none). Parameters arrive as attributes.
    ``self.needs[i]`` says whether input i wants a gradient. ``view`` marks an output that shares memory with input 0,
    ``pointwise`` an operation on each element, with broadcasting: where an input is in channels_last order it works on
    arrays (N, H, W, C), so that it runs through memory in order and its results are in that order, too.
    """

    view = pointwise = False
    moved = False  # to (N, H, W, C)
    saved = ()
    layer = ""  # known under GPUCNN_DEBUG=3

    def __init__(self, **parameters):
        vars(self).update(parameters)

    def save(self, *arrays):
        """Keep arrays for backward (None for one that it will not need); the graph holds no other array."""
        self.saved = arrays

    @classmethod
    def apply(cls, *inputs, **parameters):
        """Run the operation on tensors and return a tensor, linked into the graph where a gradient is wanted."""
        devices = {device_of(t.data) for t in inputs}
        if len(devices) > 1:
            raise TypeError(f"{cls.name()}: all tensors are on one device, but came {' and '.join(sorted(devices))}")
        self = cls(**parameters)
        self.needs = tuple(t.requires_grad for t in inputs) if _enabled.get() else (False,) * len(inputs)
        start = time.perf_counter()
        arrays = [t.data for t in inputs]
        if self.pointwise and any(map(is_channels_last, arrays)) and all(array.ndim in (0, 4) for array in arrays):
            self.moved = True
            data = channels_first(self.forward(*(channels_last(a) if a.ndim else a for a in arrays)))
        else:
            data = self.forward(*arrays)
        if isinstance(data, np.generic):
            data = np.asarray(data)
        debug = config.get("debug")
        if debug >= 2:
            self._report(data, start)
        if debug >= 3:
            self.layer = running.get()[1]
            self._check_finite("results", data, *(t.data for t in inputs))
        version = inputs[0].version if self.view and _owner(data) is _owner(inputs[0].data) else None
        out = tensor.Tensor(data, version=version)
        if any(self.needs) and dtypes.is_float(out.dtype):
            out.requires_grad, out.node = True, self
            self._link(inputs, out)
        return out

    @classmethod
    def name(cls):
        return cls.__name__.lower()

    def _link(self, inputs, out):
        self.output = (out.shape, out.dtype)
        self.edges = tuple((t.node or t) if need else None for t, need in zip(inputs, self.needs, strict=True))
        self.metas = tuple((t.shape, t.dtype) for t in inputs)
        self.retained = None  # a weak reference to the output, where its gradient is wanted
        self.versions = []  # (cell, value) of every tensor whose memory was saved
        owners = {id(_owner(t.data)): t.version for t in (*inputs, out)}
        for array in self.saved:
            cell = None if array is None else owners.get(id(_owner(array)))
            if cell is not None:
                self.versions.append((cell, cell[0]))

    def _report(self, data, start):
        shape = "x".join(map(str, data.shape))
        print(
            f"gpucnn: {self.name()} -> {shape} {data.dtype.name} {device_of(data)} {data.nbytes} bytes"
            f" {1e6 * (time.perf_counter() - start):.0f} us",
            file=sys.stderr,
        )

    def _check_finite(self, what, data, *sources):
        if _is_finite(data):
            return
        where = f" in layer {self.layer}" if self.layer else ""
        origin = "is finite" if all(map(_is_finite, sources)) else "is not, either"
        raise FloatingPointError(
            f"{self.name()}{where}: {what} are finite under GPUCNN_DEBUG=3, but a value is not ({data.shape});"
            f" what it was computed from {origin}"
        )

    def gradients(self, gy, keep):
        """Run backward once, checking what it relies on and what it returns."""
        if self.saved is None:
            raise RuntimeError(
                f"backward: {self.name()} was differentiated and freed before; "
                "call backward once, or with retain_graph=True"
            )
        if any(cell[0] != value for cell, value in self.versions):
            raise RuntimeError(f"backward: {self.name()} needs an array that was changed in place after forward")
        grads = self.backward(channels_last(gy) if self.moved else gy)
        if not keep:
            self.saved = None
        grads = grads if isinstance(grads, tuple) else (grads,)
        if self.moved:
            grads = (g if g is None or not g.ndim else channels_first(g) for g in grads)
        return tuple(np.asarray(g) if isinstance(g, np.generic) else g for g in grads)


def backward(root, gradient=None, *, retain_graph=False):
    """Accumulate into ``.grad`` of the leaves (and retained tensors) below ``root``.

    gradient    d loss / d root, the shape of root; 1 where root has one element
    """
    if not root.requires_grad:
        raise RuntimeError(
            "backward: starts from a tensor that requires grad, but this one has no graph"
            " (gradients themselves have none: first-order gradients only)"
        )
    if gradient is None:
        if root.size != 1:
            raise ValueError(
                f"backward: needs a gradient unless the tensor has one element, but came none ({root.shape})"
            )
        gradient = array_module(root.data).ones_like(root.data)
    else:
        gradient = tensor.as_tensor(gradient).data
        if gradient.shape != root.shape:
            raise ValueError(
                f"backward: gradient has the shape of the tensor, but came {gradient.shape} ({root.shape})"
            )
        if device_of(gradient) != root.device:
            raise TypeError(
                f"backward: gradient is on the device of the tensor, but came {device_of(gradient)} and {root.device}"
            )
        gradient = gradient.astype(root.dtype, copy=False)
    if root.node is None:
        return _accumulate(root, gradient, fresh=False)

    checking = config.get("debug") >= 3
    waiting = _count_uses(root.node)
    grads, ready = {root.node: gradient}, [root.node]
    while ready:
        node = ready.pop()
        gy = grads.pop(node, None)
        if gy is None:  # no path from the root brought a gradient
            found = (None,) * len(node.edges)
        else:
            retained = node.retained and node.retained()
            if retained is not None:
                _accumulate(retained, gy, fresh=False)
            found = node.gradients(gy, retain_graph)
        for i, edge in enumerate(node.edges):
            if edge is None:
                continue
            grad = found[i]
            if grad is not None:
                shape, dtype = node.metas[i]
                if grad.shape != shape:
                    raise RuntimeError(f"{node.name()}: backward gave {grad.shape} for input {i} of shape {shape}")
                if grad.dtype != dtype:
                    grad = grad.astype(dtype)
                if checking:
                    node._check_finite("gradients", grad, gy)
                if isinstance(edge, Function):
                    grads[edge] = added(grads[edge], grad) if edge in grads else grad
                else:
                    shared = grad is gy or grad.base is not None or sum(g is grad for g in found) > 1
                    _accumulate(edge, grad, fresh=not shared)
            if isinstance(edge, Function):
                waiting[edge] -= 1
                if not waiting[edge]:
                    ready.append(edge)


def _count_uses(root):
    """How many edges lead to each node below root."""
    uses, stack = {root: 0}, [root]
    while stack:
        for edge in stack.pop().edges:
            if isinstance(edge, Function):
                if edge not in uses:
                    uses[edge] = 0
                    stack.append(edge)
                uses[edge] += 1
    return uses


def _accumulate(leaf, grad, fresh):
    """Add to leaf.grad. A gradient whose memory others may hold is copied, so that .grad is the leaf's own."""
    if leaf.grad is None:
        leaf.grad = tensor.Tensor(grad if fresh else copied(grad))
    else:
        leaf.grad = tensor.Tensor(added(leaf.grad.data, grad))
