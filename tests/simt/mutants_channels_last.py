"""Mutants of what works on channels_last arrays, as those of test_mutants.py."""

from tests.kernels import test_norm, test_pool, test_transpose
from tests.kernels.harness import DTYPES

FLOAT32, FLOAT16 = DTYPES["float32"], DTYPES["float16"]
ROWS = 300, 70, 1


def pool(case):
    return lambda kernels: test_pool.test_channels_last(kernels, case, FLOAT16)


def transpose(sizes, multiple=1):
    def guard(kernels):
        for seed in range(5):
            kernels.seed(seed)
            test_transpose.test_transpose_matrices(kernels, sizes, multiple, 2)

    return guard


def stats(kernels):
    for seed in range(5):
        kernels.seed(seed)
        test_norm.test_stats(kernels, ROWS, 0, FLOAT32)


def gradient(kernels):
    test_norm.test_backward(kernels, test_norm.make_parts(ROWS, FLOAT16), True, True, FLOAT16)


MUTANTS = {
    "every second vector of channels left out": (
        *("kernels/pool.cu", "int(i % vectors) * width", "int(i % vectors) / 2 * 2 * width"),
        pool("vectors"),
    ),
    "rows and columns of pixels swapped": (
        *("kernels/pool.cu", "pixel / columns % rows, pixel % columns,", "pixel % columns, pixel / columns % rows,"),
        pool("vectors"),
    ),
    "a narrow tile as wide as its power of two": (
        *("kernels/transpose.cu", "if (j < n) f(i, j);", "f(i, j);"),
        transpose((3, 3, 130)),
    ),
    "a tile written before all of it is read": (
        *("kernels/transpose.cu", "        __syncthreads();\n        T* const to", "        T* const to"),
        transpose((2, 64, 64)),
    ),
    "a tile overwritten before all of it is written": (
        *("kernels/transpose.cu", "        __syncthreads();  // the next", "        // the next"),
        transpose((9, 64, 72)),
    ),
    "no zeros where there are no rows": (
        *("kernels/transpose.cu", "first_row + row < rows ?", "true ?"),
        transpose((2, 65, 63), 8),
    ),
    "totals overwritten before all threads have read them": (
        *("kernels/norm_rows.cu", "    __syncthreads();  // slower", "    // slower"),
        stats,
    ),
    "sums of threads before they are there": (
        *(
            "kernels/norm_rows.cu",
            "        __syncthreads();\n        if (g.row() >= rows) continue;",
            "        if (g.row() >= rows) continue;",
        ),
        stats,
    ),
    "the sums of the first parts only": (
        *("kernels/norm_rows.cu", "part < g.parts;", "part < 2;"),
        stats,
    ),
    "a variance of rows about zero": (
        *(
            "kernels/norm_rows.cu",
            "static_cast<Acc>(values.value[k]) - centre[k];",
            "static_cast<Acc>(values.value[k]);",
        ),
        lambda kernels: test_norm.test_stats(kernels, ROWS, 1000, FLOAT32),
    ),
    "a gradient of rows in front of the ReLU": (
        *("kernels/norm_rows.cu", "if (!(static_cast<Acc>(outputs.value[k]) > 0))", "if (false)"),
        gradient,
    ),
    "the mean's part of the gradient left out": (
        *("kernels/norm_rows.cu", "gradient -= shift[k] + ", "gradient -= "),
        gradient,
    ),
}
