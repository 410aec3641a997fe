"""Rows on CUDA in streams of their own: captured into a graph and replayed, and from several threads at once."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from gpucnn import native
from gpucnn.conv import ALGOS, DIRECTIONS, run
from gpucnn.device import to_device
from gpucnn.dtype import FLOATS
from tests.cases import CASES, operands

pytestmark = pytest.mark.cuda

SHAPES = [CASES[case] for case in ("groups_3x3", "same_3x3", "pointwise", "depthwise")]
ROWS = [
    (direction, name, next((d for d in ("float32", "float16") if any(algo.takes(s, d) for s in SHAPES)), None))
    for direction in DIRECTIONS
    for name, algo in ALGOS["cuda", direction].items()
]


def problem(direction, name, dtype, seed=0):
    """(shape, a, b) on the host, of the first shape that the row takes."""
    algo = ALGOS["cuda", direction][name]
    if lacking := algo.lacks(native.cuda()):
        pytest.skip(f"{name} needs {lacking}")
    shape = next(shape for shape in SHAPES if algo.takes(shape, dtype))
    return shape, *operands(shape, direction, FLOATS[dtype], seed)


@pytest.mark.parametrize(("direction", "name", "dtype"), ROWS)
def test_a_captured_call_computes_with_what_its_arrays_hold_later(direction, name, dtype):
    import cupy

    shape, a, b = problem(direction, name, dtype)
    _, later_a, later_b = problem(direction, name, dtype, seed=1)
    arrays, later = ([to_device(array, "cuda") for array in pair] for pair in ((a, b), (later_a, later_b)))
    expected = to_device(run(direction, shape, *later, algorithm=name), "cpu")
    stream = cupy.cuda.Stream(non_blocking=True)
    cupy.cuda.Device().synchronize()
    with stream:
        run(direction, shape, *arrays, algorithm=name)  # takes handles and memory, as before any capture
        stream.synchronize()
        stream.begin_capture()
        out = run(direction, shape, *arrays, algorithm=name)
        graph = stream.end_capture()
        for array, values in zip(arrays, later, strict=True):
            array[...] = values
        graph.launch(stream)
        stream.synchronize()
    assert np.array_equal(to_device(out, "cpu"), expected)


def test_threads_with_streams_of_their_own():
    """Four threads do all rows, each in its own order; the bits are those of one thread."""
    import cupy

    able = [row for row in ROWS if not ALGOS["cuda", row[0]][row[1]].lacks(native.cuda())]
    problems = [(row, problem(*row)) for row in able]

    def work(order):
        found = [None] * len(problems)
        with cupy.cuda.Stream(non_blocking=True):
            for i in order:
                (direction, name, _), (shape, *ab) = problems[i]
                arrays = [to_device(array, "cuda") for array in ab]
                found[i] = to_device(run(direction, shape, *arrays, algorithm=name), "cpu").tobytes()
        return found

    alone = work(range(len(problems)))
    with ThreadPoolExecutor(4) as pool:
        orders = [np.random.default_rng(seed).permutation(len(problems)) for seed in range(4)]
        assert list(pool.map(work, orders)) == [alone] * 4
