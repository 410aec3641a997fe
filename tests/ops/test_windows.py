"""Windows of pooling and of "same" convolution, at random sizes, against their definitions in plain NumPy."""

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

import gpucnn as g

SIZE = st.tuples(st.integers(1, 9), st.integers(1, 9))
SMALL = st.tuples(st.integers(1, 4), st.integers(1, 4))


def image(size):
    """Two planes of different values, in random order."""
    return np.random.default_rng(0).permutation(2 * size[0] * size[1]).reshape(1, 2, *size).astype(np.float64)


def pixels(begin, taps, dilation, size):
    return [i for i in range(begin, begin + taps * dilation, dilation) if 0 <= i < size]


def begins(size, taps, stride, pad, dilation):
    """Where windows begin: up to the last that reaches the end, but none behind the image."""
    count = -(-(size + 2 * pad - dilation * (taps - 1) - 1) // stride) + 1
    return [begin for begin in range(-pad, count * stride - pad, stride) if begin < size]


@given(SIZE, SMALL, SMALL, SMALL, st.tuples(st.integers(0, 2), st.integers(0, 2)))
@example((6, 9), (3, 3), (2, 2), (1, 1), (0, 0))
def test_max_pool2d_rounds_up(size, taps, stride, dilation, pad):
    pad = tuple(min(p, n // 2) for p, n in zip(pad, taps, strict=True))
    windows = [
        [pixels(begin, n, d, length) for begin in begins(length, n, s, p, d)]
        for length, n, s, p, d in zip(size, taps, stride, pad, dilation, strict=True)
    ]
    assume(all(axis and all(axis) for axis in windows))  # a window all in padding has no maximum
    x = image(size)
    y = g.max_pool2d(g.tensor(x), taps, stride, pad, dilation, ceil_mode=True).numpy()
    expected = [[x[:, :, rows][..., columns].max((2, 3)) for columns in windows[1]] for rows in windows[0]]
    assert np.array_equal(y, np.array(expected).transpose(2, 3, 0, 1))


@pytest.mark.parametrize(
    ("function", "reduce"), [(g.adaptive_avg_pool2d, np.mean), (g.adaptive_max_pool2d, np.max)], ids=["avg", "max"]
)
@given(size=SIZE, output=SIZE)
def test_adaptive_bins(function, reduce, size, output):
    x = image(size)
    y = function(g.tensor(x), output).numpy()
    assert y.shape == (1, 2, *output)
    for p, q in np.ndindex(*output):
        rows, columns = (
            slice(int(np.floor(i * n / count)), int(np.ceil((i + 1) * n / count)))
            for i, n, count in zip((p, q), size, output, strict=True)
        )
        np.testing.assert_allclose(y[:, :, p, q], reduce(x[:, :, rows, columns], axis=(2, 3)), rtol=1e-14)


@given(SIZE, SMALL, SMALL)
def test_same_convolution_is_that_of_the_padded_image(size, taps, dilation):
    x, w = image(size), np.random.default_rng(1).integers(-9, 9, (3, 2, *taps)).astype(np.float64)
    before = [d * (n - 1) // 2 for d, n in zip(dilation, taps, strict=True)]
    after = [d * (n - 1) - b for d, n, b in zip(dilation, taps, before, strict=True)]
    padded = np.pad(x, [(0, 0), (0, 0), *zip(before, after, strict=True)])
    y = g.conv2d(g.tensor(x), g.tensor(w), padding="same", dilation=dilation).numpy()
    assert y.shape == (1, 3, *size)
    assert np.array_equal(y, g.conv2d(g.tensor(padded), g.tensor(w), dilation=dilation).numpy())


def test_adaptive_maximum_ties_and_nan():
    x = g.ones(1, 2, 3, 3, requires_grad=True)
    g.adaptive_max_pool2d(x, (2, 1)).sum().backward()  # the bins share the middle row
    assert x.grad.numpy()[0].tolist() == [[[1, 0, 0], [1, 0, 0], [0, 0, 0]]] * 2
    x = g.tensor([[[[1.0, np.nan, 3.0]]]], requires_grad=True)
    y = g.adaptive_max_pool2d(x, 1)
    y.backward()
    assert np.isnan(y.item()) and x.grad.numpy().tolist() == [[[[0, 1, 0]]]]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_long_sums_of_halves(dtype):
    """In float16 the sum of ones stops growing at 2048, in bfloat16 at 256."""
    x = g.ones(1, 1, 64, 128, dtype=dtype, requires_grad=True)
    for size in (1, (1, 2)):
        assert (g.adaptive_avg_pool2d(x, size).numpy() == 1).all()
    bins = g.adaptive_avg_pool2d(g.ones(1, 1, 1, 1, dtype=dtype, requires_grad=True), 64)
    assert (bins.numpy() == 1).all()
    pixel = g.ones(1, 1, 1, 1, dtype=dtype, requires_grad=True)
    g.adaptive_avg_pool2d(pixel, 64).sum().backward()
    assert pixel.grad.item() == 4096
