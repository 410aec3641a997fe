"""Slips in the implicit matrix products, for test_mutants.py."""

from tests.kernels import test_conv, test_implicit
from tests.kernels.harness import DTYPES

FLOAT32, FLOAT16 = DTYPES["float32"], DTYPES["float16"]


def conv(row, direction, dtype=FLOAT32):
    return lambda kernels: test_conv.test_tolerance_law(kernels, row, "never_square", direction, dtype)


def ring(kernels):
    for seed in range(5):
        kernels.seed(seed)
        test_conv.test_tolerance_law(kernels, "implicit", "same_3x3", "fwd", FLOAT32)


def long_split(kernels):
    test_implicit.test_split_holds_the_law_for_positive_operands(kernels, "many_channels", "fwd")


def long_float16(kernels):
    test_implicit.test_law_for_long_positive_sums(kernels, "fwd")


def channels_last(case, direction):
    return lambda kernels: test_implicit.test_channels_last_has_the_same_bits(
        kernels, "implicit", "float16", FLOAT16, direction, case
    )


def group_bias(kernels):
    test_conv.test_bias_and_relu(kernels, "implicit", "groups_3x3", "fwd", FLOAT16, True, False)


# name: file, text, its replacement, the test that must fail
MUTANTS = {
    "a tile read before all threads have filled it": (
        *("kernels/implicit_gemm.cuh", "        __syncthreads();  // this", "        // this"),
        ring,
    ),
    "a tile overwritten before all threads have read it": (
        *("kernels/implicit_gemm.cuh", "    }\n    __syncthreads();\n}", "    }\n}"),
        ring,
    ),
    "a copy not waited for": ("kernels/implicit_gemm.cuh", "wait<Tile::kStages - 2>", "wait<Tile::kStages - 1>", ring),
    "a column right of the image": (
        *("kernels/implicit_gather.cuh", "x < image.W", "x <= image.W"),
        conv("implicit", "fwd", FLOAT16),
    ),
    "strides of x swapped": (
        *("kernels/implicit_gather.cuh", "image.scale_h = s.stride_h", "image.scale_h = s.stride_w"),
        conv("implicit", "wgrad"),
    ),
    "the bias of another group": ("kernels/implicit_gemm.cu", "bias[group * M + m]", "bias[m]", group_bias),
    "pixels in the place of those of another row": (
        *("kernels/implicit_gather.cuh", "kAcross % kRows + pixel * kRows", "kAcross % kRows"),
        channels_last("whole", "fwd"),
    ),
    "chunks of two groups": (
        *("kernels/implicit_gather.cuh", "image.channels * size_of", "channels * size_of"),
        channels_last("parts_in_groups", "wgrad"),
    ),
    "chunks that are not aligned": (
        *("kernels/implicit_gather.cuh", " && reinterpret_cast<uintptr_t>(data) % 16 == 0", ""),
        lambda kernels: test_implicit.test_channels_last_at_any_address(kernels, "float16"),
    ),
    "groups of outputs one after the other": (
        *("kernels/implicit_gemm.cu", "* s.groups + group) * M : (n", "+ group * plane) * M : (n"),
        channels_last("whole_in_groups", "dgrad"),
    ),
    "a position that stays in its image": (
        *("kernels/implicit_wgrad.cu", "p -= s.P, ++n;", "p -= s.P;"),
        conv("implicit", "wgrad", FLOAT16),
    ),
    "filters not rounded to TF32": (
        *("kernels/implicit_gemm.cu", "if (tf32) filters[i]", "if (tf32 && gradient) filters[i]"),
        lambda kernels: test_implicit.test_tf32_rounds_both_operands_to_nearest(kernels, "fwd", 1),
    ),
    "a small part left out": (
        *("kernels/implicit_gemm.cuh", "product(0, 1, partial, 0);", ""),
        conv("implicit_split", "fwd"),
    ),
    "sums of split products that stay in tensor cores": (
        *("kernels/implicit_gemm.cuh", "product(0, 0, partial, 0);", "product(0, 0, sums_, j);"),
        long_split,
    ),
    "sums of 16-bit products that stay in tensor cores": (
        *("kernels/implicit_gemm.cuh", "if (steps % kStepsInTensorCores) return;", "if (steps) return;"),
        long_float16,
    ),
    "promoted sums that also stay": (
        *("kernels/implicit_gemm.cuh", "sums_[i][j][at] = 0;", ""),
        long_float16,
    ),
}
