"""Which row of ALGOS computes a convolution: forced by name, measured before, or by rule; under limits."""

from functools import lru_cache
from math import prod
from typing import NamedTuple

from .. import config, native
from .. import dtype as dtypes
from . import find
from .algos import ALGOS
from .shape import ConvShape

ALIGNMENT = 64  # bytes, of transformed filters


class Limits(NamedTuple):
    """What selects before speed does: the settings of the same names.

    max_error       rows whose error factor (Algo.error) is larger are left out
    workspace       bytes beside the operands: transformed filters, workspace and copies in another layout; where no row
                    has room for its copies, they do not count: only the order of the operands needs them
    deterministic   rows that may give other bits in another run are left out
    """

    max_error: float
    workspace: int
    deterministic: bool

    @classmethod
    def now(cls):
        return cls(*(config.get(name) for name in cls._fields))


class Candidate(NamedTuple):
    """One row for one convolution: what it would be given, and why it is left out."""

    name: str
    shape: ConvShape  # in the layout that the row is run with
    copies: int  # bytes of the images in that layout, if it is another one
    filters: int  # bytes of its transformed filters
    workspace: int  # bytes; the least, if it is excluded
    error: float
    bound: str
    excluded: str | None

    @property
    def beside(self):
        """Bytes beside the operands."""
        return self.copies + self.filters + self.workspace


def _images_bytes(shape, dtype):
    """Of the two images of a convolution; the filters have one layout only."""
    itemsize = 4 if dtype == "tf32" else dtypes.as_dtype(dtype).itemsize
    return itemsize * (prod(shape.x) + prod(shape.y))


@lru_cache(maxsize=4096)
def _candidates(kind, direction, shape, dtype, limits, machine):
    found = _rows(kind, direction, shape, dtype, limits, counted=True)
    if shape.channels_last and all(c.excluded for c in found):
        found = _rows(kind, direction, shape, dtype, limits, counted=False)
    return found


def _rows(kind, direction, shape, dtype, limits, counted):
    """A Candidate for each row, whose copies count as memory beside the operands or not."""
    found = []
    in_nchw = _images_bytes(shape, dtype) if shape.channels_last else 0
    for name, row in ALGOS[kind, direction].items():
        given, copies = (shape, 0) if row.channels_last else (shape.channels_first, in_nchw)
        room = limits.workspace - copies * counted
        filters = workspace = 0
        excluded = None
        if not row.takes(given, dtype):
            excluded = "cannot do this shape"
        elif lacking := row.lacks(getattr(native, kind)()):
            excluded = f"needs {lacking}"
        else:
            if row.filters:
                filters = row.filters(given, dtype) + ALIGNMENT
            workspace, best = row.workspace(given, dtype)
            if filters + workspace > room:
                needed = filters + workspace + copies * counted
                excluded = f"needs {needed} bytes, more than {limits.workspace}"
            elif row.error > limits.max_error:
                excluded = f"has an error factor of {row.error:g}, more than {limits.max_error:g}"
            elif limits.deterministic and not row.deterministic:
                excluded = "may give other bits in another run"
            else:
                workspace = min(best, room - filters)
        found.append(Candidate(name, given, copies, filters, workspace, row.error, row.bound, excluded))
    return tuple(found)


def candidates(kind, direction, shape, dtype):
    """A Candidate for each row of ALGOS, under the limits of now."""
    return _candidates(kind, direction, shape, dtype, Limits.now(), find.machine(kind))


