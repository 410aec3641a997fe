"""Every instruction set that this CPU has gives results within the law, by forcing each."""

import numpy as np
import pytest

from gpucnn import native
from gpucnn.conv import ALGOS, DIRECTIONS, run
from gpucnn.dtype import FLOATS
from tests.cases import CASES, operands
from tests.tolerance import check_conv

_cpu = native.cpu()


def available():
    found = []
    for name in ("portable", "avx2", "avx512"):
        try:
            _cpu.set_isa(name)
            found.append(name)
        except ValueError:
            pass
    _cpu.set_isa("auto")
    return found


@pytest.fixture(params=available())
def isa(request):
    _cpu.set_isa(request.param)
    yield request.param
    _cpu.set_isa("auto")


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("name", ["im2col", "gemm", "winograd2", "winograd4", "depthwise", "fft"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_law(isa, direction, name, dtype):
    assert _cpu.isa() == isa
    row = ALGOS["cpu", direction][name]
    for shape in CASES.values():
        if row.takes(shape, dtype):
            a, b = operands(shape, direction, FLOATS[dtype])
            check_conv(direction, shape, a, b, run(direction, shape, a, b, algorithm=name), row.error, row.bound)


def test_the_widest_is_taken():
    assert _cpu.isa() == available()[-1]


def test_unknown():
    with pytest.raises(ValueError, match=r"^set_isa: takes auto, portable, .*, but came sse"):
        _cpu.set_isa("sse")
    assert _cpu.isa() == available()[-1]


def test_a_nan_stays_in_its_tile(isa):
    """Winograd spreads a NaN over the outputs of the tiles that read it, and no further."""
    shape = CASES["tile_plus_one"]
    x, w = operands(shape, "fwd", np.float32)
    x[0, 3, 8, 8] = np.nan
    for name, tile in (("winograd2", 2), ("winograd4", 4)):
        lost = np.argwhere(np.isnan(run("fwd", shape, x, w, algorithm=name)[0, 0]))  # (p, q)
        first = lost // tile * tile - 1  # pixel of its tile
        assert ((first <= 8) & (first + tile + 1 >= 8)).all()
        assert {(p, q) for p in (7, 8, 9) for q in (7, 8, 9)} <= set(map(tuple, lost.tolist()))
