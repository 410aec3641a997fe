"""The tolerance law, stated once: how far a sum of L products may be from its float64 reference.

|y - ref| <= u_out |ref| + f u_acc sqrt(L) (|a| conv |b|), elementwise; ref in float64 from the already rounded inputs.
"""

import numpy as np

from gpucnn.conv.reference import convolve

U_ACC = 2.0**-24
U_OUT = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
TINY = {"float64": 2.0**-1074, "float32": 2.0**-149, "float16": 2.0**-24, "bfloat16": 2.0**-133}  # subnormal spacing
LIMIT = 2.0  # f for im2col, direct, gemm, fft and winograd2


def check(y, ref, magnitude, terms, factor=LIMIT):
    """Raise AssertionError unless y is close to ref by the law.

    y           the array under test            ref        float64, the same shape
    magnitude   the same sum over |a| |b|, or a number; for a plain rounding (no sum), terms = 0
    """
    y, ref = np.asarray(y), np.asarray(ref)
    assert y.shape == ref.shape, f"shape {y.shape}, but the reference has {ref.shape}"
    name = y.dtype.name
    y = y.astype(np.float64)
    assert np.isfinite(y).all(), f"{np.count_nonzero(~np.isfinite(y))} of {y.size} values are not finite"
    u_acc = 2.0**-53 if name == "float64" else U_ACC
    bound = U_OUT[name] * np.abs(ref) + factor * u_acc * np.sqrt(terms) * magnitude + TINY[name]
    excess = np.abs(y - ref) / bound
    worst = excess.max(initial=0)
    assert worst <= 1, f"the error is {worst:.3g} times the bound at {np.unravel_index(excess.argmax(), y.shape)}"


def check_conv(direction, shape, a, b, out, factor=LIMIT, bound="element"):
    """The law for one convolution result; a and b are the rounded inputs that the code under test saw.

    bound    "plane" replaces |a| conv |b| by its largest value in the plane (the last two axes)
    """
    assert a.dtype == b.dtype == out.dtype, f"dtype {out.dtype}, but the operands have {a.dtype} and {b.dtype}"
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    magnitude = convolve(direction, shape, np.abs(a), np.abs(b))
    if bound == "plane":
        magnitude = magnitude.max(axis=(2, 3), keepdims=True)
    check(out, convolve(direction, shape, a, b), magnitude, shape.terms(direction), factor)
