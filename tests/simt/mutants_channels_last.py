"""Mutants of what works on channels_last arrays, as those of test_mutants.py."""

from tests.kernels import test_pool
from tests.kernels.harness import DTYPES

FLOAT16 = DTYPES["float16"]


def pool(case):
    return lambda kernels: test_pool.test_channels_last(kernels, case, FLOAT16)


MUTANTS = {
    "every second vector of channels left out": (
        *("kernels/pool.cu", "int(i % vectors) * width", "int(i % vectors) / 2 * 2 * width"),
        pool("vectors"),
    ),
    "rows and columns of pixels swapped": (
        *("kernels/pool.cu", "pixel / columns % rows, pixel % columns,", "pixel % columns, pixel / columns % rows,"),
        pool("vectors"),
    ),
}
