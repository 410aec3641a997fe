"""Picks the row of ALGOS, allocates its output and workspace, runs it."""

import sys
import threading

import numpy as np

from .. import config
from .. import dtype as dtypes
from ..device import array_module, device_of, kind_of
from .algos import ALGOS


def run(direction, shape, a, b, *, algorithm="auto"):
    """One direction of a convolution on bare NumPy or CuPy arrays; returns a new array.

    direction   a                 b                          returns
    "fwd"       x  (N, C, H, W)   w  (K, C/groups, R, S)     y  (N, K, P, Q)
    "dgrad"     dy (N, K, P, Q)   w                          dx (N, C, H, W)
    "wgrad"     x                 dy                         dw (K, C/groups, R, S)

    a and b are float32, float16, bfloat16 (or float64 on the CPU), both of one dtype and on one device. Sums are in
    float32 for the 16-bit dtypes, rounded once. Bytes beside the operands stay below the setting ``workspace``.
    ``algorithm`` is "auto" or a name in ALGOS; a name that cannot do the shape is a ValueError. On CUDA the work
    is queued on the current CuPy stream.

    >>> import numpy as np
    >>> from gpucnn.conv import shape_of
    >>> x, w = np.ones((1, 2, 5, 5), np.float32), np.ones((3, 2, 3, 3), np.float32)
    >>> run("fwd", shape_of(x.shape, w.shape), x, w)[0, 0, 0, 0]
    np.float32(18.0)
    """
    shapes = shape.operands(direction)
    if a.shape != shapes[0] or b.shape != shapes[1]:
        raise ValueError(f"conv {direction}: arrays are {shapes[0]} and {shapes[1]}, but came {a.shape} and {b.shape}")
    if a.dtype != b.dtype or not dtypes.is_float(a.dtype) or device_of(a) != device_of(b):
        raise TypeError(
            f"conv {direction}: both arrays have one float dtype and device, but came {a.dtype.name} on {device_of(a)}"
            f" and {b.dtype.name} on {device_of(b)} ({a.shape}, {b.shape})"
        )
    xp, kind = array_module(a), kind_of(a)
    if kind == "cuda" and a.dtype == dtypes.float64:
        raise TypeError(f"conv {direction}: float64 is for the CPU, but came arrays on {device_of(a)} ({a.shape})")
    dtype = "tf32" if kind == "cuda" and a.dtype == dtypes.float32 and config.get("tf32") else a.dtype.name
    name, workspace = pick(kind, direction, shape, dtype, algorithm)
    if config.get("debug") >= 1:
        print(f"gpucnn: conv {direction} {dtype} {shape} -> {name}, workspace {workspace} bytes", file=sys.stderr)
    out = xp.empty(shapes[2], a.dtype)
    scratch = _scratch(workspace) if kind == "cpu" else xp.empty(workspace, "uint8")
    ALGOS[kind, direction][name].run(shape, dtype, xp.ascontiguousarray(a), xp.ascontiguousarray(b), out, scratch)
    return out


_kept = threading.local()


def _scratch(size):
    """Workspace on the CPU, kept by each thread for its next convolution: fresh memory costs a page fault a page."""
    if getattr(_kept, "memory", None) is None or _kept.memory.size < size:
        _kept.memory = None  # before the larger one is allocated
        _kept.memory = np.empty(size, np.uint8)
    return _kept.memory[:size]


def rule(shape, rows):
    """The names that "auto" tries, best first. The limits are read off bench/results/conv_cpu.jsonl.

    Winograd pays where both channels and tiles are many: below 16 channels the transforms cost more than they save, and
    few tiles do not repay transforming the filters. im2col reuses a GEMM as fast as the machine has; direct needs no
    memory at all.
    """
    names = ["im2col", "direct"]
    if min(shape.C, shape.K) >= 16 * shape.groups:
        for tile, least in ((2, 64), (4, 96)):
            if f"winograd{tile}" in rows and shape.N * -(-shape.P // tile) * -(-shape.Q // tile) >= least:
                names.insert(0, f"winograd{tile}")
    return names


def pick(kind, direction, shape, dtype, algorithm):
    """(name, workspace bytes) of the row to run, under the workspace limit; a ValueError for a name that cannot."""
    rows, limit = ALGOS[kind, direction], config.get("workspace")
    if algorithm == "auto":
        able = (n for n in rule(shape, rows) if rows[n].takes(shape, dtype))
        algorithm = next(n for n in able if rows[n].workspace(shape, dtype)[0] <= limit)
    if algorithm not in rows:
        raise ValueError(f"conv {direction}: algorithm is auto or one of {', '.join(rows)}, but came {algorithm!r}")
    row = rows[algorithm]
    if not row.takes(shape, dtype) or row.workspace(shape, dtype)[0] > limit:
        able = [n for n, r in rows.items() if r.takes(shape, dtype) and r.workspace(shape, dtype)[0] <= limit]
        reason = "cannot do this shape"
        if row.takes(shape, dtype):
            reason = f"needs {row.workspace(shape, dtype)[0]} bytes, more than {limit}"
        raise ValueError(
            f"conv {direction}: the algorithm fits shape and workspace, but {algorithm} {reason};"
            f" those that can: {', '.join(able)} ({shape})"
        )
    _, best = row.workspace(shape, dtype)
    return algorithm, min(best, limit)
