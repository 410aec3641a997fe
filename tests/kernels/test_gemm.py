"""gemm: transposes, batches, strides, dtypes, empty sizes."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.kernels.harness import DTYPES, Out
from tests.tolerance import check

M, N, K, BATCH = 7, 5, 130, 3


def run(kernels, dtype, a, b, trans_a, trans_b, name=None):
    """a (batch, M, K) and b (batch, K, N), stored as asked with rows 2 and 3 elements longer than needed."""
    stored = []
    for matrix, transposed, extra in ((a, trans_a, 2), (b, trans_b, 3)):
        matrix = matrix.transpose(0, 2, 1) if transposed else matrix
        wide = np.full((*matrix.shape[:2], matrix.shape[2] + extra), np.nan, dtype)
        wide[:, :, : matrix.shape[2]] = matrix
        stored.append(wide)
    (wide_a, wide_b), batch = stored, max(a.shape[0], b.shape[0])
    strides = [0 if wide.shape[0] == 1 else wide[0].size for wide in stored]
    return kernels(
        *("gemm", name or dtype.name, trans_a, trans_b, a.shape[1], b.shape[2], a.shape[2], batch),
        *(wide_a, wide_a.shape[2], strides[0], wide_b, wide_b.shape[2], strides[1]),
        Out((batch, a.shape[1], b.shape[2]), dtype),
    )[0]


@pytest.mark.parametrize("trans_b", [False, True])
@pytest.mark.parametrize("trans_a", [False, True])
@pytest.mark.parametrize(("batch_a", "batch_b"), [(1, 1), (BATCH, BATCH), (1, BATCH), (BATCH, 1)])
def test_tolerance_law(kernels, dtype, trans_a, trans_b, batch_a, batch_b):
    rng = np.random.default_rng(0)
    a = rng.standard_normal((batch_a, M, K)).astype(dtype)
    b = rng.standard_normal((batch_b, K, N)).astype(dtype)
    out = run(kernels, dtype, a, b, trans_a, trans_b)
    a, b = a.astype(np.float64), b.astype(np.float64)
    check(out, a @ b, np.abs(a) @ np.abs(b), K)


@pytest.mark.parametrize("sizes", [(1, 1, 1), (1, 9, 4), (8, 1, 3), (33, 65, 17)])
def test_sizes(kernels, dtype, sizes):
    rng = np.random.default_rng(0)
    a = rng.integers(-3, 4, (1, sizes[0], sizes[2])).astype(dtype)
    b = rng.integers(-3, 4, (1, sizes[2], sizes[1])).astype(dtype)
    assert np.array_equal(run(kernels, dtype, a, b, False, True), a.astype(int) @ b.astype(int))


def test_sums_of_16_bit_products_are_float32(kernels):
    """4096 ones of float16 add to 4096; in 16 bits the sum would stop at 2048."""
    for name in ("float16", "bfloat16"):
        dtype = DTYPES[name]
        ones = np.ones((1, 1, 4096), dtype)
        assert run(kernels, dtype, ones, ones.transpose(0, 2, 1), False, False).item() == 4096


def test_tf32(kernels):
    """Asked for, inputs may lose bits; not asked for, a bit at 2**-20 of an input survives."""
    a = np.full((1, 16, 16), 1 + 2.0**-20, np.float32)
    b = np.eye(16, dtype=np.float32)[None]
    assert np.array_equal(run(kernels, np.dtype(np.float32), a, b, False, False), a)
    out = run(kernels, np.dtype(np.float32), a, b, False, False, name="tf32")
    assert np.abs(out - a).max() <= 2.0**-10


def test_no_products(kernels, dtype):
    empty = np.zeros(0, dtype)
    (out,) = kernels("gemm", dtype.name, False, False, 3, 4, 0, 2, empty, 0, 0, empty, 4, 0, Out((2, 3, 4), dtype))
    assert (out == 0).all()
    for sizes in ((0, 4, 5, 2), (3, 0, 5, 2), (3, 4, 5, 0)):
        kernels("gemm", dtype.name, False, False, *sizes, empty, 5, 0, empty, 4, 0, Out((0,), dtype))


def test_from_several_threads(kernels):
    """Each thread has its own handle; one that ends leaves it to the next."""
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-3, 4, (1, 40, 40)).astype(np.float32) for _ in range(2))
    for _ in range(2):
        with ThreadPoolExecutor(4) as pool:
            jobs = [pool.submit(run, kernels, a.dtype, a, b, False, False) for _ in range(8)]
            assert all((job.result() == a @ b).all() for job in jobs)


def test_refusals(kernels):
    a = np.zeros((4, 4), np.float32)
    with pytest.raises(ValueError, match=r"gemm: lda and ldb .*lda 3"):
        kernels("gemm", "float32", False, False, 4, 4, 4, 1, a, 3, 0, a, 4, 0, Out((4, 4)))
    with pytest.raises(ValueError, match=r"gemm: sizes .*M -1"):
        kernels("gemm", "float32", False, False, -1, 4, 4, 1, a, 4, 0, a, 4, 0, Out((4, 4)))
    with pytest.raises(ValueError, match="float64"):
        kernels("gemm", "float64", False, False, 2, 2, 2, 1, a, 2, 0, a, 2, 0, Out((2, 2)))
