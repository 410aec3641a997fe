"""The builds and dtypes that every kernel test runs on."""

import pytest

from gpucnn import native
from tests.kernels.harness import DTYPES, Kernels
from tests.simt import build


@pytest.fixture(scope="session", params=["simt", pytest.param("cuda", marks=pytest.mark.cuda)])
def kernels(request):
    if request.param == "simt":
        return Kernels(build.load())
    import cupy

    return Kernels(native.cuda(), cupy)


@pytest.fixture(params=DTYPES)
def dtype(request):
    return DTYPES[request.param]
