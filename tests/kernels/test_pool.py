"""Max and average pooling: ties, NaN, padding, overlap, dilation, both directions, both orders of memory."""

from dataclasses import replace

import numpy as np
import pytest

from gpucnn.conv.shape import ConvShape
from tests.kernels.harness import Out
from tests.tolerance import check


def windows(C, H, W, R, S, N=2, **options):
    return ConvShape(N, C, H, W, C, R, S, groups=C, **options)


CASES = {
    "lenet": windows(3, 8, 6, 2, 2, stride=(2, 2)),
    "overlapping": windows(2, 9, 11, 3, 4, pad=(1, 2), stride=(2, 1)),
    "dilated": windows(3, 10, 9, 2, 3, pad=(1, 1), stride=(1, 2), dilation=(3, 2)),
    "gaps": windows(2, 11, 13, 2, 1, stride=(4, 3)),
    "whole_image": windows(4, 5, 7, 5, 7),
    "one_pixel": windows(1, 1, 1, 1, 1, N=1),
    "all_padding": windows(1, 1, 2, 2, 2, N=1, pad=(3, 1), stride=(2, 1)),
    "empty_batch": windows(2, 4, 4, 2, 2, N=0),
}


def taps(shape):
    """For each window (p, q): the pixels (h, w) inside the image, in row-major order of the window."""
    for p in range(shape.P):
        for q in range(shape.Q):
            yield (
                (p, q),
                [
                    (h, w)
                    for h in range(p * shape.stride[0] - shape.pad[0], shape.H, shape.dilation[0])[: shape.R]
                    for w in range(q * shape.stride[1] - shape.pad[1], shape.W, shape.dilation[1])[: shape.S]
                    if h >= 0 and w >= 0
                ],
            )


def largest(shape, x):
    """y and index by a walk over the pixels: the first maximum, the first NaN before any number."""
    y, index = np.full(shape.y, -np.inf), np.full(shape.y, -1, np.int32)
    for n, c in np.ndindex(shape.N, shape.C):
        for at, pixels in taps(shape):
            values = [x[n, c, h, w] for h, w in pixels]
            if values:
                best = int(np.argmax(values))  # the first NaN, if there is one
                y[n, c][at], index[n, c][at] = values[best], pixels[best][0] * shape.W + pixels[best][1]
    return y, index


@pytest.mark.parametrize("values", ["normal", "ties", "nan"])
@pytest.mark.parametrize("case", CASES)
def test_max(kernels, case, values, dtype):
    shape, rng = CASES[case], np.random.default_rng(0)
    x = rng.standard_normal(shape.x) if values != "ties" else rng.integers(0, 3, shape.x)
    if values == "nan":
        x[rng.random(shape.x) < 0.1] = np.nan
        x[rng.random(shape.x) < 0.1] = -np.inf
    x = x.astype(dtype)
    y, index = kernels("max_pool2d_fwd", shape, dtype.name, x, Out(shape.y, dtype), Out(shape.y, np.int32))
    wanted_y, wanted_index = largest(shape, x.astype(np.float64))
    assert np.array_equal(y.astype(np.float64), wanted_y, equal_nan=True)
    assert np.array_equal(index, wanted_index)

    dy = rng.standard_normal(shape.y).astype(dtype)
    (dx,) = kernels("max_pool2d_bwd", shape, dtype.name, dy, index, Out(shape.x, dtype))
    wanted, magnitude = np.zeros(shape.x), np.zeros(shape.x)
    for (n, c, p, q), at in np.ndenumerate(wanted_index):
        if at >= 0:
            wanted[n, c, at // shape.W, at % shape.W] += dy[n, c, p, q]
            magnitude[n, c, at // shape.W, at % shape.W] += np.abs(dy[n, c, p, q])
    check(dx, wanted, magnitude, shape.R * shape.S)


@pytest.mark.parametrize("count_include_pad", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_average(kernels, case, count_include_pad, dtype):
    shape, rng = CASES[case], np.random.default_rng(0)
    x, dy = (rng.standard_normal(size).astype(dtype) for size in (shape.x, shape.y))
    y, magnitude = np.zeros(shape.y), np.zeros(shape.y)
    dx, dx_magnitude = np.zeros(shape.x), np.zeros(shape.x)
    for (p, q), pixels in taps(shape):
        weight = 1 / (shape.R * shape.S if count_include_pad else max(len(pixels), 1))
        for h, w in pixels:
            y[:, :, p, q] += x[:, :, h, w].astype(np.float64) * weight
            magnitude[:, :, p, q] += np.abs(x[:, :, h, w]).astype(np.float64) * weight
            dx[:, :, h, w] += dy[:, :, p, q].astype(np.float64) * weight
            dx_magnitude[:, :, h, w] += np.abs(dy[:, :, p, q]).astype(np.float64) * weight
    (out,) = kernels("avg_pool2d_fwd", shape, dtype.name, count_include_pad, x, Out(shape.y, dtype))
    check(out, y, magnitude, shape.R * shape.S)
    (out,) = kernels("avg_pool2d_bwd", shape, dtype.name, count_include_pad, dy, Out(shape.x, dtype))
    check(out, dx, dx_magnitude, shape.R * shape.S)


def last(array):
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1))


# Channels that are taken one, four, eight and sixteen at a time, and some that are left.
LAST = {
    **CASES,
    "vectors": windows(16, 5, 4, 3, 2, pad=(1, 0), stride=(1, 2)),
    "vectors_of_float32": windows(12, 4, 5, 2, 3, pad=(1, 1), dilation=(2, 1)),
    "many_channels": windows(37, 4, 3, 2, 2, pad=(0, 1)),
}


@pytest.mark.parametrize("case", LAST)
def test_channels_last(kernels, case, dtype):
    """The bits of channels_first, also where a window is all padding or has NaN."""
    first, rng = LAST[case], np.random.default_rng(0)
    after = replace(first, channels_last=True)
    x, dy = (rng.standard_normal(size).astype(dtype) for size in (first.x, first.y))
    ties = rng.integers(0, 3, first.x).astype(dtype)
    ties[rng.random(first.x) < 0.05] = np.nan

    def both(name, *args, outs):
        """Outputs in channels_first order, after comparing; arrays among the arguments are images."""
        wanted = kernels(name, first, dtype.name, *args, *outs)
        moved = [last(arg) if isinstance(arg, np.ndarray) else arg for arg in args]
        places = [Out(last(np.empty(out.shape)).shape, out.dtype) for out in outs]
        for result, ref in zip(kernels(name, after, dtype.name, *moved, *places), wanted, strict=True):
            assert result.tobytes() == last(ref).tobytes()
        return wanted

    _, index = both("max_pool2d_fwd", ties, outs=(Out(first.y, dtype), Out(first.y, np.int32)))
    both("max_pool2d_bwd", dy, index, outs=(Out(first.x, dtype),))
    for counted in (False, True):
        both("avg_pool2d_fwd", counted, x, outs=(Out(first.y, dtype),))
        both("avg_pool2d_bwd", counted, dy, outs=(Out(first.x, dtype),))


def test_a_window_is_one_channel_s(kernels):
    shape = ConvShape(1, 2, 4, 4, 2, 2, 2)
    with pytest.raises(ValueError, match="max_pool2d_fwd: a window is one channel's"):
        kernels("max_pool2d_fwd", shape, "float32", np.zeros(shape.x, np.float32), Out(shape.y), Out(shape.y, np.int32))
