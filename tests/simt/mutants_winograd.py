"""Slips in Winograd's transforms and products, for test_mutants.py."""

from tests.kernels import test_conv, test_winograd
from tests.kernels.harness import DTYPES

FLOAT32 = DTYPES["float32"]


def winograd(case, direction, row="winograd4"):
    return lambda kernels: test_conv.test_tolerance_law(kernels, row, case, direction, FLOAT32)


def chunks_of_split_planes(kernels):
    test_winograd.test_any_workspace(kernels, "winograd4_split", "wgrad")


def sliced_winograd(kernels):
    test_winograd.test_wgrad_in_slices(kernels, "winograd4", 1)


# name: file, text, its replacement, the test that must fail
MUTANTS = {
    "outputs read before the warp has written them": (
        *("kernels/winograd.cu", "        __syncwarp();\n        for", "        for"),
        winograd("same_3x3", "fwd"),
    ),
    "outputs overwritten before the warp has read them": (
        *("kernels/winograd.cu", "        __syncwarp();  // the next", "        // the next"),
        winograd("tile_plus_one", "fwd"),
    ),
    "padding of tiles swapped": (
        "kernels/winograd.cu",
        "step - b.pad_w",
        "step - b.pad_h",
        winograd("groups_3x3", "fwd"),
    ),
    "a tile that ends right of the image": (
        *("kernels/winograd.cu", "column < corner.columns", "column <= corner.columns"),
        winograd("same_3x3", "dgrad"),
    ),
    "filters of another group": (
        *("kernels/winograd.cu", "group * s.Kg() + column", "column"),
        winograd("groups_3x3", "dgrad"),
    ),
    "filters not padded with zeros": (
        *("kernels/winograd.cu", "column < columns ?", "true ?"),
        winograd("tile_plus_one", "fwd", "winograd4_split"),
    ),
    "the gradient of split planes taken for the forward product": (
        *("csrc/cuda/conv_winograd.cpp", "else if (plan.gradient)", "else if (false)"),
        winograd("same_3x3", "dgrad", "winograd4_split"),
    ),
    "sums of chunks of split planes lost": (
        *("csrc/cuda/conv_winograd.cpp", "dy_planes, sums, first > 0", "dy_planes, sums, false"),
        chunks_of_split_planes,
    ),
    "a slice of the tiles lost": ("kernels/winograd.cu", "slice < slices;", "slice < slices - 1;", sliced_winograd),
}
