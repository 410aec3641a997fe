"""A stand-in for the module cupy on host memory, so that everything gpucnn does on CUDA arrays runs without a GPU.

An array wraps a NumPy array and is as strict as CuPy's: it meets no NumPy array in an operation, turns into none by
itself, and stays an array at shape (). ``empty`` is filled with NaN, as memory that somebody used before would be.
What CuPy 14.2 has no loop for in bfloat16 is made in float32, or refused, and broadcast views can be written, as there.
Results lie in memory in C order whatever the order of the operands, but for those of ``astype`` and ``*_like``.
Only what CuPy offers under the same name and gpucnn uses is here.
"""

import weakref
from types import SimpleNamespace

import ml_dtypes
import numpy as np

METHODS = set("astype copy max mean min reshape sum swapaxes take transpose".split())
FUNCTIONS = set(
    "arange argmax bincount clip concatenate max min ones ones_like pad stack zeros".split() + "zeros_like".split()
)


def unwrap(value):
    """The NumPy array behind an array of this module, also inside tuples, lists and dictionaries."""
    if isinstance(value, ndarray):
        if value.number != Device.current:
            raise ValueError("Peer access is unavailable between these devices.")
        return value.host
    if isinstance(value, np.ndarray):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    if isinstance(value, (tuple, list)):
        return type(value)(map(unwrap, value))
    if isinstance(value, dict):
        return {key: unwrap(item) for key, item in value.items()}
    return value


KEEP_ORDER = {"astype", "copy", "ones_like", "zeros_like"}  # or say themselves which one they want


def wrap(value, source=None, ordered=False):
    """An array of this module around a NumPy result; a view of ``source`` where it shares its memory, else ``ordered``
    in C order."""
    if isinstance(value, tuple):
        return tuple(wrap(item, source, ordered) for item in value)
    if not isinstance(value, (np.ndarray, np.generic)):
        return value
    view = isinstance(source, ndarray) and np.may_share_memory(value, source.host)
    result = ndarray(np.asarray(value, order="C" if ordered and not view else "K"))
    if view:
        result.base = source if source.base is None else source.base
        result.number = source.number
    return result


def index_of(key):
    """CuPy copies NumPy arrays that stand in an index to the device."""
    if isinstance(key, tuple):
        return tuple(map(index_of, key))
    return key.host if isinstance(key, ndarray) else key


def on_host(function):
    """The NumPy function, on arrays of this module."""

    def call(*args, **options):
        result = function(*map(unwrap, args), **unwrap(options))
        return wrap(result, args[0] if args else None, function.__name__ not in KEEP_ORDER)

    return call


class Device:
    """GPU number ``id``, 0 or 1, as a context in which it is the current one: new arrays are there."""

    current = 0

    def __init__(self, number=None):
        self.id, self.before = Device.current if number is None else number, []
        assert self.id in (0, 1)

    def use(self):
        Device.current = self.id

    def __enter__(self):
        self.before.append(Device.current)
        self.use()
        return self

    def __exit__(self, *error):
        Device.current = self.before.pop()


class Stream:
    """Work that is done when an event after it is waited for, and not before: as late as a GPU may do it."""

    def __init__(self, non_blocking=False):
        self.ptr, self.pending, self.done, self.capturing = 0, [], 0, False

    def is_capturing(self):
        return self.capturing

    def record(self):
        return Event(self, self.done + len(self.pending))

    def wait_event(self, event):
        event.synchronize()

    def synchronize(self):
        self.record().synchronize()


class Event:
    def __init__(self, stream, count):
        self.stream, self.count = stream, count

    def synchronize(self):
        while self.stream.done < self.count:
            self.stream.pending.pop(0)()
            self.stream.done += 1


