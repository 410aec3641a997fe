"""The change of layout: matrices transposed, with and without padding, of elements of every size; and padding alone."""

import numpy as np
import pytest

from tests.kernels.harness import Out

SIZES = [
    (1, 1, 1),
    (3, 3, 130),
    (3, 130, 3),
    (2, 64, 64),
    (2, 65, 63),
    (1, 200, 7),
    (1, 9, 200),
    (0, 5, 4),
    (2, 24, 72),
]


@pytest.fixture(params=[2, 4])
def size(request):
    return request.param


@pytest.mark.parametrize("multiple", [1, 8])
@pytest.mark.parametrize("sizes", SIZES)
def test_transpose_matrices(kernels, sizes, multiple, size):
    batch, rows, columns = sizes
    padded = -(-rows // multiple) * multiple
    x = np.arange(1, batch * rows * columns + 1).astype(f"uint{8 * size}").reshape(sizes)
    out = Out((batch, columns, padded), x.dtype)
    (out,) = kernels("transpose_matrices", size, batch, rows, columns, padded, x, out)
    assert np.array_equal(out, np.pad(x.transpose(0, 2, 1), [(0, 0), (0, 0), (0, padded - rows)]))


def test_elements_and_sizes_are_checked(kernels):
    x = np.zeros(4, np.float32)
    with pytest.raises(ValueError, match=r"transpose_matrices: elements have .* but came 3 \(\(1, 2, 2\)"):
        kernels("transpose_matrices", 3, 1, 2, 2, 2, x, Out((4,)))
    with pytest.raises(ValueError, match="transpose_matrices: sizes are not negative, nor less after padding"):
        kernels("transpose_matrices", 4, 1, 2, 2, 1, x, Out((4,)))


@pytest.mark.parametrize(("pixels", "channels", "padded"), [(1, 1, 8), (70, 3, 8), (5, 9, 16), (301, 23, 24)])
def test_pad_channels(kernels, pixels, channels, padded):
    x = np.random.default_rng(3).integers(0, 2**16, (pixels, channels), dtype=np.uint16)
    (out,) = kernels("pad_channels", pixels, channels, padded, x, Out((pixels, padded), np.uint16))
    assert np.array_equal(out[:, :channels], x)
    assert not out[:, channels:].any()
