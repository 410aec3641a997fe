"""Mutants, as of test_mutants, of what implicit_hopper's tiles are and how they are stored."""

import pytest

from tests.kernels import test_implicit_hopper, test_implicit_hopper_statistics
from tests.simt.test_mutants import check_caught

KERNEL, STATISTICS = "kernels/implicit_hopper.cu", "kernels/implicit_hopper_statistics.cuh"


def choice(kernels):
    test_implicit_hopper.test_filters_of_a_tile(kernels, 64 * 56 * 56, 256, 15, False, 128)


def stores(kernels):
    for filters in (72, 392):
        test_implicit_hopper.test_stores_by_the_tma(kernels, "float16", filters)


def strided(kernels):
    test_implicit_hopper.test_images_in_channels_last_order_as_they_are(kernels, "float16")


def statistics(kernels):
    for seed in range(3):
        kernels.seed(seed)
        for channels_last in (False, True):
            test_implicit_hopper_statistics.test_statistics(kernels, "float16", "narrow", channels_last)


def merged(kernels):
    for seed in range(3):
        kernels.seed(seed)
        check = test_implicit_hopper_statistics.test_merged_tiles.hypothesis.inner_test
        check(kernels, positions=700, parts=2, filters=9, offset=1000, seed=seed)


image_by_image = test_implicit_hopper_statistics.test_images_one_at_a_time
large_mean = test_implicit_hopper_statistics.test_a_mean_far_above_the_deviation
wide_bias = test_implicit_hopper.test_bias_and_relu_of_wide_tiles


# name: file, text, its replacement, the test that must fail
MUTANTS = {
    "the first filters twice": (KERNEL, "first_filter + i * kHopperFilters", "first_filter", wide_bias),
    "a second tile inside the first": (KERNEL, "* kFilters, filter", "* kHopperFilters, filter", wide_bias),
    "one thread alone gives registers": (
        KERNEL,
        "if constexpr (Shape::kAlone) give_registers<kProducerRegisters>();\n        if (!is_producer()) return;",
        "if (!is_producer()) return;\n        if constexpr (Shape::kAlone) give_registers<kProducerRegisters>();",
        wide_bias,
    ),
    "registers that do not come in such numbers": (
        *("kernels/implicit_hopper.cuh", "kProducerRegisters = 40", "kProducerRegisters = 44"),
        wide_bias,
    ),
    "the bias of the other filter": (KERNEL, "bias[filter + 8 * j + e]", "bias[filter + 8 * j]", wide_bias),
    "stores that cost nothing": (
        KERNEL,
        "steps * kWideStep + (by_tma ? kWideTmaStores : kWideStores)",
        "steps * kWideStep",
        choice,
    ),
    "a piece overwritten before it was read": (KERNEL, "wait<kPieces - 1>", "wait<kPieces>", stores),
    "a piece written before its wait": (
        *(KERNEL, "// the newest are in other places\n            __syncwarp();", ""),
        stores,
    ),
    "a piece stored before all lanes have written it": (
        *(KERNEL, "tma_store_fence();\n            __syncwarp();", "tma_store_fence();"),
        stores,
    ),
    "writes that the TMA does not see": (KERNEL, "            tma_store_fence();\n", "", stores),
    "a piece without the swizzle": (KERNEL, "(j ^ row) * 16", "j * 16", stores),
    "the first positions twice": (KERNEL, "0, position + 8 * i)", "0, position)", stores),
    "a block that ends while pieces are read": (KERNEL, "tma_store_wait<0>();  // shared", ";  // shared", stores),
    "every other pixel stored side by side": (
        *("csrc/cuda/conv_implicit_hopper.cpp", "h.apart == 1 && w.apart == 1", "h.apart == 1"),
        strided,
    ),
    "differences from an origin that is not there yet": (
        *(STATISTICS, "i % 2);\n    meet();", "i % 2);"),
        statistics,
    ),
    "sums of other warps that are not there yet": (
        *(STATISTICS, "    meet();\n    if (thread", "    if (thread"),
        statistics,
    ),
    "pieces written over sums that others still read": (
        STATISTICS,
        "meet();  // the memory",
        "// the memory",
        statistics,
    ),
    "sums written over pieces that the TMA still reads": (
        *(KERNEL, "tma_store_wait<0>();  // of pieces", ";  // of pieces"),
        statistics,
    ),
    "positions behind the last counted": (
        STATISTICS,
        "second ? value(pair[1], i % 2) - origin : 0",
        "value(pair[1], i % 2) - origin",
        statistics,
    ),
    "the sums of other filters": (
        STATISTICS,
        "row / 2 * 8 + lane % 4 * 2 + row % 2",
        "row % 2 * 8 + lane % 4 * 2 + row / 2",
        statistics,
    ),
    "a lane that keeps what it gives": (
        STATISTICS,
        "given = is_upper ? lower : upper",
        "given = is_upper ? upper : lower",
        statistics,
    ),
    "no differences": (
        STATISTICS,
        "first ? value(pair[0], i % 2) - origin",
        "first ? value(pair[0], i % 2)",
        statistics,
    ),
    "statistics of the first images only": (
        *("csrc/cuda/conv_implicit_hopper.cpp", "if (statistics) statistics +=", "if (false) statistics +="),
        image_by_image,
    ),
    "a tile moved without its sum": ("kernels/merge_statistics.cu", "2 * sum + n * moved", "n * moved", merged),
    "slices read before they are written": (
        *("kernels/merge_statistics.cu", "= value;\n    __syncthreads();", "= value;"),
        merged,
    ),
    "slices overwritten before they are read": (
        *("kernels/merge_statistics.cu", "__syncthreads();  // slower", "// slower"),
        merged,
    ),
    "every part from the first tile on": (
        *("kernels/merge_statistics.cu", "part += ceil_div(here, int64_t(kHopperPositions)) * 3 * filters;", ""),
        merged,
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_caught(name, tmp_path):
    check_caught(MUTANTS[name], tmp_path)