class ndarray(np.lib.mixins.NDArrayOperatorsMixin):
    def __init__(self, host):
        self.host = host
        self.number = Device.current
        self.base = None  # of a view: the array that owns the memory

    shape = property(lambda self: self.host.shape)
    ndim = property(lambda self: self.host.ndim)
    size = property(lambda self: self.host.size)
    dtype = property(lambda self: self.host.dtype)
    strides = property(lambda self: self.host.strides)
    nbytes = property(lambda self: self.host.nbytes)
    itemsize = property(lambda self: self.host.itemsize)
    T = property(lambda self: wrap(self.host.T, self))
    data = property(lambda self: SimpleNamespace(ptr=self.host.ctypes.data, device_id=self.number))
    device = property(lambda self: Device(self.number))
    __cuda_array_interface__ = property(lambda self: {"shape": self.shape, "data": (self.data.ptr, False)})

    @property
    def flags(self):
        flags = self.host.flags
        return SimpleNamespace(c_contiguous=flags.c_contiguous, f_contiguous=flags.f_contiguous, owndata=flags.owndata)

    def __getattr__(self, name):
        if name not in METHODS:
            raise AttributeError(f"the stand-in for cupy.ndarray has no {name}")

        def method(*args, **options):
            result = getattr(self.host, name)(*map(unwrap, args), **unwrap(options))
            return self if result is self.host else wrap(result, self, name not in KEEP_ORDER)

        return method

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        result = getattr(ufunc, method)(*map(unwrap, inputs), **unwrap(options))
        return options["out"][0] if "out" in options else wrap(result, ordered=True)

    def __array__(self, dtype=None, copy=None):
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`.")

    def __getitem__(self, key):
        return wrap(self.host[index_of(key)], self, ordered=True)

    def __setitem__(self, key, value):
        self.host[index_of(key)] = unwrap(value)

    def __len__(self):
        return len(self.host)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __bool__(self):
        return bool(self.host)

    def __int__(self):
        return int(self.host)

    def __float__(self):
        return float(self.host)

    def item(self):
        return self.host.item()

    def get(self):
        return self.host.copy()

    def set(self, array, stream):
        """Copy from pinned memory, on the stream."""
        if (array.dtype, array.shape) != (self.dtype, self.shape) or not self.flags.c_contiguous:
            raise ValueError(f"{array.dtype} {array.shape} does not fit {self.dtype} {self.shape}")
        stream.pending.append(lambda: self.host.__setitem__(..., array))

    def tolist(self):
        return self.host.tolist()


class UFunc:
    def __init__(self, ufunc):
        self.__name__ = ufunc.__name__
        self._call = on_host(ufunc)
        self._at = ufunc.at

    def __call__(self, *args, **options):
        return self._call(*args, **options)

    def at(self, array, indices, values):
        self._at(array.host, index_of(indices), unwrap(values))


def asarray(value, dtype=None):
    """A copy of host data on the device; an array of the device itself."""
    if isinstance(value, ndarray):
        value = value if value.number == Device.current else ndarray(value.host.copy())
        return value if dtype is None else value.astype(dtype, copy=False)
    return ndarray(np.array(value, dtype, order="C"))


def array(value, dtype=None, order="K"):
    return ndarray(np.array(value.host if isinstance(value, ndarray) else value, dtype, order=order))


class OutOfMemoryError(MemoryError):
    pass


class MemoryPool:
    """Of what ``empty`` gives: bytes in use, and bytes that are kept when an array dies and serve no other array."""

    def __init__(self):
        self.used, self.kept, self.limit = 0, 0, float("inf")

    def set_limit(self, size):
        self.limit = size or float("inf")

    def free_all_blocks(self):
        self.kept = 0

    def take(self, array):
        if self.used + self.kept + array.nbytes > self.limit:
            raise OutOfMemoryError(f"Out of memory allocating {array.nbytes} bytes")
        self.used += array.nbytes
        weakref.finalize(array, self.release, array.nbytes)

    def release(self, size):
        self.used, self.kept = self.used - size, self.kept + size


pool = MemoryPool()


def get_default_memory_pool():
    return pool


def empty(shape, dtype=np.float32):
    array = np.empty(shape, dtype)
    pool.take(array)
    array.reshape(-1).view(np.uint8)[:] = 0xFF
    return ndarray(array)


def empty_like(array, dtype=None):
    return empty(array.shape, dtype or array.dtype)


def where(condition, a, b):
    result = on_host(np.where)(condition, a, b)
    return result.astype(np.float32) if result.dtype == ml_dtypes.bfloat16 else result


def argsort(array, axis=-1, kind=None):
    if array.dtype == ml_dtypes.bfloat16:
        raise NotImplementedError("Sorting arrays with dtype 'bfloat16' is not supported")
    return on_host(np.argsort)(array, axis=axis, kind="stable")


def ascontiguousarray(array, dtype=None):
    same = array.flags.c_contiguous and dtype in (None, array.dtype)
    return array if same else on_host(np.ascontiguousarray)(array, dtype)


def broadcast_to(array, shape):
    view = np.broadcast_to(array.host, shape)
    return wrap(np.lib.stride_tricks.as_strided(array.host, view.shape, view.strides), array)


def asnumpy(array):
    return array.get()


class Generator:
    def __init__(self, seed):
        self.host = np.random.default_rng(seed)

    def random(self, size, dtype=np.float64):
        return wrap(self.host.random(size, dtype))


default_stream = Stream()
cuda = SimpleNamespace(
    Device=Device,
    Stream=Stream,
    alloc_pinned_memory=bytearray,
    get_current_stream=lambda: default_stream,
    runtime=SimpleNamespace(
        getDeviceCount=lambda: 2,
        getDevice=lambda: Device.current,
        getDeviceProperties=lambda number: {"name": b"stand-in"},
        driverGetVersion=lambda: 13000,
    ),
)
random = SimpleNamespace(default_rng=Generator)


def __getattr__(name):
    function = getattr(np, name, None)
    if isinstance(function, np.ufunc):
        return UFunc(function)
    if name in FUNCTIONS:
        return on_host(function)
    raise AttributeError(f"the stand-in for cupy has no {name}")
