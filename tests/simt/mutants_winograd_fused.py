"""Slips in winograd2_fused, for test_mutants.py."""

import numpy as np

from tests.kernels import test_winograd_fused as fused

KERNEL, PARTS = "kernels/winograd_fused.cu", "kernels/winograd_fused.cuh"


def blocks(direction):
    def guard(kernels):
        for seed in range(3):
            kernels.seed(seed)
            fused.test_blocks_of_filters_in_groups(kernels, direction, np.dtype(np.float32))

    return guard


def bias(kernels):
    fused.test_bias_and_relu_of_every_block(kernels, np.dtype(np.float32))


def infinite(kernels):
    fused.test_an_infinite_pixel_stays_in_its_tiles(kernels, "fwd")


# name: file, text, its replacement, the test that must fail
MUTANTS = {
    "a stage of planes read before all threads have brought it": (
        *(KERNEL, "            __syncthreads();  // this", "            // this"),
        blocks("fwd"),
    ),
    "transformed filters not waited for": (KERNEL, "cp_async_wait<0>", "cp_async_wait<1>", blocks("fwd")),
    "sums written over planes that are read": (
        *(KERNEL, "            __syncthreads();  // the last", "            // the last"),
        blocks("fwd"),
    ),
    "sums read before all threads have written them": (
        *(KERNEL, "            __syncthreads();\n            outputs", "            outputs"),
        blocks("fwd"),
    ),
    "sums written over the next tiles": (KERNEL, "rows = shared + (at ^ 1)", "rows = shared + at", blocks("fwd")),
    "bias of the first block": (KERNEL, "bias ? bias + channel", "bias ? bias", bias),
    "a column of pixels right of the image": (PARTS, "< p.source_W", "<= p.source_W", blocks("dgrad")),
    "padding of a tile swapped": (PARTS, "place.column - p.pad_w", "place.column - p.pad_h", blocks("dgrad")),
    "channels beyond the last": (PARTS, "channels > 0 ?", "true ?", infinite),
    "a column too many": (PARTS, "columns > 1", "columns > 0", blocks("fwd")),
    "a filter too many": (PARTS, "filter >= results", "filter > results", blocks("fwd")),
}
