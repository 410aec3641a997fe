"""Tensor: an array, its gradient and its place in the graph. gpucnn/create.py has the functions that make tensors."""

import weakref

import numpy as np

from . import autograd
from . import device as devices
from . import dtype as dtypes
from .device import array_module, device_of
from .layout import LAYOUTS, is_channels_last


class Tensor:
    """A NumPy or CuPy array that remembers how it was made. Make one with ``gpucnn.tensor`` or ``zeros``.

    data            the raw array                   grad     Tensor or None: where backward accumulates
    requires_grad   whether backward reaches it     node     the Function that made it, or None for a leaf
    version         one-element list, shared by views: how often the memory was changed in place
    """

    __slots__ = ("__weakref__", "data", "grad", "node", "requires_grad", "version")
    __array_priority__ = 1000  # NumPy's operators leave `array + tensor` to Tensor

    def __init__(self, data, requires_grad=False, version=None):
        if requires_grad and not dtypes.is_float(data.dtype):
            raise TypeError(f"tensor: only floats have gradients, but came {data.dtype} {data.shape}")
        self.data = np.asarray(data) if isinstance(data, np.generic) else data  # NumPy makes 0-d results scalars
        self.grad = None
        self.node = None
        self.requires_grad = requires_grad
        self.version = [0] if version is None else version

    # --- what it is ---------------------------------------------------------------------------------------------
    shape = property(lambda self: self.data.shape)
    ndim = property(lambda self: self.data.ndim)
    size = property(lambda self: self.data.size)
    dtype = property(lambda self: self.data.dtype)
    device = property(lambda self: device_of(self.data))
    layout = property(lambda self: "channels_last" if is_channels_last(self.data) else "channels_first")
    T = property(lambda self: ops.permute(self, tuple(range(self.ndim))[::-1]))
    is_leaf = property(lambda self: self.node is None)

    def __len__(self):
        if not self.ndim:
            raise TypeError("len: needs at least one dimension, but came a tensor of shape ()")
        return self.shape[0]

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __bool__(self):
        return bool(self.item())

    def __float__(self):
        return float(self.item())

    def __int__(self):
        return int(self.item())

    def __index__(self):
        if dtypes.is_float(self.dtype):
            raise TypeError(f"index: takes an integer tensor, but came {self.dtype} ({self.shape})")
        return int(self.item())

    def __format__(self, spec):
        return format(self.item(), spec) if spec else str(self)

    __hash__ = object.__hash__

    def __repr__(self):
        values = devices.to_device(self.data, "cpu")
        if values.dtype == dtypes.bfloat16:
            values = values.astype(np.float32)
        text = np.array2string(values, prefix="tensor(", separator=", ", threshold=100, precision=4)
        notes = f", shape={self.shape}" if not self.size and self.ndim > 1 else ""
        notes += f", dtype={self.dtype.name}" if self.dtype not in (dtypes.float32, np.int64) else ""
        notes += f", device={self.device!r}" if self.device != "cpu" else ""
        notes += ", requires_grad=True" if self.requires_grad else ""
        return f"tensor({text}{notes})"

    # --- to and from others -------------------------------------------------------------------------------------
    def item(self):
        """The one value as a Python number."""
        if self.size != 1:
            raise ValueError(f"item: needs exactly one element, but came {self.size} ({self.shape})")
        value = self.data.reshape(()).item()
        return float(value) if dtypes.is_float(self.dtype) else value

    def numpy(self):
        """The values as a NumPy array: the tensor's own memory on the CPU (read-only where a graph may rely on
        it), a copy from CUDA."""
        array = devices.to_device(self.data, "cpu")
        if self.requires_grad and array is self.data:
            array = array.view()
            array.flags.writeable = False
        return array

    def __array__(self, dtype=None, copy=None):
        if self.device != "cpu":
            raise TypeError(f"numpy: needs a tensor on the CPU, but came {self.device}; use .numpy() to copy")
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def __dlpack__(self, **options):
        """A DLPack capsule on the tensor's own memory (NumPy's or CuPy's exporter)."""
        if self.requires_grad:
            raise RuntimeError("dlpack: needs a tensor without a graph, but this one requires grad; use .detach()")
        if self.dtype == dtypes.bfloat16:
            raise TypeError("dlpack: NumPy and CuPy cannot export bfloat16; use .astype('float32')")
        return self.data.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.data.__dlpack_device__()

    @property
    def __cuda_array_interface__(self):
        if self.device == "cpu":
            raise AttributeError("a tensor on the CPU has no __cuda_array_interface__")
        return self.data.__cuda_array_interface__

    def to(self, target):
        """On another device ("cpu", "cuda", "cuda:1"), in another dtype, or in another order in memory
        ("channels_last", "channels_first": see ``gpucnn.to_layout``); itself where nothing changes.

        Operations on "cuda:1" need that GPU to be the current one: ``cupy.cuda.Device(1).use()``."""
        if isinstance(target, str) and target.split(":")[0] in ("cpu", "cuda"):
            return ops.to_device(self, target)
        if isinstance(target, str) and target in LAYOUTS:
            return ops.to_layout(self, target)
        return ops.astype(self, target)

    def astype(self, dtype):
        """In another dtype; the gradient comes back in this one."""
        return ops.astype(self, dtype)

    # --- autograd -----------------------------------------------------------------------------------------------
    def backward(self, gradient=None, *, retain_graph=False, create_graph=False):
        """Accumulate d self / d leaf, times gradient, into ``.grad`` of every leaf that requires grad.

        gradient       a tensor or array of the same shape; may be left out for a single element
        retain_graph   keep the saved arrays, so that backward can be called again
        create_graph   always refused: gradients are of first order only
        """
        if create_graph:
            raise NotImplementedError("backward: first-order gradients only, but came create_graph=True")
        autograd.backward(self, gradient, retain_graph=retain_graph)

    def detach(self):
        """The same memory, outside the graph."""
        return Tensor(self.data, version=self.version)

    def retain_grad(self):
        """Let backward fill ``.grad`` of this tensor although it is no leaf."""
        if not self.requires_grad:
            raise RuntimeError("retain_grad: needs a tensor that requires grad, but this one does not")
        if self.node is not None:
            self.node.retained = weakref.ref(self)

    def requires_grad_(self, requires_grad=True):
        """Ask for gradients (or stop asking), in place; for leaves."""
        if self.node is not None:
            raise RuntimeError("requires_grad_: changes leaves only, but this tensor was made by an operation")
        if requires_grad and not dtypes.is_float(self.dtype):
            raise TypeError(f"tensor: only floats have gradients, but came {self.dtype} {self.shape}")
        self.requires_grad = requires_grad
        return self

    # --- in place: memory changes, so a graph must not be recording it --------------------------------------------
    def _change(self, name, change, other):
        other = as_tensor(other, like=self)
        if autograd.is_grad_enabled() and (self.requires_grad or other.requires_grad):
            raise RuntimeError(
                f"{name}: in-place changes are not differentiated, but a tensor here requires grad; "
                "write x = x + y, or use no_grad()"
            )
        if other.device != self.device:
            raise TypeError(f"{name}: both tensors are on one device, but came {self.device} and {other.device}")
        data = self.data
        repeated = data.size and any(n > 1 and not step for n, step in zip(data.shape, data.strides, strict=True))
        if repeated or not getattr(data.flags, "writeable", True):  # CuPy arrays have no such flag
            raise ValueError(
                f"{name}: changes memory that may be written, but came a broadcast view or read-only memory"
                f" ({self.shape})"
            )
        change(other.data)
        self.version[0] += 1
        return self

    def _inplace(self, name, ufunc, other):
        def change(values):
            lead = self.ndim - values.ndim
            if lead < 0 or any(n not in (1, m) for n, m in zip(values.shape, self.shape[lead:], strict=True)):
                raise ValueError(f"{name}: the result fits the tensor, but came {values.shape} ({self.shape})")
            dtype = dtypes.promote(self.dtype, values.dtype)
            result = ufunc(self.data.astype(dtype, copy=False), values.astype(dtype, copy=False))
            if dtypes.is_float(result.dtype) and not dtypes.is_float(self.dtype):
                raise TypeError(
                    f"{name}: integers stay integers, but came {result.dtype} for {self.dtype} {self.shape}"
                )
            self.data[...] = result.astype(self.dtype, copy=False)

        return self._change(name, change, other)

    def __iadd__(self, other):
        return self._inplace("+=", array_module(self.data).add, other)

    def __isub__(self, other):
        return self._inplace("-=", array_module(self.data).subtract, other)

    def __imul__(self, other):
        return self._inplace("*=", array_module(self.data).multiply, other)

    def __itruediv__(self, other):
        return self._inplace("/=", array_module(self.data).true_divide, other)

    def __setitem__(self, index, value):
        def change(values):
            try:
                self.data[ops.raw_index(index)] = values.astype(self.dtype, copy=False)
            except (IndexError, ValueError) as error:
                raise type(error)(f"setitem: index and value fit the tensor, but {error} ({self.shape})") from None

        self._change("setitem", change, value)

    # --- operators and methods: each is the function of the same name ---------------------------------------------
    def __getitem__(self, index):
        return ops.getitem(self, index)

    def __add__(self, other):
        return ops.add(self, other)

    def __sub__(self, other):
        return ops.sub(self, other)

    def __rsub__(self, other):
        return ops.sub(other, self)

    def __mul__(self, other):
        return ops.mul(self, other)

    def __truediv__(self, other):
        return ops.div(self, other)

    def __rtruediv__(self, other):
        return ops.div(other, self)

    def __pow__(self, other):
        return ops.pow(self, other)

    def __rpow__(self, other):
        return ops.pow(other, self)

    def __matmul__(self, other):
        return ops.matmul(self, other)

    def __rmatmul__(self, other):
        return ops.matmul(other, self)

    def __neg__(self):
        return ops.neg(self)

    def __abs__(self):
        return ops.abs(self)

    __radd__, __rmul__ = __add__, __mul__

    def __eq__(self, other):
        return ops.compare("equal", self, other)

    def __ne__(self, other):
        return ops.compare("not_equal", self, other)

    def __lt__(self, other):
        return ops.compare("less", self, other)

    def __le__(self, other):
        return ops.compare("less_equal", self, other)

    def __gt__(self, other):
        return ops.compare("greater", self, other)

    def __ge__(self, other):
        return ops.compare("greater_equal", self, other)

    def sum(self, axis=None, keepdims=False):
        return ops.sum(self, axis, keepdims)

    def mean(self, axis=None, keepdims=False):
        return ops.mean(self, axis, keepdims)

    def var(self, axis=None, keepdims=False, correction=1):
        return ops.var(self, axis, keepdims, correction)

    def max(self, axis=None, keepdims=False):
        return ops.max(self, axis, keepdims)

    def min(self, axis=None, keepdims=False):
        return ops.min(self, axis, keepdims)

    def argmax(self, axis=None):
        return ops.argmax(self, axis)

    def reshape(self, *shape):
        return ops.reshape(self, as_shape(shape))

    def permute(self, *axes):
        return ops.permute(self, as_shape(axes))

    def transpose(self, axis0, axis1):
        return ops.transpose(self, axis0, axis1)

    def flatten(self, start=0):
        return ops.flatten(self, start)

    def squeeze(self, axis=None):
        return ops.squeeze(self, axis)

    def unsqueeze(self, axis):
        return ops.unsqueeze(self, axis)

    def broadcast_to(self, shape):
        return ops.broadcast_to(self, shape)

    def exp(self):
        return ops.exp(self)

    def log(self):
        return ops.log(self)

    def sqrt(self):
        return ops.sqrt(self)

    def relu(self):
        return ops.relu(self)

    def sigmoid(self):
        return ops.sigmoid(self)

    def tanh(self):
        return ops.tanh(self)


