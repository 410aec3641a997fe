"""The host models of PTX instructions (kernels/ptx.cuh): lane maps, asynchrony and rounding."""

import ctypes

import ml_dtypes
import numpy as np
import pytest

from tests.simt import build

ELEMENTS = {"float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}


@pytest.fixture(scope="module")
def shim():
    return build.selftest()


def address(array):
    return ctypes.c_void_p(array.ctypes.data)


@pytest.mark.parametrize("transposed", [False, True])
def test_ldmatrix(shim, transposed):
    matrices = np.arange(4 * 8 * 8, dtype=np.uint16).reshape(4, 8, 8)
    words = np.zeros((32, 4), np.uint32)
    assert shim.run_load_matrices(transposed, address(matrices), address(words)) is None
    halves = words.view(np.uint16).reshape(8, 4, 4, 2)  # (g, t, matrix, element)
    expected = matrices.transpose(0, 2, 1) if transposed else matrices
    assert np.array_equal(halves.transpose(2, 0, 1, 3).reshape(4, 8, 8), expected)


def multiply(shim, name, a, b, d):
    """d + a b.T for a (16, k), b (8, k), d (16, 8), by one mma."""
    a, b = (np.ascontiguousarray(array, ELEMENTS[name]) for array in (a, b))
    d = np.array(d, np.float32)
    assert getattr(shim, f"run_mma_{name}")(address(a), address(b), address(d)) is None
    return d


@pytest.mark.parametrize("name", ELEMENTS)
def test_mma_is_a_product(shim, name):
    """Small integers: exact, whatever the order of the sum."""
    depth = 8 if name == "float32" else 16
    rng = np.random.default_rng(0)
    a, b, d = (rng.integers(-9, 10, shape) for shape in ((16, depth), (8, depth), (16, 8)))
    assert np.array_equal(multiply(shim, name, a, b, d), d + a @ b.T)


def test_mma_truncates(shim):
    """A sum rounds towards zero at the last bit of its largest term, and TF32 does not see a word's low 13 bits."""
    a, b, d = np.zeros((16, 8)), np.zeros((8, 8)), np.zeros((16, 8))
    a[0, 0], b[:, 0] = 1.5, 1
    d[0, :4] = 2**23, -(2**23), 2**24 - 1, 2**22
    assert multiply(shim, "float32", a, b, d)[0, :4].tolist() == [2**23 + 1, 1 - 2**23, 2**24, 2**22 + 1.5]
    a[0, 0] = 1 + 2.0**-10 + 2.0**-11
    assert multiply(shim, "float32", a, b, np.zeros((16, 8)))[0, 0] == 1 + 2.0**-10
    a[0, 0] = np.inf
    out = multiply(shim, "float32", a, b, d)
    assert np.isposinf(out[0]).all() and np.isfinite(out[1:]).all()


@pytest.mark.parametrize("waited", [0, 1, 2])
def test_a_copy_has_arrived_when_its_group_was_waited_for(shim, waited):
    data, out = np.arange(32, dtype=np.uint8) + 1, np.zeros(24, np.uint8)
    assert shim.run_copy(waited, 0, address(data), address(out)) is None
    expected = np.concatenate([data[:20], np.zeros(4, np.uint8)])
    expected[(0, 16, 24)[waited] :] = 0xFF
    assert np.array_equal(out, expected)


def test_a_copy_must_be_aligned(shim):
    data, out = np.zeros(64, np.uint8), np.zeros(24, np.uint8)
    assert b"16 bytes is not aligned" in shim.run_copy(2, 4, address(data), address(out))


def test_tf32_rounds_to_nearest(shim):
    below = np.float32(1 + 2.0**-11 - 2.0**-23)
    x = np.array([1, below, 1 + 2.0**-11, -1 - 2.0**-11, 1e-40, 3.4028235e38, -np.inf, np.nan], np.float32)
    out = np.empty_like(x)
    shim.round_tf32(ctypes.c_int64(x.size), address(x), address(out))
    tiny = np.float32(2.0**-136 * round(1e-40 * 2.0**136))
    assert np.array_equal(out, np.float32([1, 1, 1 + 2.0**-10, -1 - 2.0**-10, tiny, np.inf, -np.inf, np.nan]), True)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_a_pair_is_rounded_to_nearest_with_the_first_below(shim, dtype):
    for low, high in [(1 / 3, -2 / 3), (np.inf, 1e-8), (np.nan, 70000.0)]:
        word, values = np.zeros(1, np.uint32), np.zeros(2, np.float32)
        numbers = ctypes.c_float(low), ctypes.c_float(high)
        shim.pair(dtype == np.float16, *numbers, address(word), address(values))
        with np.errstate(over="ignore"):
            expected = np.array([low, high], np.float32).astype(dtype)
        assert np.array_equal(word.view(dtype), expected, equal_nan=True)
        assert np.array_equal(values, expected.astype(np.float32), equal_nan=True)
