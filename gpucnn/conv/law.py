"""The tolerance law, stated once: how far a sum of L products may be from its float64 reference.

Tests hold results to it, and `gpucnn bench` prints no time of one that breaks it.

|y - ref| <= u_out |ref| + f u_acc sqrt(L) (|a| conv |b|), elementwise; ref in float64 from the already rounded inputs.
"""

import numpy as np

from .reference import convolve

U_ACC = 2.0**-24
U_OUT = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
TINY = {"float64": 2.0**-1074, "float32": 2.0**-149, "float16": 2.0**-24, "bfloat16": 2.0**-133}  # subnormal spacing
LIMIT = 2.0  # f for im2col, direct, gemm, fft and winograd2


class LawBroken(AssertionError):
    """A result is further from its reference than the law allows; the text says where and by how much."""


def check(y, ref, magnitude, terms, factor=LIMIT):
    """Raise LawBroken unless y is close to ref by the law.

    y           the array under test            ref        float64, the same shape
    magnitude   the same sum over |a| |b|, or a number; for a plain rounding (no sum), terms = 0
    """
    y, ref = np.asarray(y), np.asarray(ref)
    if y.shape != ref.shape:
        raise LawBroken(f"shape {y.shape}, but the reference has {ref.shape}")
    wide = y.astype(np.float64)
    if not np.isfinite(wide).all():
        raise LawBroken(f"{np.count_nonzero(~np.isfinite(wide))} of {y.size} values are not finite")
    rounding, unit = _parts(y.dtype.name, ref, magnitude, terms)
    excess = np.abs(wide - ref) / (rounding + factor * unit)
    worst = excess.max(initial=0)
    if not worst <= 1:
        at = tuple(map(int, np.unravel_index(excess.argmax(), y.shape)))
        raise LawBroken(f"the error is {worst:.3g} times the bound at {at}")


def _parts(dtype, ref, magnitude, terms):
    """(rounding, unit) of the bound rounding + f unit."""
    u_acc = 2.0**-53 if dtype == "float64" else U_ACC
    return U_OUT[dtype] * np.abs(ref) + TINY[dtype], u_acc * np.sqrt(terms) * magnitude


def check_conv(direction, shape, a, b, out, factor=LIMIT, bound="element"):
    """The law for one convolution result; a and b are the rounded inputs that the code under test saw.

    bound    "plane" replaces |a| conv |b| by its largest value in the plane (the last two axes)
    """
    if not a.dtype == b.dtype == out.dtype:
        raise LawBroken(f"dtype {out.dtype}, but the operands have {a.dtype} and {b.dtype}")
    check(out, *_reference(direction, shape, a, b, bound), shape.terms(direction), factor)


def factor(direction, shape, a, b, out, bound="element"):
    """The least factor with which ``check_conv`` would pass."""
    ref, magnitude = _reference(direction, shape, a, b, bound)
    rounding, unit = _parts(out.dtype.name, ref, magnitude, shape.terms(direction))
    error = np.abs(out.astype(np.float64) - ref) - rounding
    return float((np.maximum(error, 0) / np.where(unit > 0, unit, 1)).max(initial=0))


def _reference(direction, shape, a, b, bound):
    """(ref, magnitude) in float64."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    magnitude = convolve(direction, shape, np.abs(a), np.abs(b))
    if bound == "plane":
        magnitude = magnitude.max(axis=(2, 3), keepdims=True)
    return convolve(direction, shape, a, b), magnitude
