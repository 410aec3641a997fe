"""The change of layout: matrices transposed, with and without padding, of elements of every size."""

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
