"""The device "cuda" without a GPU."""

import sys

import pytest

from gpucnn import device, native
from tests.kernels.harness import DTYPES
from tests.simt import build, fake_cupy


@pytest.fixture(scope="module")
def stand_in():
    """Arrays of the stand-in for CuPy, and the native code that runs on the host."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "cupy", fake_cupy)
        patch.setattr(native, "_load_cuda", lambda: (build.load(), None))
        device._cuda_rng.cache_clear()
        yield
    device._cuda_rng.cache_clear()


@pytest.fixture
def first_gpu_again():
    """What a test that uses another GPU leaves behind it."""
    yield
    device.use("cuda")


@pytest.fixture(params=DTYPES)
def dtype(request):
    return request.param
