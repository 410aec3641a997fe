"""The host shim itself: what kernels rely on, and the misuse that it must report."""

import ctypes

import ml_dtypes
import numpy as np
import pytest

from tests.simt import build


@pytest.fixture(scope="module")
def shim():
    return build.selftest()


def address(array):
    return ctypes.c_void_p(array.ctypes.data)


def test_a_missing_barrier_shows(shim):
    out = np.zeros((3, 64), np.int32)
    assert shim.run_rotate(True, address(out)) is None
    assert (out == np.roll(np.arange(64), -1)).all()
    shim.run_rotate(False, address(out))
    assert (out == -1).any()  # the poison


def test_shared_memory_is_poisoned_before_each_block(shim):
    out = np.zeros(2, np.uint32)
    assert shim.run_read_unwritten(address(out)) is None
    assert (out == 0xFFFFFFFF).all()


@pytest.mark.parametrize(
    ("which", "message"),
    [
        (0, r"divergent __syncthreads: thread .* waits at selftest.cu:\d+, but 32 of 64 threads .* exited"),
        (1, r"divergent __syncthreads: .* waits at selftest.cu:\d+, but thread .* at selftest.cu:\d+"),
        (2, r"divergent warp exchange: .* waits at selftest.cu:\d+, .* and thread \(5, 0, 0\) waits at .*:\d+"),
        (3, r"divergent warp exchange(: thread .* threads of the block have exited|.*: the mask holds lane 3)"),
    ],
)
def test_misuse_is_an_error(shim, which, message):
    for seed in range(5):
        shim.simt_seed(ctypes.c_uint64(seed))
        with pytest.raises(RuntimeError, match=message):
            error = shim.run_misuse(which)
            if error:
                raise RuntimeError(error.decode())
    out = np.zeros((3, 64), np.int32)
    assert shim.run_rotate(True, address(out)) is None  # and the next launch works


def test_warp_functions(shim):
    out = np.zeros((64, 8), np.int32)
    assert shim.run_warp_functions(address(out)) is None
    thread = np.arange(64)
    lane, first = thread % 32, thread // 32 * 32
    assert (out[:, 0] == 100 + first + (lane ^ 5)).all()
    assert (out[:, 1] == 100 + thread + np.where(lane + 3 < 32, 3, 0)).all()
    assert (out[:, 2] == 100 + thread - np.where(lane >= 2, 2, 0)).all()
    assert (out[:, 3] == 100 + first + 7).all()
    assert (out[:, 4].view(np.uint32) == sum(1 << i for i in range(0, 32, 3))).all()
    assert (out[:, 5] == (thread >= 32)).all()
    assert (out[:, 6] == (thread < 32)).all()
    assert (out[:, 7] == np.where(lane < 8, 100 + first + (lane ^ 1), -1)).all()


def test_every_thread_of_every_block_runs_once(shim):
    out = np.zeros(3 * 2 * 4 * 5 * 3 * 2, np.int32)
    assert shim.run_positions(address(out)) is None
    assert (out == 1).all()


def test_the_seed_sets_the_order(shim):
    orders = []
    for seed in (1, 1, 2):
        shim.simt_seed(ctypes.c_uint64(seed))
        counter, order = np.zeros(1, np.int32), np.zeros(32, np.int32)
        assert shim.run_arrivals(address(counter), address(order)) is None
        assert sorted(order) == list(range(32))
        orders.append(order.tolist())
    assert orders[0] == orders[1] != orders[2]
    assert orders[0] != list(range(32))


@pytest.mark.parametrize(
    ("x", "y", "threads", "shared"), [(0, 1, 32, 0), (1, 65536, 32, 0), (1, 1, 1056, 0), (1, 1, 32, 49153)]
)
def test_a_refused_launch_is_an_error(shim, x, y, threads, shared):
    error = shim.run_configuration(x, y, threads, ctypes.c_size_t(shared))
    assert error.decode() == f"selftest: CUDA should launch the kernel, but says invalid configuration argument (x {x})"


@pytest.mark.parametrize("dtype", [np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16)], ids=str)
def test_16_bit_types_round_to_nearest(shim, dtype):
    """Every 16-bit value survives; what lies between two is rounded as NumPy does."""
    every = np.arange(2**16, dtype=np.uint16).view(dtype).astype(np.float32)
    finite = np.sort(every[np.isfinite(every)])
    between = finite[:-1] + (finite[1:] - finite[:-1]) * np.float32(0.5)
    random = np.random.default_rng(0).integers(0, 2**32, 10**5, dtype=np.uint32).view(np.float32)
    x = np.concatenate([every, between, np.nextafter(between, np.float32(0)), random[np.isfinite(random)]])
    out = np.empty_like(x)
    getattr(shim, f"round_{dtype.name}")(ctypes.c_int64(x.size), address(x), address(out))
    with np.errstate(over="ignore", invalid="ignore"):
        assert np.array_equal(out, x.astype(dtype).astype(np.float32), equal_nan=True)