def as_tensor(value, like=None):
    """value as a Tensor, sharing memory where it can. A Python number takes dtype and device of ``like``."""
    if isinstance(value, Tensor):
        return value
    if like is not None and isinstance(value, (bool, int, float)):
        return Tensor(_like(like.data, np.full((), value, _dtype_beside(value, like.dtype))))
    if devices.is_array(value):
        array = np.asarray(value) if isinstance(value, np.ndarray) else value  # no memmap or matrix
    elif hasattr(value, "__dlpack_device__") and not isinstance(value, np.generic):
        return from_dlpack(value)
    else:
        array = np.asarray(value)
        if array.dtype == np.float64 and not isinstance(value, (np.generic, np.ndarray)):
            array = array.astype(np.float32)
    return Tensor(array.astype(dtypes.as_dtype(array.dtype), copy=False))  # to the byte order of this machine


def _dtype_beside(value, dtype):
    """The dtype of a Python number beside a tensor: the tensor's, where that can hold the number."""
    if dtypes.is_float(dtype):
        return dtype
    if isinstance(value, float):
        return dtypes.float32
    if dtype == np.bool_:
        return dtype if isinstance(value, bool) else np.dtype(np.int64)
    return dtype if np.iinfo(dtype).min <= value <= np.iinfo(dtype).max else np.dtype(np.int64)


def _like(array, value):
    """A small NumPy value on the device of array."""
    if type(array) is np.ndarray:
        return value
    with array.device:
        return array_module(array).asarray(value)


def from_dlpack(exporter):
    """A tensor on the memory of any object with ``__dlpack__`` (PyTorch, JAX, CuPy, ...), without a copy."""
    kind, number = exporter.__dlpack_device__()
    if kind == 1:
        try:
            return as_tensor(np.from_dlpack(exporter))
        except (BufferError, RuntimeError) as error:  # NumPy raises the one or the other
            raise TypeError(f"from_dlpack: takes memory and dtypes that NumPy can read, but {error}") from error
    if kind != 2:
        raise ValueError(f"from_dlpack: takes memory of the CPU (1) or of CUDA (2), but came device type {kind}")
    with devices._cupy().cuda.Device(number):
        return as_tensor(devices._cupy().from_dlpack(exporter))


def as_shape(shape):
    """The lengths of ``f(2, 3)`` or ``f((2, 3))``."""
    return tuple(shape[0]) if len(shape) == 1 and not isinstance(shape[0], (int, np.integer)) else shape


from . import ops  # noqa: E402  (last, because the operations are made of tensors)
