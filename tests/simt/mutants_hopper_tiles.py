"""Slips in the tiles of implicit_hopper and how they are stored and measured, for test_mutants.py."""

from tests.kernels import test_implicit_hopper, test_implicit_hopper_statistics

KERNEL, STATISTICS = "kernels/implicit_hopper.cu", "kernels/implicit_hopper_statistics.cuh"


def stores(kernels):
    test_implicit_hopper.test_stores_by_the_tma(kernels, "float16", 72)


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


wide_bias = test_implicit_hopper.test_bias_and_relu_of_wide_tiles


# name: file, text, its replacement, the test that must fail
MUTANTS = {
    "the first filters twice": (KERNEL, "first_filter + i * kHopperFilters", "first_filter", wide_bias),
    "one thread alone gives registers": (
        KERNEL,
        "if constexpr (Shape::kAlone) give_registers<kProducerRegisters>();\n        if (!is_producer()) return;",
        "if (!is_producer()) return;\n        if constexpr (Shape::kAlone) give_registers<kProducerRegisters>();",
        wide_bias,
    ),
    "a piece overwritten before it was read": (KERNEL, "wait<kPieces - 1>", "wait<kPieces>", stores),
    "a piece stored before all lanes have written it": (
        *(KERNEL, "tma_store_fence();\n            __syncwarp();", "tma_store_fence();"),
        stores,
    ),
    "writes that the TMA does not see": (KERNEL, "            tma_store_fence();\n", "", stores),
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
    "slices read before they are written": (
        *("kernels/merge_statistics.cu", "= value;\n    __syncthreads();", "= value;"),
        merged,
    ),
    "every part from the first tile on": (
        *("kernels/merge_statistics.cu", "part += ceil_div(here, int64_t(kHopperPositions)) * 3 * filters;", ""),
        merged,
    ),
}
