"""Convolution on bare arrays: picks the row of ALGOS, allocates what it needs, runs it."""

import sys
import threading
import warnings

import numpy as np

from .. import config, device, layout
from .. import dtype as dtypes
from ..device import array_module, device_of, kind_of, to_device
from . import find
from .algos import ALGOS
from .choose import ALIGNMENT, candidates, pick
from .filters import drop_filters, kept_filters
from .plan import report, survey


def run(direction, shape, a, b, *, bias=None, relu=False, algorithm="auto", version=None, statistics=None):
    """One direction of a convolution on bare NumPy or CuPy arrays; returns a new array.

    direction   a                 b                          returns
    "fwd"       x  (N, C, H, W)   w  (K, C/groups, R, S)     y  (N, K, P, Q), + bias (K,), then max(., 0) if relu
    "dgrad"     dy (N, K, P, Q)   w                          dx (N, C, H, W)
    "wgrad"     x                 dy                         dw (K, C/groups, R, S)

    Images are in (N, H, W, C) order in memory if ``shape.channels_last``, else in (N, C, H, W) order: those that come
    in the other order are copied first, as are those of a row that knows only the latter. Filters have one order.

    a, b and bias are float32, float16, bfloat16 (or float64 on the CPU), all of one dtype and on one device. Sums are
    in float32 for the 16-bit dtypes, rounded once (with bias or relu by im2col or gemm on CUDA twice). Bytes beside the
    operands stay below the setting ``workspace``; so do copies into another order, unless no row has room for them.
    ``algorithm`` is "auto", "find" or a name in ALGOS (see ``pick``); a name that cannot do the shape is a ValueError.
    ``statistics`` is an empty list, to which fwd without bias and relu adds the mean and the biased variance of each
    channel of y, float32 (K,), where the row measures them on its way.
    A ``version`` says that w is unchanged since the last call with the same array and version: then its transform, if
    the row has one, is kept for the next call. On CUDA the work is queued on the current CuPy stream; what is kept
    serves that stream only, and no CUDA graph that is captured.

    Where memory runs out, all that is only kept for later is freed. If that is not enough, "auto" and "find" warn, and
    take a row that needs at most half as many bytes beside the operands, and copies; a named row is a MemoryError.

    >>> import numpy as np
    >>> from gpucnn.conv import shape_of
    >>> x, w = np.ones((1, 2, 5, 5), np.float32), np.ones((3, 2, 3, 3), np.float32)
    >>> run("fwd", shape_of(x.shape, w.shape), x, w)[0, 0, 0, 0]
    np.float32(18.0)
    """
    dtype = _check(direction, shape, a, b, bias, relu)
    kind, xp = kind_of(a), array_module(a)
    ordered = shape.in_channels_last(direction)
    out = _retried(kind, lambda: layout.empty(xp, shape.operands(direction)[2], a.dtype, ordered[2]))
    bias = None if bias is None else xp.ascontiguousarray(bias)

    def execute(candidate, keep=False, statistics=None):
        row, taken = ALGOS[kind, direction][candidate.name], candidate.shape
        last = taken.in_channels_last(direction)
        x, w = _in_memory(a, last[0]), _in_memory(b, last[1])
        moved = last[2] != ordered[2]
        y = xp.empty(out.shape, out.dtype) if moved else layout.in_memory(out, last[2])
        measured = None if statistics is None or bias is not None or relu else row.statistics
        size = candidate.workspace
        if measured:
            least, best = measured[1](taken, dtype)
            room = config.get("workspace") - candidate.copies - candidate.filters
            measured, size = (measured[0], min(best, room)) if least <= room else (None, size)
        operand = w
        if keep and row.transform:
            # Another stream would not wait for this one to write the filters.
            queue = find.machine(kind), device.current_stream(kind)
            key = (candidate.name, direction, dtype, taken.channels_first.ints[1:], *queue)
            operand = kept_filters(b, version, key, lambda: _transformed(row, taken, dtype, w, candidate, xp.empty))
            memory = _scratch(xp, size)
        elif row.transform:
            memory = _scratch(xp, candidate.filters + size)
            operand = _transformed(row, taken, dtype, w, candidate, lambda size, _: memory[:size])
            memory = memory[candidate.filters :]
        else:
            memory = _scratch(xp, size)
        if measured:
            mean, var = xp.empty(taken.K, np.float32), xp.empty(taken.K, np.float32)
            measured(taken, dtype, x, operand, y, mean, var, memory)
            statistics[:] = mean, var
        else:
            row.run(taken, dtype, x, operand, y, memory, bias, relu)
        if moved:
            layout.in_memory(y, True, out=layout.channels_last(out))

    def time(candidate):
        return find.seconds_of(lambda: _retried(kind, lambda: execute(candidate)), kind)

    choice = pick(kind, direction, shape, dtype, algorithm, time)
    failed = None
    while True:
        if config.get("debug") >= 1:
            print(report(kind, direction, shape, dtype, choice), file=sys.stderr)
        try:
            # A graph is replayed when a weight has changed, and what is kept for it has been freed.
            keep = version is not None and not device.is_capturing(kind)
            _retried(kind, lambda choice=choice, keep=keep: execute(choice, keep, statistics))
            break
        except MemoryError as error:
            wanted = choice.beside
            failed = failed or f"conv {direction}: {choice.name} needs {wanted} bytes beside the operands, but {error}"
            choice = _smaller(kind, direction, shape, dtype, choice) if algorithm in ("auto", "find") else None
            if not choice:
                raise MemoryError(f"{failed} ({shape})") from error
    if failed:
        text = f"{failed}; {choice.name} ran with {choice.beside} ({shape})"
        warnings.warn(text, stacklevel=2)
    return out


