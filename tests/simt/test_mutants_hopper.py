"""Mutants, as of test_mutants, of what implicit_hopper's tiles are and how they are stored."""

import pytest

from tests.kernels import test_implicit_hopper
from tests.simt.test_mutants import check_caught

KERNEL = "kernels/implicit_hopper.cu"


def choice(kernels):
    test_implicit_hopper.test_filters_of_a_tile(kernels, 64 * 56 * 56, 256, 15, 128)


wide_bias = test_implicit_hopper.test_bias_and_relu_of_wide_tiles


# name: file, text, its replacement, the test that must fail
MUTANTS = {
    "the first filters twice": (KERNEL, "first_filter + i * kHopperFilters", "first_filter", wide_bias),
    "a second tile inside the first": (KERNEL, "* kFilters + lane % 4", "* kHopperFilters + lane % 4", wide_bias),
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
    "stores that cost nothing": (KERNEL, "steps * kWideStep + kWideStores", "steps * kWideStep", choice),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_caught(name, tmp_path):
    check_caught(MUTANTS[name], tmp_path)
