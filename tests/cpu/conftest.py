"""The extension _cpu under the harness of the kernel tests: same functions, same guard bands."""

import ml_dtypes
import numpy as np
import pytest

from gpucnn import native
from tests.kernels.harness import Kernels

CPU_DTYPES = {
    **{name: np.dtype(name) for name in ("float32", "float16", "float64")},
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
}


class Cpu(Kernels):
    """What is an order of threads for simt is a number of threads here."""

    def seed(self, number):
        self.lib.set_num_threads(1 + number)


@pytest.fixture
def kernels():
    lib = native.cpu()
    before = lib.num_threads()
    yield Cpu(lib)
    lib.set_num_threads(before)


@pytest.fixture(params=CPU_DTYPES)
def dtype(request):
    return CPU_DTYPES[request.param]
