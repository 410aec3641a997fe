"""The tests run against the gpucnn that pip installed, or against the checkout where it is installed as editable."""

import os
import signal
import sys
from pathlib import Path

os.environ["GPUCNN_CACHE"] = ""  # times from another run must not change what "auto" takes

import hypothesis
import pytest

# Tests import tests.* and bench.* from the checkout. Its root goes last on the path: in front, the checkout's gpucnn,
# which may have no extensions, would hide the installed one (`python -m pytest` puts it there).
ROOT = str(Path(__file__).resolve().parent.parent)
sys.path[:] = [folder for folder in sys.path if folder not in ("", ROOT)] + [ROOT]

import gpucnn  # noqa: E402
from gpucnn.device import cuda_problem  # noqa: E402

NO_GPU = "no usable GPU"

# A shell lets its background jobs ignore Ctrl-C, and so would the processes that a test starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Times vary with the machine, and an example found by chance on one machine is of no use on another.
hypothesis.settings.register_profile("gpucnn", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("gpucnn")


def pytest_report_header():
    return f"gpucnn {gpucnn.__version__} from {Path(gpucnn.__file__).parent}; GPU: {cuda_problem() or 'usable'}"


def pytest_collection_modifyitems(items):
    if cuda_problem():
        for item in items:
            if item.get_closest_marker("cuda"):
                item.add_marker(pytest.mark.skip(reason=NO_GPU))


def pytest_runtest_setup(item):
    if item.get_closest_marker("torch"):
        pytest.importorskip("torch")


def _gpu_is_lost():
    """A kernel that faulted takes the GPU from its process for good."""
    runtime = sys.modules["cupy"].cuda.runtime
    try:
        runtime.deviceSynchronize()
    except runtime.CUDARuntimeError:
        return True
    return False


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    """Of several processes (pytest-xdist), end one that lost the GPU, so that a new one goes on with its tests."""
    report = yield
    if report.failed and hasattr(item.config, "workerinput") and "cupy" in sys.modules and _gpu_is_lost():
        print(f"{item.nodeid}\n{report.longreprtext}", file=sys.__stderr__, flush=True)
        os._exit(1)
    return report


@pytest.fixture(scope="session", autouse=True)
def _away_from_the_checkout(tmp_path_factory):
    """An interpreter that a test starts has its folder first on the path, so that folder must hold no gpucnn."""
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("folder"))
    yield
    os.chdir(before)


@pytest.fixture(autouse=True)
def _seed():
    """No test depends on the random numbers that tests before it drew."""
    gpucnn.manual_seed(0)


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter):
    without = sum(NO_GPU in str(report.longrepr) for report in terminalreporter.stats.get("skipped", []))
    if without:
        terminalreporter.write_line(f"{without} tests did not run for want of a GPU")
