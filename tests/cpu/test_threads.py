"""The thread pool: its size, several Python threads at once, a fork after use."""

import os
import signal
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from gpucnn.conv.shape import ConvShape
from tests.cases import operands

SHAPE = ConvShape(4, 16, 20, 21, 24, 3, 3, pad=(1, 1))


def test_number_of_threads(kernels):
    lib = kernels.lib
    assert lib.num_threads() >= 1
    lib.set_num_threads(3)
    assert lib.num_threads() == 3
    for wrong in (0, -1, 10**6):
        with pytest.raises(ValueError, match=f"^set_num_threads: takes 1 to 4096 threads, but came {wrong}"):
            lib.set_num_threads(wrong)
    assert lib.num_threads() == 3


def test_default_is_the_cpus_it_may_use():
    """Not those that the machine has: a job may be bound to some."""
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
        "from gpucnn import native; print(native.cpu().num_threads())"
    )
    environment = {name: value for name, value in os.environ.items() if name != "GPUCNN_NUM_THREADS"}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    out = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
    assert out.stdout.split() == [b"1"]


def test_several_python_threads(kernels):
    """Results of calls that run at the same time are those of calls one after another."""
    kernels.seed(1)
    x, w = operands(SHAPE, "fwd", np.float32)
    batches = [x + np.float32(i) for i in range(8)]

    def compute(batch):
        return kernels.conv("im2col", "fwd", SHAPE, "float32", batch, w).tobytes()

    wanted = [compute(batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(10):
            assert list(pool.map(compute, batches)) == wanted


def test_fork_after_use(kernels):
    """The pool's threads do not survive a fork: the child works alone, to the same bits, and does not wait for them."""
    kernels.seed(1)
    a, b = operands(SHAPE, "wgrad", np.float32)
    wanted = kernels.conv("im2col", "wgrad", SHAPE, "float32", a, b).tobytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python warns of forks in processes with threads
        child = os.fork()
    if child == 0:
        signal.alarm(60)  # ends a child that hangs
        same = kernels.conv("im2col", "wgrad", SHAPE, "float32", a, b).tobytes() == wanted
        os._exit(0 if same and kernels.lib.num_threads() == 1 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert kernels.lib.num_threads() == 2  # the parent keeps its pool
    assert kernels.conv("im2col", "wgrad", SHAPE, "float32", a, b).tobytes() == wanted
