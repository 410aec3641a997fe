"""Mutants, as of test_mutants, of what implicit_hopper's tiles are and how they are stored."""

import pytest

from tests.kernels import test_implicit_hopper
from tests.simt.test_mutants import check_caught

KERNEL = "kernels/implicit_hopper.cu"


def choice(kernels):
    test_implicit_hopper.test_filters_of_a_tile(kernels, 64 * 56 * 56, 256, 15, False, 128)


def stores(kernels):
    for filters in (72, 392):
        test_implicit_hopper.test_stores_by_the_tma(kernels, "float16", filters)


def strided(kernels):
    test_implicit_hopper.test_images_in_channels_last_order_as_they_are(kernels, "float16")


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
    "a block that ends while pieces are read": (KERNEL, "tma_store_wait<0>();", ";", stores),
    "every other pixel stored side by side": (
        *("csrc/cuda/conv_implicit_hopper.cpp", "h.apart == 1 && w.apart == 1", "h.apart == 1"),
        strided,
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_caught(name, tmp_path):
    check_caught(MUTANTS[name], tmp_path)
