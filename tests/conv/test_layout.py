"""Images in channels_last order through the engine: the same results, in the order of the shape."""

from dataclasses import replace

import numpy as np
import pytest

from gpucnn import config
from gpucnn.conv import ALGOS, DIRECTIONS, ConvShape, plan, run
from gpucnn.conv.choose import candidates, rule
from gpucnn.layout import channels_first, in_memory, is_channels_last
from tests.cases import CASES, operands
from tests.tolerance import check_conv

TAKEN = [
    (direction, name, case)
    for direction in DIRECTIONS
    for name, algo in ALGOS["cpu", direction].items()
    for case, shape in CASES.items()
    if algo.takes(shape, "float32")
]
NATIVE = [taken for taken in TAKEN if ALGOS["cpu", taken[0]][taken[1]].channels_last]


def last(array):
    """The array in channels_last order."""
    return channels_first(in_memory(array, True))


@pytest.mark.parametrize(("direction", "name", "case"), TAKEN)
def test_every_row(direction, name, case):
    """The order of the operands is of no matter, that of the result is the shape's."""
    first, shape = CASES[case], replace(CASES[case], channels_last=True)
    a, b = operands(first, direction, np.float32)
    out = run(direction, shape, last(a), last(b) if shape.in_channels_last(direction)[1] else b, algorithm=name)
    assert in_memory(out, shape.in_channels_last(direction)[2]).base is not None or out.flags.c_contiguous
    again = run(direction, shape, a, last(b), algorithm=name)
    assert in_memory(out, False).tobytes() == in_memory(again, False).tobytes()
    algo = ALGOS["cpu", direction][name]
    if algo.channels_last:
        check_conv(direction, first, a, b, out, algo.error, algo.bound)
    else:
        assert np.array_equal(out, run(direction, first, a, b, algorithm=name))
    if shape.in_channels_last(direction)[2] and min(first.C, first.K) > 1 and first.N:
        assert is_channels_last(out)
    else:
        assert shape.in_channels_last(direction)[2] or out.flags.c_contiguous


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
@pytest.mark.parametrize(("direction", "name", "case"), NATIVE)
def test_rows_without_copies_in_every_dtype(direction, name, case, dtype):
    shape = replace(CASES[case], channels_last=True)
    a, b = operands(shape, direction, dtype)
    check_conv(direction, shape, a, b, run(direction, shape, a, b, algorithm=name), ALGOS["cpu", direction][name].error)


@pytest.mark.parametrize(("bias", "relu"), [(True, False), (False, True), (True, True)])
@pytest.mark.parametrize("groups", [1, 2])
def test_bias_and_relu(bias, relu, groups):
    shape = ConvShape(2, 4, 5, 3, 6, 1, 1, groups=groups, channels_last=True)
    x, w = operands(shape, "fwd", np.float32)
    offset = np.linspace(-1, 1, 6, dtype=np.float32) if bias else None
    y = run("fwd", shape, x, w, bias=offset, relu=relu, algorithm="gemm")
    np.testing.assert_allclose(
        y, run("fwd", shape.channels_first, x, w, bias=offset, relu=relu, algorithm="direct"), rtol=1e-5, atol=1e-5
    )


def test_copies_count_as_memory_beside_the_operands():
    shape = ConvShape(2, 8, 9, 7, 12, 1, 1, channels_last=True)
    both = 4 * (2 * 8 * 63 + 2 * 12 * 63)
    rows = {c.name: c for c in candidates("cpu", "fwd", shape, "float32")}
    assert (rows["direct"].copies, rows["direct"].beside, rows["gemm"].beside) == (both, both, 0)
    with config.using(workspace=both - 1):
        rows = {c.name: c for c in candidates("cpu", "fwd", shape, "float32")}
    assert rows["direct"].excluded == f"needs {both} bytes, more than {both - 1}" and not rows["gemm"].excluded
    assert {line.name: line.workspace for line in plan(shape).lines}["direct"] == both
    assert plan(shape).choice == "gemm"


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("workspace", [0, 6_000, 12_000, 40_000])
def test_copies_that_every_row_needs_do_not_count(direction, workspace):
    """Large images in channels_last order are computed under the same limit as those in channels_first order."""
    first = ConvShape(2, 8, 19, 17, 12, 3, 3, (1, 1))
    shape = replace(first, channels_last=True)
    a, b = operands(shape, direction, np.float32)
    with config.using(workspace=workspace):
        able, wanted = (candidates("cpu", direction, s, "float32") for s in (shape, first))
        assert [c.name for c in able if not c.excluded] == [c.name for c in wanted if not c.excluded] != []
        assert all(c.filters + c.workspace <= workspace < c.copies for c in able if not c.excluded)
        check_conv(direction, shape, a, b, run(direction, shape, a, b), 2.0)
        limits = [c.excluded for c in able if c.excluded and c.excluded.startswith("needs")]
        assert limits == [c.excluded for c in wanted if c.excluded and c.excluded.startswith("needs")]


def test_in_16_bits_on_cuda_rows_that_need_no_copies_come_first():
    shape = ConvShape(8, 64, 28, 28, 64, 3, 3, channels_last=True)
    rows = list(ALGOS["cuda", "fwd"])
    assert rule("cuda", "fwd", shape, "float16", rows)[:3] == ["gemm", "implicit_hopper", "implicit"]
    assert rule("cuda", "fwd", shape.channels_first, "float16", rows)[:2] == ["gemm", "im2col"]
    assert rule("cuda", "fwd", shape, "float32", rows)[0] == "winograd4"
