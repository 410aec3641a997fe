"""gemm with sizes of several tiles, and its refusals."""

import numpy as np
import pytest

from tests.kernels.harness import Out
from tests.kernels.test_gemm import run
from tests.tolerance import check


@pytest.mark.parametrize("trans_b", [False, True])
@pytest.mark.parametrize("trans_a", [False, True])
@pytest.mark.parametrize("sizes", [(130, 700, 90), (600, 70, 1100), (1, 1000, 1300), (64, 120, 400)])
def test_tiles(kernels, dtype, sizes, trans_a, trans_b):
    rng = np.random.default_rng(0)
    a = rng.standard_normal((1, sizes[0], sizes[2])).astype(dtype)
    b = rng.standard_normal((1, sizes[2], sizes[1])).astype(dtype)
    runs = []
    for seed in (0, 0, 1, 4):
        kernels.seed(seed)
        runs.append(run(kernels, dtype, a, b, trans_a, trans_b))
    a, b = a.astype(np.float64), b.astype(np.float64)
    check(runs[0], a @ b, np.abs(a) @ np.abs(b), sizes[2])
    assert len({out.tobytes() for out in runs}) == 1


def test_tf32_is_float32_here(kernels):
    a = np.random.default_rng(0).standard_normal((1, 16, 16)).astype(np.float32)
    assert np.array_equal(
        run(kernels, a.dtype, a, a, False, False, name="tf32"), run(kernels, a.dtype, a, a, False, False)
    )


@pytest.mark.parametrize(
    ("sizes", "strides", "text"),
    [
        ((4, 4, 4, 1), (3, 0, 4, 0), "lda and ldb are at least the length of a stored row .*lda 3"),
        ((4, 4, 4, 1), (4, 0, 3, 0), "lda and ldb are at least the length of a stored row .*ldb 3"),
        ((-1, 4, 4, 1), (4, 0, 4, 0), "sizes must not be negative .*M -1"),
        ((4, 4, 4, -2), (4, 0, 4, 0), "sizes must not be negative .*batch -2"),
    ],
)
def test_refusals(kernels, sizes, strides, text):
    a = np.zeros((4, 4), np.float32)
    (lda, stride_a, ldb, stride_b) = strides
    with pytest.raises(ValueError, match=f"^gemm: {text}"):
        kernels("gemm", "float32", False, False, *sizes, a, lda, stride_a, a, ldb, stride_b, Out((4, 4)))
