"""Settings: the environment, ``using``, and what each level of GPUCNN_DEBUG prints."""

import os
import re
import subprocess
import sys
import threading

import numpy as np
import pytest

import gpucnn as g
from gpucnn import config


def python(code, **variables):
    """A new interpreter with these environment variables."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GPUCNN_")}
    environment = {**kept, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **variables}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)


SHOW = "import gpucnn; from gpucnn import config; print(*(config.get(n) for n in sorted(config.SETTINGS)))"


def test_defaults():
    assert python(SHOW).stdout == f"~/.cache/gpucnn 0 False False inf None False {2**28}\n"
    assert python(SHOW, XDG_CACHE_HOME="/c").stdout.startswith("/c/gpucnn 0 ")


def test_environment():
    variables = {
        "GPUCNN_CACHE": "/c",
        "GPUCNN_DEBUG": "1",
        "GPUCNN_DETERMINISTIC": "1",
        "GPUCNN_FIND": "1",
        "GPUCNN_MAX_ERROR": "2.5",
        "GPUCNN_NUM_THREADS": "1",
        "GPUCNN_TF32": "1",
        "GPUCNN_WORKSPACE": "4096",
    }
    assert python(SHOW, **variables).stdout == "/c 1 True True 2.5 1 True 4096\n"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("GPUCNN_DEBUG", "yes"),
        ("GPUCNN_DEBUG", "-1"),
        ("GPUCNN_FIND", "2"),
        ("GPUCNN_MAX_ERROR", "0"),
        ("GPUCNN_MAX_ERROR", "nan"),
        ("GPUCNN_NUM_THREADS", "0"),
        ("GPUCNN_TF32", "true"),
        ("GPUCNN_WORKSPACE", "1e6"),
        ("GPUCNN_WORKSPACE", ""),
    ],
)
def test_bad_values_name_the_variable(variable, value):
    done = python(SHOW, **{variable: value})
    assert done.returncode == 1
    assert re.search(rf"\nValueError: {variable}: .+, but came '{value}' \(.+\)\n$", done.stderr)


def test_a_bad_value_is_one_line_of_the_command():
    run = [sys.executable, "-m", "gpucnn", "train", "--epochs", "1"]
    done = subprocess.run(run, env={**os.environ, "GPUCNN_DEBUG": "x"}, capture_output=True, text=True)
    assert done.returncode == 2
    assert re.fullmatch(r"gpucnn train: GPUCNN_DEBUG: .+, but came 'x' \(.+\)\n", done.stderr)


def test_number_of_threads():
    code = "from gpucnn import native; print(native.cpu().num_threads())"
    assert python(code, GPUCNN_NUM_THREADS="1").stdout == "1\n"


def test_using_nests_and_ends():
    with g.using(workspace=10, debug=1):
        with g.using(workspace=20):
            assert (config.get("workspace"), config.get("debug")) == (20, 1)
        assert config.get("workspace") == 10
    with pytest.raises(ZeroDivisionError), g.using(workspace=30):
        raise ZeroDivisionError
    assert config.get("workspace") == 2**28


def test_using_is_of_one_thread():
    seen = []
    with g.using(workspace=10):
        thread = threading.Thread(target=lambda: seen.append(config.get("workspace")))
        thread.start()
        thread.join()
    assert seen == [2**28]


@pytest.mark.parametrize("name", ["memory", "num_threads", "cache"])
def test_using_takes_known_settings(name):
    with pytest.raises(ValueError, match=rf"using: takes .*workspace.*, but came {name}"), g.using(**{name: 1}):
        pass


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("workspace", -1),
        ("workspace", 1.5),
        ("workspace", "all"),
        ("tf32", 2),
        ("debug", None),
        ("max_error", 0),
        ("max_error", "2"),
    ],
)
def test_using_checks_values(setting, value):
    with pytest.raises(ValueError, match=rf"using: {setting} .*, but came {value!r}"), g.using(**{setting: value}):
        pass


def step(level, algorithm="auto"):
    with g.using(debug=level):
        x, weight = g.ones(2, 3, 5, 4, requires_grad=True), g.ones(4, 3, 3, 2, requires_grad=True)
        g.relu(g.conv2d(x, weight, algorithm=algorithm)).sum().backward()


def test_debug_0_is_silent(capsys):
    step(0)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("asked", "taken"), [("auto", "im2col"), ("im2col", "im2col"), ("direct", "direct")])
def test_debug_1_tells_the_algorithm_of_each_convolution(capsys, asked, taken):
    """The name that was asked for is used in all three directions."""
    step(1, asked)
    text = capsys.readouterr().err
    lines = [line for line in text.splitlines() if line.startswith("gpucnn: ")]
    assert [line.split()[:3] for line in lines] == [["gpucnn:", "conv", d] for d in ("fwd", "dgrad", "wgrad")]
    assert all(re.search(rf"float32 on cpu, .*N=2.* -> {taken}$", line) for line in lines)
    step(1, asked)  # a table is shown once
    assert capsys.readouterr().err.splitlines() == lines


def test_debug_2_tells_shape_bytes_and_time_of_each_operation(capsys):
    step(2)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("gpucnn: ")]
    operations = [line for line in lines if "conv " not in line]
    assert [line.split()[1] for line in operations] == ["conv2d", "relu", "sum"]
    assert re.fullmatch(r"gpucnn: relu -> 2x4x3x3 float32 cpu 288 bytes \d+ us", operations[1])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_debug_3_names_the_operation_of_the_first_nan(dtype):
    x = g.tensor([-1.0, 1.0], dtype=dtype)
    with np.errstate(invalid="ignore"), g.using(debug=3), pytest.raises(FloatingPointError, match=r"^log: .*finite"):
        g.exp(g.log(x))
    with np.errstate(invalid="ignore"):
        g.exp(g.log(x))


def test_debug_3_names_the_operation_of_the_first_nan_in_backward():
    x = g.tensor([0.0, 1.0], requires_grad=True)
    with np.errstate(divide="ignore"), g.using(debug=3):
        y = g.sqrt(x) * 2
        with pytest.raises(FloatingPointError, match=r"^sqrt: gradients are finite .*, but"):
            y.sum().backward()
