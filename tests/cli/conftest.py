"""A small MNIST folder, and the command run as a user runs it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import gpucnn
from gpucnn.data import digits
from tests.data.pictures import write_mnist

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(gpucnn.__file__).parents[1]), "GPUCNN_NUM_THREADS": "1"}


@pytest.fixture(scope="session")
def small_mnist(tmp_path_factory):
    """A folder with 600 training and 200 test digits as idx files."""
    return write_mnist(tmp_path_factory.mktemp("mnist"), digits()[0][:600], digits()[1][:200])


@pytest.fixture
def start(tmp_path):
    """Start ``python -m gpucnn`` with arguments and GPUCNN_* variables, in an empty folder, as a process."""
    children = []

    def start(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **variables):
        child = subprocess.Popen(
            [sys.executable, "-m", "gpucnn", *map(str, arguments)],
            cwd=tmp_path,
            env={**ENVIRONMENT, **variables},
            stdout=stdout,
            stderr=stderr,
            text=True,
        )
        children.append(child)
        return child

    yield start
    for child in children:
        if child.poll() is None:
            child.kill()
        child.communicate()


@pytest.fixture
def run(start):
    """Run ``python -m gpucnn`` to its end: (exit code, stdout, stderr)."""

    def run(*arguments, **variables):
        child = start(*arguments, **variables)
        out, err = child.communicate(timeout=120)
        return child.returncode, out, err

    return run
