"""gemm: sizes of several tiles, random sizes on every instruction set, a single row or column, and its refusals."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gpucnn import native
from tests.cpu.conftest import CPU_DTYPES, Cpu
from tests.cpu.test_isa import available
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


# Around the edges of registers, panels and tiles, and past the products that are added up at a time.
sizes = st.one_of(st.integers(1, 70), st.sampled_from([1, 8, 16, 32, 256, 257]))


@settings(max_examples=150, deadline=None)
@given(
    isa=st.sampled_from(available()),
    name=st.sampled_from(sorted(CPU_DTYPES)),
    M=sizes,
    N=sizes,
    K=st.one_of(sizes, st.integers(500, 600)),
    batch=st.sampled_from([(1, 1), (2, 1), (1, 2), (2, 2)]),
    trans_a=st.booleans(),
    trans_b=st.booleans(),
    seed=st.integers(0, 99),
)
@example("portable", "float32", 20, 1, 37, (1, 1), False, True, 0)  # a column, by vectors along the depth
@example("portable", "float16", 1, 20, 37, (2, 1), False, True, 0)
def test_small_integers_are_exact(isa, name, M, N, K, batch, trans_a, trans_b, seed):
    """Whatever the order of the additions, so every product is added, and once. Spare columns of a and b are NaN."""
    rng, dtype, lib = np.random.default_rng(seed), CPU_DTYPES[name], native.cpu()
    a = rng.integers(-3, 4, (batch[0], M, K))
    b = rng.integers(-3, 4, (batch[1], K, N))
    lib.set_isa(isa)
    try:
        out = run(Cpu(lib), dtype, a.astype(dtype), b.astype(dtype), trans_a, trans_b)
    finally:
        lib.set_isa("auto")
    assert np.array_equal(out, (a @ b).astype(np.float32).astype(dtype))


@pytest.mark.parametrize("isa", available())
@pytest.mark.parametrize("sizes", [(1, 90, 1100), (90, 1, 1100), (20, 33, 700), (5, 300, 300), (300, 40, 257)])
def test_law_on_every_instruction_set(dtype, isa, sizes):
    rng, lib = np.random.default_rng(0), native.cpu()
    a = rng.standard_normal((1, sizes[0], sizes[2])).astype(dtype)
    b = rng.standard_normal((1, sizes[2], sizes[1])).astype(dtype)
    exact = a.astype(np.float64) @ b.astype(np.float64)
    scale = np.abs(a.astype(np.float64)) @ np.abs(b.astype(np.float64))
    lib.set_isa(isa)
    try:
        for trans_a in (False, True):
            for trans_b in (False, True):
                check(run(Cpu(lib), dtype, a, b, trans_a, trans_b), exact, scale, sizes[2])
    finally:
        lib.set_isa("auto")


@pytest.mark.parametrize(("M", "N"), [(20, 20), (20, 1), (1, 20)])
@pytest.mark.parametrize("trans_b", [False, True])
def test_a_nan_reaches_its_row_or_column(kernels, M, N, trans_b):
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(s).astype(np.float32) for s in ((1, M, 50), (1, 50, N)))
    a[0, M - 1, 49] = np.nan
    assert np.array_equal(np.isnan(run(kernels, a.dtype, a, b, False, trans_b)[0]), np.isnan(a[0] @ b[0]))


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
