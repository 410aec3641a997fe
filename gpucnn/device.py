"""Where arrays live: NumPy or CuPy, native calls on their addresses, copies between devices, random numbers."""

import re
import resource
import sys
from functools import cache

import numpy as np

from . import dtype as dtypes
from . import native


def array_module(array):
    """NumPy for a NumPy array (or one of the scalars that NumPy makes of shape ()), CuPy for a CuPy array."""
    return np if type(array) is np.ndarray or isinstance(array, np.generic) else _cupy()


def is_array(value):
    """Whether value is a NumPy or CuPy array."""
    return isinstance(value, np.ndarray) or ("cupy" in sys.modules and isinstance(value, _cupy().ndarray))


def _cupy():
    try:
        import cupy
    except ImportError as error:
        raise RuntimeError(f"cuda: needs CuPy, but it did not import ({error}); pip install cupy-cuda13x") from error
    return cupy


def device_of(array):
    """ "cpu", or "cuda:0" with the number of the GPU."""
    return "cpu" if type(array) is np.ndarray else f"cuda:{array.device.id}"


def kind_of(array):
    """ "cpu" or "cuda": the first half of a key of ALGOS."""
    return "cpu" if type(array) is np.ndarray else "cuda"


def address(array):
    """Of its first element."""
    return native.cpu().address(array) if type(array) is np.ndarray else array.data.ptr


def launch(name, *args):
    """Call the native function ``name`` of the device where the arrays among ``args`` live.

    Arrays, also those in lists, become addresses (they must be C-contiguous, and stay alive during the call), dtypes
    their names; everything else is passed as it is; the current stream goes last. On CUDA the call returns before the
    work is done.
    A TypeError for arrays on several GPUs: see ``use``.
    """
    values, cuda_array = [], None
    for arg in args:
        several = type(arg) is list
        addresses = []
        for item in arg if several else (arg,):
            if not is_array(item):
                addresses.append(dtypes.name_of(item) if isinstance(item, np.dtype) else item)
                continue
            if not item.flags.c_contiguous:
                raise ValueError(f"{name}: arrays are C-contiguous, but came strides {item.strides} ({item.shape})")
            addresses.append(address(item))
            if type(item) is not np.ndarray:
                if cuda_array is not None and item.data.device_id != cuda_array.data.device_id:
                    came = f"{device_of(cuda_array)} and {device_of(item)}"
                    raise TypeError(f"{name}: all arrays are on the GPU that is the current one, but came {came}")
                cuda_array = item
        values.append(addresses if several else addresses[0])
    if cuda_array is None:
        return getattr(native.cpu(), name)(*values, 0)
    with cuda_array.device:
        return getattr(native.cuda(), name)(*values, current_stream("cuda"))


def current_stream(kind):
    """The current stream of the current GPU, as native code takes it; on the CPU there is none: 0."""
    return _cupy().cuda.get_current_stream().ptr if kind == "cuda" else 0


def is_capturing(kind):
    """Whether what is queued goes into a CUDA graph; the default stream, 0, cannot."""
    return bool(current_stream(kind)) and _cupy().cuda.get_current_stream().is_capturing()


def synchronize(kind):
    """Wait for the work queued on the current stream of the current GPU; on the CPU there is none."""
    if kind == "cuda":
        _cupy().cuda.get_current_stream().synchronize()


def cuda_machine():
    """The current GPU and its driver, in words."""
    return _describe(_cupy().cuda.runtime.getDevice())


@cache
def _describe(number):
    runtime = _cupy().cuda.runtime
    return f"{runtime.getDeviceProperties(number)['name'].decode()} driver {runtime.driverGetVersion()}"


def cuda_problem():
    """Why no CUDA device can be used, or None."""
    try:
        native.cuda()
        cupy = _cupy()
    except RuntimeError as error:
        return str(error)
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:  # CuPy's own classes
        return f"cuda: needs a GPU and its driver, but {error}"
    return None if count else "cuda: needs a GPU, but the driver shows none"


def parse(device):
    """("cpu", 0) or ("cuda", number) from "cpu", "cuda" or "cuda:1"."""
    match = re.fullmatch(r"(cpu)|cuda(?::(\d+))?", str(device))
    if not match:
        raise ValueError(f'device: takes "cpu", "cuda" or "cuda:1", but came {device!r}')
    return ("cpu", 0) if match[1] else ("cuda", int(match[2] or 0))


def use(device):
    """Make its GPU, if it is one, the current one: CuPy makes new arrays there, wherever the operands are."""
    kind, number = parse(device)
    if kind == "cuda":
        _refuse_without_cuda()
        _cupy().cuda.Device(number).use()


def _refuse_without_cuda():
    problem = cuda_problem()
    if problem:
        raise RuntimeError(problem)


def to_device(array, device):
    """The array on ``device``: itself if it is there already, else a copy."""
    kind, number = parse(device)
    if kind == "cpu":
        return array if type(array) is np.ndarray else _cupy().asnumpy(array)
    if device_of(array) == f"cuda:{number}":
        return array
    _refuse_without_cuda()
    with _cupy().cuda.Device(number):
        return _cupy().asarray(array)


def memory_in_use(device):
    """Bytes: of the memory pool of a GPU; on the CPU, the most that this process has had so far."""
    kind, number = parse(device)
    if kind == "cpu":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB
    with _cupy().cuda.Device(number):
        return _cupy().get_default_memory_pool().total_bytes()


def free_pool(kind):
    """Give what the memory pool of the current GPU keeps for later back to it; NumPy has no pool."""
    if kind == "cuda":
        _cupy().get_default_memory_pool().free_all_blocks()


_rng = np.random.default_rng()


def get_rng():
    """The NumPy generator behind randn, initialisers and dropout on the CPU."""
    return _rng


@cache
def _cuda_rng(seed, number):
    return _cupy().random.default_rng([seed, number])


_cuda_seed = int(_rng.integers(2**31))


def manual_seed(seed):
    """Restart every random generator of gpucnn from ``seed``."""
    global _rng, _cuda_seed
    _rng = np.random.default_rng(seed)
    _cuda_seed = int(seed)
    _cuda_rng.cache_clear()


def uniform(like):
    """Float32 numbers in [0, 1), with the shape and on the device of ``like``."""
    if type(like) is np.ndarray:
        return _rng.random(like.shape, dtype=np.float32)
    with like.device:
        return _cuda_rng(_cuda_seed, like.device.id).random(like.shape, dtype=np.float32)
