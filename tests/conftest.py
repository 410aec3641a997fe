"""What all tests share: the path of their own modules, the skips for want of a GPU or PyTorch, and a fixed seed."""

import importlib.util
import sys
from pathlib import Path

import pytest

# Only this folder: the checkout stays off sys.path, so that the tests meet the gpucnn that is installed.
sys.path.insert(0, str(Path(__file__).parent))

import gpucnn
from gpucnn import device

NEEDS = {
    "cuda": device.cuda_problem(),
    "torch": None if importlib.util.find_spec("torch") else "PyTorch is not installed",
}
_not_run = pytest.StashKey[dict]()


def pytest_collection_modifyitems(config, items):
    counts = config.stash.setdefault(_not_run, dict.fromkeys(NEEDS, 0))
    for item in items:
        for marker, problem in NEEDS.items():
            if problem and item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=problem))
                counts[marker] += 1


def pytest_terminal_summary(terminalreporter, config):
    counts = config.stash.get(_not_run, {})
    for marker, what in (("cuda", "a GPU"), ("torch", "PyTorch")):
        if counts.get(marker):
            terminalreporter.write_line(f"{counts[marker]} tests were skipped for want of {what}: {NEEDS[marker]}")


@pytest.fixture(autouse=True)
def _seed():
    gpucnn.manual_seed(0)
