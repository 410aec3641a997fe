"""What limits leave out, what "find" measures and remembers, and how its file survives what happens to files."""

import json
import os
import re
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gpucnn
from gpucnn import config
from gpucnn.conv import ALGOS, DIRECTIONS, ConvShape, choose, find, plan, run
from tests.cases import CASES, operands

SHAPE = ConvShape(2, 32, 20, 21, 32, 3, 3, pad=(1, 1))


@pytest.fixture
def forget(monkeypatch, tmp_path):
    """No time is known, and files go to an own folder, which is returned."""
    folder = tmp_path / "cache"
    monkeypatch.setitem(config.SETTINGS, "cache", config.SETTINGS["cache"]._replace(default=str(folder)))
    monkeypatch.delenv("GPUCNN_CACHE")
    config._from_environment.cache_clear()
    find._times.cache_clear()
    yield folder
    find._times.cache_clear()
    monkeypatch.undo()
    config._from_environment.cache_clear()


def excluded(**limits):
    return {line.name: line.excluded for line in plan(SHAPE, **limits).lines if line.excluded}


# --- limits -----------------------------------------------------------------------------------------------------------
def test_plan_has_a_line_for_each_row_and_marks_the_one_that_runs():
    for direction in DIRECTIONS:
        table = plan(SHAPE, direction=direction)
        assert [line.name for line in table.lines] == list(ALGOS["cpu", direction])
        assert table.choice == ("im2col" if direction == "wgrad" else "winograd2")
        (marked,) = (text for text in str(table).splitlines() if text.startswith("  *"))
        assert marked.split()[1] == table.choice


def test_limits_say_why_a_row_is_left_out():
    assert excluded() == dict.fromkeys(unable(SHAPE), "cannot do this shape")
    assert excluded(max_error=2)["winograd4"] == "has an error factor of 6, more than 2"
    least = {line.name: line.workspace for line in plan(SHAPE, workspace=0).lines}["winograd2"]
    assert least > 0 and excluded(workspace=0)["winograd2"] == f"needs {least} bytes, more than 0"
    assert "winograd2" not in excluded(workspace=least)
    assert "winograd2" in excluded(workspace=least - 1)


def unable(shape, direction="fwd"):
    return [name for name, row in ALGOS["cpu", direction].items() if not row.takes(shape, "float32")]


def test_a_row_that_is_not_deterministic_can_be_left_out(monkeypatch):
    row = ALGOS["cpu", "fwd"]["winograd2"]
    monkeypatch.setitem(ALGOS["cpu", "fwd"], "winograd2", choose_other(row, deterministic=False))
    choose._candidates.cache_clear()
    choose._auto.cache_clear()
    assert plan(SHAPE).choice == "winograd2"
    assert plan(SHAPE, deterministic=True).choice != "winograd2"
    assert excluded(deterministic=True)["winograd2"] == "may give other bits in another run"
    monkeypatch.undo()
    choose._candidates.cache_clear()
    choose._auto.cache_clear()


def choose_other(row, **changes):
    return type(row)(**{**vars(row), **changes})


def test_no_row_within_the_limits_says_each_reason():
    x, w = operands(SHAPE, "fwd", np.float32)
    with (
        gpucnn.using(max_error=0.5),
        pytest.raises(ValueError, match=r"within the limits, but direct has an error .*im2"),
    ):
        run("fwd", SHAPE, x, w)
    with (
        gpucnn.using(max_error=3),
        pytest.raises(ValueError, match="winograd4 has an error factor of 6, more than 3;"),
    ):
        run("fwd", SHAPE, x, w, algorithm="winograd4")


@given(limit=st.integers(0, 2**21), direction=st.sampled_from(DIRECTIONS), case=st.sampled_from(sorted(CASES)))
def test_what_is_taken_is_within_the_limit(limit, direction, case):
    for line in plan(CASES[case], direction=direction, workspace=limit).lines:
        assert (line.workspace <= limit) or line.excluded


def test_peak_memory_stays_below_the_limit():
    """Of a process: what a convolution adds to the largest resident size, beside its output."""
    code = """
import resource, sys, numpy as np, gpucnn
from gpucnn.conv import *
direction, name, limit = sys.argv[1], sys.argv[2], int(sys.argv[3])
shape = ConvShape(4, 96, 96, 96, 96, 3, 3, pad=(1, 1))
rng = np.random.default_rng(0)
a, b = (rng.standard_normal(s, np.float32) for s in shape.operands(direction)[:2])
small = ConvShape(1, 16, 8, 8, 16, 3, 3, pad=(1, 1))  # starts the threads
run(direction, small, *(np.ones(s, np.float32) for s in small.operands(direction)[:2]), algorithm=name)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with gpucnn.using(workspace=limit):
    out = run(direction, shape, a, b, algorithm=name)
print(1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) - out.nbytes)"""
    shape = ConvShape(4, 96, 96, 96, 96, 3, 3, pad=(1, 1))
    for direction in DIRECTIONS:
        for name, row in ALGOS["cpu", direction].items():
            if name == "direct" or not row.takes(shape, "float32"):
                continue
            least = next(
                line.workspace for line in plan(shape, direction=direction, workspace=0).lines if line.name == name
            )
            limit = max(least, 2**21)
            result = subprocess.run(
                [sys.executable, "-c", code, direction, name, str(limit)],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                check=True, capture_output=True, text=True,
            )  # fmt: skip
            assert int(result.stdout) <= limit + 2**20, (direction, name)  # + what is no workspace: stacks, pages


