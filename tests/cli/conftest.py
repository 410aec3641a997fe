"""A small MNIST folder, and the command run as a user runs it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import gpucnn
from gpucnn.data import digits

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(gpucnn.__file__).parents[1]), "GPUCNN_NUM_THREADS": "1"}


@pytest.fixture(scope="session")
def small_mnist(tmp_path_factory):
    """A folder with 600 training and 200 test digits as idx files."""
    folder = tmp_path_factory.mktemp("mnist")
    for part, data in zip(("train", "t10k"), (digits()[0][:600], digits()[1][:200]), strict=True):
        for kind, array in (("images", data.images[:, 0]), ("labels", data.labels.astype("uint8"))):
            sizes = b"".join(n.to_bytes(4, "big") for n in array.shape)
            header = bytes([0, 0, 8, array.ndim]) + sizes
            (folder / f"{part}-{kind}-idx{array.ndim}-ubyte").write_bytes(header + array.tobytes())
    return folder


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
