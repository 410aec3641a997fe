"""Where memory runs out: what is freed, which row runs instead, and what is an error."""

import os
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import gpucnn
from gpucnn.conv import ALGOS, ConvShape, run
from gpucnn.conv.choose import pick
from gpucnn.conv.filters import kept_bytes
from tests.cases import operands
from tests.tolerance import check_conv

MODULE = sys.modules["gpucnn.conv.run"]  # gpucnn.conv.run is the function
SHAPE = ConvShape(2, 32, 20, 21, 32, 3, 3, pad=(1, 1))


@pytest.fixture
def memory(monkeypatch):
    """A list of what _scratch was asked for; more than memory.most at once is a MemoryError."""

    class Asked(list):
        most = float("inf")

    asked, scratch = Asked(), MODULE._scratch

    def limited(xp, size):
        asked.append(size)
        if size > asked.most:
            raise MemoryError(f"no {size} bytes")
        return scratch(xp, size)

    monkeypatch.setattr(MODULE, "_scratch", limited)
    return asked


@pytest.mark.parametrize("most", [200_000, 20_000, 0])
@pytest.mark.parametrize("last", [False, True])
def test_auto_takes_a_row_that_needs_less(memory, most, last):
    shape = replace(SHAPE, channels_last=last)
    x, w = operands(shape, "fwd", np.float32)
    first = pick("cpu", "fwd", shape, "float32")
    wanted = first.beside - first.copies
    assert wanted > 200_000 and bool(first.copies) == last
    memory.most = most
    said = f"conv fwd: {first.name} needs {first.beside} bytes .*, but no {wanted} bytes"
    with pytest.warns(UserWarning, match=said):
        y = run("fwd", shape, x, w)
    row = ALGOS["cpu", "fwd"]["winograd2"]
    check_conv("fwd", SHAPE, x, w, y, row.error, row.bound)
    failed, (used,) = [size for size in memory if size > most], [size for size in memory if size <= most]
    assert failed[0] == failed[1] == wanted, "tried twice"
    assert used <= most and all(2 * b <= a for a, b in zip(failed[::2], failed[2::2], strict=False))


def test_the_second_try_may_succeed(memory):
    """What was kept for later is free then."""
    x, w = operands(SHAPE, "fwd", np.float32)
    run("fwd", SHAPE, x, w, algorithm="winograd2", version=0)
    assert kept_bytes() > 0
    tries = []

    def once_too_little():
        tries.append(kept_bytes())
        if len(tries) == 1:
            raise MemoryError
        return len(tries)

    MODULE._memory.kept = np.empty(1, np.uint8)
    assert MODULE._retried("cpu", once_too_little) == 2
    assert tries[0] > 0 and tries[1] == 0 and MODULE._memory.kept is None
    again = run("fwd", SHAPE, x, w, algorithm="winograd2", version=0)
    assert again.tobytes() == run("fwd", SHAPE, x, w, algorithm="winograd2").tobytes()


def test_a_forced_name_is_an_error(memory):
    x, w = operands(SHAPE, "fwd", np.float32)
    memory.most = 1000
    with pytest.raises(MemoryError, match=r"conv fwd: im2col needs \d+ bytes .*, but no \d+ bytes .*H=20"):
        run("fwd", SHAPE, x, w, algorithm="im2col")
    assert len(memory) == 2


def test_no_row_that_needs_less_is_an_error(memory):
    memory.most = 1000
    with gpucnn.using(max_error=1), pytest.raises(MemoryError, match=r"conv fwd: .* needs \d+ bytes"):
        run("fwd", SHAPE, *operands(SHAPE, "fwd", np.float32))


@pytest.mark.parametrize("direction", ["dgrad", "wgrad"])
def test_gradients_take_less_too(memory, direction):
    a, b = operands(SHAPE, direction, np.float32)
    memory.most = 50_000
    with pytest.warns(UserWarning, match=f"conv {direction}"):
        out = run(direction, SHAPE, a, b)
    row = ALGOS["cpu", direction]["winograd2"]
    check_conv(direction, SHAPE, a, b, out, row.error, row.bound)


def test_in_earnest():
    """A process whose address space has no room for the workspace."""
    code = """
import resource, warnings, numpy as np, gpucnn
from gpucnn.conv import ConvShape, plan, run
shape, small = ConvShape(1, 768, 16, 16, 768, 3, 3, pad=(1, 1)), ConvShape(1, 16, 8, 8, 16, 3, 3)
run("fwd", small, np.ones(small.x, np.float32), np.ones(small.w, np.float32))  # starts the threads
x, w = np.ones(shape.x, np.float32), np.ones(shape.w, np.float32)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**24, used + 2**24))
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    y = run("fwd", shape, x, w)
print(*(warning.message for warning in caught), y[0, 0, 8, 8])"""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "GPUCNN_NUM_THREADS": "1"}
    result = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert re.fullmatch(
        r"conv fwd: winograd2 needs .* but Unable to allocate .*; im2col ran with .* 6912.0\n", result.stdout
    )