# --- find -------------------------------------------------------------------------------------------------------------
def test_find_takes_the_fastest_and_auto_remembers_it(forget, monkeypatch):
    a, b = operands(SHAPE, "fwd", np.float32)
    timed = []

    def seconds(call, kind):
        call()
        timed.append(len(timed))
        return 1.0 - 0.1 * len(timed)  # later rows are faster

    monkeypatch.setattr(find, "seconds_of", seconds)
    assert plan(SHAPE).choice == "winograd2"
    result = run("fwd", SHAPE, a, b, algorithm="find")
    contenders = [n for n in ALGOS["cpu", "fwd"] if n not in unable(SHAPE)]
    assert len(timed) == len(contenders)
    last = contenders[-1]
    assert plan(SHAPE).choice == last != "winograd2"
    assert np.array_equal(result, run("fwd", SHAPE, a, b, algorithm=last))
    run("fwd", SHAPE, a, b, algorithm="find")
    assert len(timed) == len(contenders)  # nothing is timed twice
    assert plan(SHAPE, max_error=2).choice != "winograd4"
    assert plan(SHAPE, direction="wgrad").choice == "im2col"  # each direction apart
    with gpucnn.using(find=True):
        run("wgrad", SHAPE, a, operands(SHAPE, "wgrad", np.float32)[1])
    assert plan(SHAPE, direction="wgrad").choice == last


def test_find_in_earnest_and_the_times_in_the_plan(forget):
    table = plan(SHAPE, algorithm="find", direction="dgrad")
    times = {line.name: line.seconds for line in table.lines if line.seconds is not None}
    assert table.choice == min(times, key=times.get)
    assert all(0 < seconds < 10 for seconds in times.values())
    assert set(times) == {line.name for line in table.lines if not line.excluded}


def test_the_definition_is_no_contender_on_large_shapes(forget):
    large = ConvShape(1, 64, 60, 60, 64, 3, 3)
    assert large.flops > find.DIRECT_UP_TO
    assert "direct" not in {line.name for line in plan(large, algorithm="find").lines if line.seconds}
    assert plan(large, algorithm="find", workspace=0).choice == "direct"


def test_a_row_that_fails_is_left_out_with_a_warning(forget, monkeypatch):
    def broken(*_):
        raise RuntimeError("no such instruction")

    monkeypatch.setitem(ALGOS["cpu", "fwd"], "im2col", choose_other(ALGOS["cpu", "fwd"]["im2col"], run=broken))
    with pytest.warns(UserWarning, match=r"conv fwd: im2col failed while it was timed \(no such instruction\)"):
        table = plan(SHAPE, algorithm="find")
    assert table.choice != "im2col"
    assert plan(SHAPE, algorithm="find").choice == table.choice  # no second warning
    (file,) = forget.iterdir()
    assert "im2col" not in next(iter(json.loads(file.read_text())["times"].values()))


def test_times_outlive_the_process(forget):
    first = plan(SHAPE, algorithm="find")
    find._times.cache_clear()
    again = plan(SHAPE)
    assert again == first and all(line.seconds for line in again.lines if not line.excluded)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"machine": 1}', '{"times": {}}', "\0\1", "null", "NaN"])
def test_a_damaged_file_of_times_is_written_anew(forget, content):
    plan(SHAPE, algorithm="find")
    (file,) = forget.iterdir()
    if content in ("null", "NaN"):  # in the place of a time
        content = re.sub(r"\[[^,]+,", f"[{content},", file.read_text())
    file.write_text(content)
    find._times.cache_clear()
    with pytest.warns(UserWarning, match="is no file of times and is written anew"):
        assert plan(SHAPE).choice == "winograd2"
        first = plan(SHAPE, algorithm="find")
    find._times.cache_clear()
    assert plan(SHAPE) == first


def test_times_of_another_machine_are_not_taken(forget, monkeypatch):
    plan(SHAPE, algorithm="find")
    (file,) = forget.iterdir()
    file.write_text(json.dumps(json.loads(file.read_text()) | {"machine": "another"}))
    find._times.cache_clear()
    assert all(line.seconds is None for line in plan(SHAPE).lines)


def test_processes_add_to_one_file(forget):
    plan(SHAPE, algorithm="find")
    find._times.cache_clear()
    other = ConvShape(1, 4, 6, 6, 4, 3, 3)
    find._times(find.machine("cpu"))  # this process has read the file; another one writes
    code = f"from gpucnn.conv import *; plan({SHAPE!r}, direction='wgrad', algorithm='find')"
    env = {**os.environ, "GPUCNN_CACHE": str(forget), "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], env=env, check=True)
    plan(other, algorithm="find")
    (file,) = forget.iterdir()
    assert len(json.loads(file.read_text())["times"]) == 3


def test_a_folder_that_cannot_be_written_is_no_error(forget):
    forget.write_text("a file, not a folder")
    with pytest.warns(UserWarning, match="times are not kept, as .* cannot be written"):
        assert plan(SHAPE, algorithm="find").choice


def test_threads_may_find_at_once(forget):
    arrays, results = operands(SHAPE, "fwd", np.float32), []
    threads = [
        threading.Thread(target=lambda: results.append(run("fwd", SHAPE, *arrays, algorithm="find"))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4 and all(np.allclose(r, results[0], atol=1e-4) for r in results)
