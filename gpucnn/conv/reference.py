"""The oracle: convolution as its definition says, in float64, slow and obviously right.

Shares no line with the code under test. Arrays are NumPy arrays; every product and sum is in float64.
"""

import numpy as np


def convolve(direction, shape, a, b):
    """The float64 result of one direction: y from (x, w), dx from (dy, w) or dw from (x, dy).

    Loops over the taps and groups; a tap (r, s) of the filter links output (p, q) with the padded input pixel
    (p stride_h + r dil_h, q stride_w + s dil_w).
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    C_g, K_g = shape.C // shape.groups, shape.K // shape.groups
    padded = np.zeros((shape.N, shape.C, shape.H + 2 * shape.pad[0], shape.W + 2 * shape.pad[1]))
    inner = padded[:, :, shape.pad[0] : shape.pad[0] + shape.H, shape.pad[1] : shape.pad[1] + shape.W]
    if direction != "dgrad":
        inner[:] = a
    out = np.zeros(shape.operands(direction)[2])
    for r in range(shape.R):
        for s in range(shape.S):
            top, left = r * shape.dilation[0], s * shape.dilation[1]
            pixels = padded[
                :,
                :,
                top : top + (shape.P - 1) * shape.stride[0] + 1 : shape.stride[0],
                left : left + (shape.Q - 1) * shape.stride[1] + 1 : shape.stride[1],
            ]  # (N, C, P, Q), a view
            for g in range(shape.groups):
                c = slice(g * C_g, (g + 1) * C_g)
                k = slice(g * K_g, (g + 1) * K_g)
                if direction == "fwd":
                    out[:, k] += np.einsum("ncpq,kc->nkpq", pixels[:, c], b[k, :, r, s])
                elif direction == "dgrad":
                    pixels[:, c] += np.einsum("nkpq,kc->ncpq", a[:, k], b[k, :, r, s])
                else:
                    out[k, :, r, s] += np.einsum("ncpq,nkpq->kc", pixels[:, c], b[:, k])
    return inner.copy() if direction == "dgrad" else out
