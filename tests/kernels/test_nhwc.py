"""The change of layout that implicit_hopper begins with."""

import numpy as np
import pytest

from tests.kernels.harness import Out


@pytest.mark.parametrize(("N", "C", "HW"), [(1, 1, 1), (3, 3, 130), (2, 64, 64), (2, 65, 63), (1, 200, 7), (0, 5, 4)])
def test_nchw_to_nhwc(kernels, N, C, HW):
    padded = -(-C // 8) * 8
    x = np.arange(1, N * C * HW + 1).astype(np.uint16).reshape(N, C, HW)
    (out,) = kernels("nchw_to_nhwc", N, C, HW, padded, x, Out((N, HW, padded), np.uint16))
    assert np.array_equal(out, np.pad(x.transpose(0, 2, 1), [(0, 0), (0, 0), (0, padded - C)]))


@pytest.mark.parametrize(("pixels", "channels", "padded"), [(1, 1, 8), (70, 3, 8), (5, 9, 16), (301, 23, 24)])
def test_pad_channels(kernels, pixels, channels, padded):
    x = np.random.default_rng(3).integers(0, 2**16, (pixels, channels), dtype=np.uint16)
    (out,) = kernels("pad_channels", pixels, channels, padded, x, Out((pixels, padded), np.uint16))
    assert np.array_equal(out[:, :channels], x)
    assert not out[:, channels:].any()