def plan(shape, *, dtype="float32", device="cpu", direction="fwd", algorithm="auto", **limits):
    """Which algorithms could compute a convolution, what each costs, and which one would run: a Plan.

    shape        ConvShape                   direction    "fwd", "dgrad" or "wgrad"
    dtype        "float32", "float16", ...   device       "cpu" or "cuda"
    algorithm    as for ``run``: "find" times those within the limits (on random arrays) that were not timed before
    limits       max_error (see Algo.error), workspace (bytes), deterministic (bool); else the settings of now

    >>> from gpucnn.conv import ConvShape
    >>> small = plan(ConvShape(1, 3, 8, 8, 4, 3, 3), workspace=0)
    >>> [line.name for line in small.lines if line.excluded is None]
    ['direct']
    """
    with config.using(**limits):
        if algorithm == "find":
            rng = np.random.default_rng(0)
            arrays = (rng.standard_normal(size, np.float32) for size in shape.operands(direction)[:2])
            a, b = (to_device(array.astype(dtypes.as_dtype(dtype)), device) for array in arrays)
            run(direction, shape, a, b, algorithm="find")
        choice = pick(device, direction, shape, dtype, "auto" if algorithm == "find" else algorithm)
        return survey(device, direction, shape, dtype, choice)


def _in_memory(array, last):
    """As layout.in_memory; and rows that take channels_last load 16 bytes at once."""
    array = layout.in_memory(array, last)
    return array.copy() if last and device.address(array) % 16 else array


def _retried(kind, call):
    """call(), and where memory runs out once more, after what is only kept for later has been freed."""
    try:
        return call()
    except MemoryError:
        pass  # outside of this block nothing holds the arrays of the call any more
    drop_filters()
    _memory.kept = None
    device.free_pool(kind)
    return call()


def _smaller(kind, direction, shape, dtype, failed):
    """The Candidate to run where memory did not suffice for ``failed``, or None.

    It has at most half the bytes beside operands and copies, which nearly all rows make alike.
    """
    with config.using(workspace=failed.copies + (failed.filters + failed.workspace) // 2, find=False):
        if all(c.excluded for c in candidates(kind, direction, shape, dtype)):
            return None
        choice = pick(kind, direction, shape, dtype)
        return choice if choice.beside < failed.beside else None


def _transformed(row, shape, dtype, w, candidate, empty):
    """The transformed filters of w, in memory from empty(bytes, dtype), at a multiple of ALIGNMENT."""
    memory = empty(candidate.filters, np.uint8)
    start = -device.address(memory) % ALIGNMENT
    filters = memory[start : start + candidate.filters - ALIGNMENT]
    row.transform(shape, dtype, w, filters)
    return filters


def _check(direction, shape, a, b, bias, relu):
    """The dtype's name for native code ("tf32" where float32 may use it), after refusing arrays that do not fit."""
    shapes = shape.operands(direction)
    if a.shape != shapes[0] or b.shape != shapes[1]:
        raise ValueError(f"conv {direction}: arrays are {shapes[0]} and {shapes[1]}, but came {a.shape} and {b.shape}")
    if a.dtype != b.dtype or not dtypes.is_float(a.dtype) or device_of(a) != device_of(b):
        raise TypeError(
            f"conv {direction}: both arrays have one float dtype and device, but came {a.dtype.name} on {device_of(a)}"
            f" and {b.dtype.name} on {device_of(b)} ({a.shape}, {b.shape})"
        )
    if direction != "fwd" and (bias is not None or relu):
        raise ValueError(f"conv {direction}: bias and relu are of fwd, but came {'relu' if relu else 'a bias'}")
    if bias is not None and (bias.shape, bias.dtype, device_of(bias)) != ((shape.K,), a.dtype, device_of(a)):
        raise ValueError(
            f"conv {direction}: bias is ({shape.K},) {a.dtype.name} on {device_of(a)}, but came"
            f" {bias.shape} {bias.dtype.name} on {device_of(bias)}"
        )
    if kind_of(a) == "cuda" and a.dtype == dtypes.float64:
        raise TypeError(f"conv {direction}: float64 is for the CPU, but came arrays on {device_of(a)} ({a.shape})")
    return (
        "tf32" if kind_of(a) == "cuda" and a.dtype == dtypes.float32 and config.get("tf32") else dtypes.name_of(a.dtype)
    )


_memory = threading.local()


def _scratch(xp, size):
    """Workspace. On the CPU each thread keeps it for its next convolution: fresh memory costs a page fault a page."""
    if xp is not np:
        return xp.empty(size, "uint8")
    if getattr(_memory, "kept", None) is None or _memory.kept.size < size:
        _memory.kept = None  # before the larger one is allocated
        _memory.kept = np.empty(size, np.uint8)
    return _memory.kept[:size]