def rule(kind, direction, shape, dtype, rows):
    """The names of rows in the order in which "auto" tries them, if nothing is remembered.

    The limits are read off measurements on two AVX-512 cores. Winograd pays where both channels and tiles are many:
    below 8 channels (wgrad: 64) the transforms cost about what they save, and few tiles do not repay transforming the
    filters. On CUDA its products, and those of spectra, are of float32 or TF32, which tensor cores outdo in 16 bits (by
    the rates of NVIDIA's data sheets). For FFT see _fft_pays. im2col reuses a GEMM as fast as the machine has, and gemm
    is that GEMM on the images themselves; direct needs no memory at all. In channels_last order the implicit rows
    come before im2col in 16 bits, by their models and not measured: they read images as they are, im2col copies them.
    """
    widened = kind == "cuda" and dtype in ("float16", "bfloat16")
    best = ["fft"] if _fft_pays(direction, shape) and not widened else []
    # On one AVX-512 core im2col took 1.3 to 12 times as long as depthwise on the layers of bench's set depthwise, and
    # 1.1 to 1.6 times at K = 2 C, but 0.7 to 0.9 at K = 8 C.
    if shape.groups == shape.C and shape.K <= 2 * shape.C:
        best.append("depthwise")
    wgrad = direction == "wgrad"
    if min(shape.C, shape.K) >= (64 if wgrad else 8) * shape.groups and not widened:
        tiles = {m: shape.N * -(-shape.P // m) * -(-shape.Q // m) for m in (2, 4)}
        if tiles[4] >= (32 if wgrad else 96) and 36 * tiles[4] <= 16 * tiles[2]:  # products, where tiles reach beyond
            best.append("winograd4")
        if tiles[2] >= (16 if wgrad else 64):
            best.append("winograd2")
    as_they_are = ["implicit_hopper", "implicit"] if shape.channels_last and widened else []
    best += ["gemm", *as_they_are, "im2col", *rows]
    return [name for i, name in enumerate(best) if name in rows and name not in best[:i]]


def _fft_pays(direction, shape):
    """Whether the products that the spectra save repay the transforms.

    The limits are where one thread of AVX-512 was about as fast as PyTorch's better layout, on 80 layers like those of
    bench's set large. On CUDA they are not measured; the ratio of arithmetic to memory traffic decides, and is alike.
    """
    C, K, taps = shape.C // shape.groups, shape.K // shape.groups, shape.R * shape.S
    # A filter is transformed once for all its products; and one that is narrow saves little along its short side.
    if min(shape.R, shape.S) < 5 or shape.N * shape.P * shape.Q * taps < 40_000:
        return False
    if C == K == 1 and shape.groups >= 16:  # depthwise: one product for each transform
        return taps >= 400
    # Products for each value that is transformed. wgrad transforms no filters, but leaves lanes empty where C is small.
    least = 100 if direction == "wgrad" and min(C, K) >= 8 else 300
    return taps * C * K >= least * (C + K)


def pick(kind, direction, shape, dtype, algorithm="auto", time=None):
    """The Candidate to run, under the limits of now; a ValueError for a name that cannot, or where none can.

    algorithm    "auto": the fastest, if all were measured before, else by rule; "find": the fastest, measured with
                 time(candidate) -> seconds where it was not before; else a name in ALGOS. With the setting ``find``,
                 "auto" means "find"
    """
    if algorithm == "auto" and not config.get("find"):
        machine = find.machine(kind)
        return _auto(kind, direction, shape, dtype, Limits.now(), machine, find.state(machine))
    rows = candidates(kind, direction, shape, dtype)
    if algorithm in ("auto", "find"):
        able = _able(direction, shape, rows)
        times = find.measure(kind, direction, shape, dtype, able.values(), time)
        return _fastest(kind, direction, shape, dtype, able, times)
    for candidate in rows:
        if candidate.name == algorithm and not candidate.excluded:
            return candidate
    if algorithm not in ALGOS[kind, direction]:
        names = ", ".join(ALGOS[kind, direction])
        raise ValueError(f"conv {direction}: algorithm is auto, find or one of {names}, but came {algorithm!r}")
    (reason,) = (c.excluded for c in rows if c.name == algorithm)
    raise ValueError(
        f"conv {direction}: the algorithm fits shape and limits, but {algorithm} {reason};"
        f" those that can: {', '.join(c.name for c in rows if not c.excluded) or 'none'} ({shape})"
    )


@lru_cache(maxsize=4096)
def _auto(kind, direction, shape, dtype, limits, machine, state):
    """The Candidate of "auto", as long as what ``find`` knows is in this state."""
    able = _able(direction, shape, _candidates(kind, direction, shape, dtype, limits, machine))
    return _fastest(kind, direction, shape, dtype, able, find.remembered(kind, direction, shape, dtype, able.values()))


def _fastest(kind, direction, shape, dtype, able, times):
    return able[min(times, key=times.get) if times else rule(kind, direction, shape, dtype, list(able))[0]]


def _able(direction, shape, rows):
    """{name: Candidate} of those within the limits; a ValueError where there is none."""
    able = {c.name: c for c in rows if not c.excluded}
    if not able:
        reasons = "; ".join(f"{c.name} {c.excluded}" for c in rows)
        raise ValueError(f"conv {direction}: an algorithm is within the limits, but {reasons} ({shape})")
    return able
