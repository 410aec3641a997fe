"""Mixed precision (Micikevicius et al. 2017): ``autocast`` runs products in 16 bits, ``GradScaler`` scales the loss.

    scaler = GradScaler()                       # float16 needs it, bfloat16 does not
    for images, labels in loader:
        with autocast("float16"):
            loss = cross_entropy(model(images), labels)
        optimiser.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimiser)
        scaler.update()

The parameters stay in float32. The other way, all in 16 bits, is ``model.to("float16")``: there the optimiser keeps
float32 masters of the weights, and the scaler works as it does here.
"""

import math
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps

import numpy as np

from . import autograd
from . import device as devices
from . import dtype as dtypes
from .ops.elementwise import astype
from .tensor import Tensor, as_tensor

# What autocast does to the float operands of an operation: HALF casts them to its dtype, WIDE to float32, WIDEST to the
# widest among them. An operation that is not here takes them as they are: arithmetic promotes (a 16-bit operand beside
# a float32 one becomes float32), norms and pooling keep their statistics and sums in float32 whatever comes.
HALF, WIDE, WIDEST = "half", "wide", "widest"
POLICY = {
    **dict.fromkeys(("conv2d", "conv_transpose2d", "linear", "matmul", "prelu"), HALF),
    **dict.fromkeys(("softmax", "log_softmax", "cross_entropy", "hinge_loss", "mse_loss", "l1_loss"), WIDE),
    **dict.fromkeys(("binary_cross_entropy_with_logits", "kl_div"), WIDE),
    **dict.fromkeys(("exp", "log", "pow", "sum", "mean", "var"), WIDE),
    **dict.fromkeys(("cat", "stack"), WIDEST),
}


class _Autocast:
    """One ``with autocast(...)``: its dtype, and the casts of leaves that it has made."""

    def __init__(self, dtype):
        self.dtype, self.casts = dtype, {}

    def cast(self, tensor, dtype):
        """The tensor in ``dtype``; a weight is cast once, until it changes or backward has freed its cast."""
        if tensor.dtype == dtype:
            return tensor
        if not tensor.is_leaf or not tensor.requires_grad:
            return astype(tensor, dtype)
        version = (tensor.version[0], dtype, autograd.is_grad_enabled())
        _, data, made, cast = self.casts.get(id(tensor), (None,) * 4)
        if data is not tensor.data or made != version or (cast.node is not None and cast.node.saved is None):
            cast = astype(tensor, dtype)
            self.casts[id(tensor)] = (tensor, tensor.data, version, cast)
        return cast


_active = ContextVar("gpucnn_autocast", default=None)


@contextmanager
def autocast(dtype):
    """Run the operations of this block, in this thread, in the dtypes of ``POLICY``; a decorator of functions, too.

    dtype       "float16" or "bfloat16", or None to switch an outer autocast off

    Casts are differentiated: gradients come in the dtype of each tensor, float32 for float32 parameters. A float64
    operand keeps an operation as it is. Backward belongs outside of the block.

    >>> weight = randn(3, 4)
    >>> with autocast("bfloat16"):
    ...     y = linear(randn(2, 4), weight)
    ...     y.dtype, exp(y).dtype
    (dtype(bfloat16), dtype('float32'))
    """
    if dtype is not None and dtypes.as_dtype(dtype) not in (dtypes.float16, dtypes.bfloat16):
        raise TypeError(f"autocast: takes float16, bfloat16 or None, but came {dtype}")
    token = _active.set(None if dtype is None else _Autocast(dtypes.as_dtype(dtype)))
    try:
        yield
    finally:
        _active.reset(token)


def casting(function, policy):
    """The operation ``function`` with its operands cast by ``policy`` where autocast is on."""

    @wraps(function)
    def call(*args, **options):
        active = _active.get()
        if active is None:
            return function(*args, **options)
        values = [*args, *options.values()]
        found = [t for value in values for t in (value if isinstance(value, (list, tuple)) else [value]) if _floats(t)]
        dtype = {HALF: active.dtype, WIDE: dtypes.float32}.get(policy)
        for tensor in found if policy == WIDEST else ():
            dtype = tensor.dtype if dtype is None else dtypes.promote(dtype, tensor.dtype)
        if dtype is None or any(tensor.dtype == dtypes.float64 for tensor in found):
            return function(*args, **options)

        def cast(value):
            if isinstance(value, (list, tuple)):
                return type(value)(map(cast, value))
            return active.cast(as_tensor(value), dtype) if _floats(value) else value

        return function(*map(cast, args), **{name: cast(value) for name, value in options.items()})

    return call


def _floats(value):
    """Whether value is a tensor or an array of floats."""
    return (isinstance(value, Tensor) or devices.is_array(value)) and dtypes.is_float(value.dtype)


class GradScaler:
    """A factor on the loss that keeps float16 gradients from underflow, as large as they bear without overflow.

    factor      at first; halved when a gradient is not finite (the step is left out), doubled after ``interval`` good
                steps in a row

    Take the loss in float32: ``cross_entropy`` gives it so under autocast, and for float32 logits. On the CPU, NumPy
    may warn of an overflow that leads to a step left out.
    """

    def __init__(self, factor=2.0**16, interval=2000):
        if not 0 < factor < math.inf or interval < 1:
            raise ValueError(f"GradScaler: factor and interval are positive, but came {factor} and {interval}")
        self.factor, self.interval, self.good = float(factor), interval, 0
        self.finite = {}  # of each optimiser whose gradients were unscaled since the last update

    def scale(self, loss):
        """The loss times the factor, in float32 at least: call ``backward`` on it."""
        return astype(loss, dtypes.promote(loss.dtype, dtypes.float32)) * self.factor

    def unscale_(self, optimizer):
        """Divide the gradients by the factor: call it before clipping them; else ``step`` does.

        Gradients of 16-bit parameters become float32, so that none underflows; the optimiser takes them so.
        """
        if id(optimizer) in self.finite:
            raise RuntimeError("GradScaler: gradients are unscaled once between updates, but here a second time")
        total = 0.0
        with np.errstate(invalid="ignore"):
            for p in optimizer.params:
                if p.grad is not None:
                    grad = p.grad.data
                    grad = grad.astype(dtypes.accumulate(grad.dtype), copy=False) * (1 / self.factor)
                    p.grad = Tensor(grad)
                    # A sum of finite float32 values is finite in float64. It stays on the device.
                    total = total + grad.sum(dtype="float64")
        self.finite[id(optimizer)] = math.isfinite(float(total))

    def step(self, optimizer):
        """``optimizer.step()``, or nothing where a gradient is not finite; returns whether it was taken."""
        if id(optimizer) not in self.finite:
            self.unscale_(optimizer)
        if self.finite[id(optimizer)]:
            optimizer.step()
        return self.finite[id(optimizer)]

    def update(self):
        """Choose the next factor; once after the steps of all optimisers."""
        if not self.finite:
            raise RuntimeError("GradScaler: update follows a step, but there was none")
        self.good = self.good + 1 if all(self.finite.values()) else 0
        if not self.good:
            self.factor /= 2
        elif self.good == self.interval:
            self.factor, self.good = self.factor * 2, 0
        self.finite = {}

    def state_dict(self):
        """{"factor", "good": steps since the factor changed}: JSON values, for the checkpoint."""
        return {"factor": self.factor, "good": self.good}

    def load_state_dict(self, saved):
        """Continue from what ``state_dict`` gave."""
        self.factor, self.good = saved["factor"], saved["good"]
