"""The check on a machine with a GPU, as far as it goes without one: stages that hang, what --quick selects."""

import re
import subprocess
import sys
import time

import pytest

from bench import verify


@pytest.fixture(scope="module")
def kernel_tests():
    """The ids of the tests that compute-sanitizer can run."""
    collect = [sys.executable, "-m", "pytest", "-c", "pyproject.toml", "--collect-only", "-q", "-m", "cuda"]
    done = subprocess.run([*collect, "tests/kernels"], cwd=verify.ROOT, capture_output=True, text=True, check=True)
    return [line for line in done.stdout.splitlines() if "::" in line]


def selected(expression, tests):
    """As pytest -k has it: a word is part of a test's id."""
    word = r"\b(?!(?:and|or|not)\b)\w+"

    def matches(test):
        return eval(re.sub(word, lambda found: str(found[0] in test), expression))

    return [*filter(matches, tests)]


@pytest.mark.parametrize(("tool", "most"), [("memcheck", 1300), ("racecheck", 400)])
def test_every_part_of_a_quick_selection_selects_some(kernel_tests, tool, most):
    found = [selected(expression, kernel_tests) for expression in verify.QUICK[tool]]
    assert all(found) and len(set().union(*found)) < most
    for part in verify.PARTS.values():
        assert selected(f"({part}) and (({') or ('.join(verify.QUICK[tool])}))", kernel_tests)


@pytest.mark.parametrize("limits", [(1,), (60, 1)])
def test_a_stage_that_hangs_is_ended_with_all_that_it_started(tmp_path, limits):
    """Also a process that would go on without its parent."""
    report = verify.Report(tmp_path, *limits)
    alive = tmp_path / "alive"
    child = f"import pathlib, time\nwhile True: pathlib.Path({str(alive)!r}).touch(); time.sleep(0.01)"
    parent = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {child!r}])"
    report.stage("hanging", [sys.executable, "-c", parent])
    assert alive.exists()
    alive.unlink()
    time.sleep(0.2)
    assert not alive.exists()
    report.stage("sound", [sys.executable, "-c", "print(1)"])
    hanging, sound = report.content["stages"]
    assert hanging["passed"] is False and "TimeoutExpired" in hanging["problem"]
    assert hanging["seconds"] < 20
    assert sound["passed"] is True and not report.close()


def test_stages(tmp_path, monkeypatch, capsys):
    """All, those of --quick, and those of --only, each in its order; without a GPU none."""
    monkeypatch.setattr(verify, "gpus", lambda: [{"name": "stand-in"}])
    monkeypatch.setattr(verify.Report, "stage", lambda report, name, *_, **__: report.record(name, True))
    monkeypatch.setattr(verify.shutil, "which", lambda *_, **__: "/bin/true")

    def stages(*options):
        monkeypatch.setattr("sys.argv", ["verify", str(tmp_path), *options])
        assert verify.main() == 0
        names = re.findall(r'"name": "([a-z0-9-]+)"', (tmp_path / "verify.json").read_text())
        return [name for name in names if name != "stand-in"]

    tests, train = ["cuda-tests", "cuda-tests-hopper"], [f"train-{dtype}" for dtype in verify.DTYPES]
    sanitizers = ["racecheck", "racecheck-hopper", "memcheck", "memcheck-hopper"]
    assert stages("--quick") == ["build", "info", *tests, *train, *sanitizers]
    assert stages() == [*stages("--quick"), "bench"]
    assert stages("--only", "bench", "info") == ["bench", "info"]
    monkeypatch.setattr(verify, "gpus", list)
    assert verify.main() == 2 and "needs an NVIDIA GPU" in capsys.readouterr().err
