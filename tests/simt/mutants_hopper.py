"""Slips in implicit_hopper and what feeds it, for test_mutants.py."""

from tests.kernels import test_conv, test_implicit_hopper
from tests.kernels.harness import DTYPES

FLOAT16 = DTYPES["float16"]


def hopper(case, direction):
    return lambda kernels: test_conv.test_tolerance_law(kernels, "implicit_hopper", case, direction, FLOAT16)


def hopper_ring(kernels):
    for seed in range(3):
        kernels.seed(seed)
        test_implicit_hopper.test_tiles(kernels, "fwd", "float16", "ring")


def hopper_tiles(direction):
    return lambda kernels: test_implicit_hopper.test_tiles(kernels, direction, "float16", "tiles")


def hopper_chunks(kernels):
    test_implicit_hopper.test_images_in_any_workspace(kernels, "fwd")


# name: file, text, its replacement, the test that must fail
MUTANTS = {
    "a stage filled before it is free": (
        *("kernels/implicit_hopper.cuh", "parity ^ 1);", "parity);"),
        hopper_ring,
    ),
    "a stage not waited for": (
        *("kernels/implicit_hopper.cuh", "barrier_wait(&full[stage], parity);", ""),
        hopper_ring,
    ),
    "a parity that stays": ("kernels/implicit_hopper.cuh", ", parity ^= 1;", ";", hopper_ring),
    "a stage given back while it is read": (
        *("kernels/implicit_hopper.cuh", "barrier_arrive(&empty[before]);", "barrier_arrive(&empty[stage]);"),
        hopper_ring,
    ),
    "a step's products not waited for": (
        *("kernels/implicit_hopper.cuh", "wgmma_wait<1>(sums);", "wgmma_wait<2>(sums);"),
        hopper_ring,
    ),
    "the last products not waited for": ("kernels/implicit_hopper.cuh", "wgmma_wait<0>(sums);", "", hopper_ring),
    "a filter too many": (
        *("kernels/implicit_hopper.cu", "j + e < s.filters) *place", "j + e <= s.filters) *place"),
        hopper("never_square", "fwd"),
    ),
    "a position too many": (
        *("kernels/implicit_hopper.cu", "position >= s.positions()", "position > s.positions()"),
        hopper("one_pixel", "fwd"),
    ),
    "the last channels left out": (
        *("kernels/implicit_hopper.cu", "ceil_div(s.channels, kHopperChannels)", "s.channels / kHopperChannels"),
        hopper_tiles("fwd"),
    ),
    "an offset without dilation": (
        *("csrc/cuda/conv_implicit_hopper.cpp", "-pad, stride, dilation,", "-pad, stride, 1,"),
        hopper("never_square", "fwd"),
    ),
    "taps of a phase in the order of the filter": (
        *("csrc/cuda/conv_implicit_hopper.cpp", "-p.tap_apart", "p.tap_apart"),
        hopper("same_3x3", "dgrad"),
    ),
    "a corner off by one": (
        *(
            "csrc/cuda/conv_implicit_hopper.cpp",
            "lower + (positions - 1) * stride - (size - 1)",
            "lower + (positions - 1) * stride - size",
        ),
        hopper("same_3x3", "fwd"),
    ),
    "a corner further away than a map can say": (
        *("csrc/cuda/conv_implicit_hopper.cpp", "(size - 1), -128)", "(size - 1), -999)"),
        lambda kernels: test_implicit_hopper.test_positions_far_before_the_last_pixel(kernels, "fwd"),
    ),
    "pixels without the swizzle": (
        *("csrc/cuda/tensor_map.cpp", "CU_TENSOR_MAP_SWIZZLE_128B", "CU_TENSOR_MAP_SWIZZLE_NONE"),
        hopper("same_3x3", "fwd"),
    ),
    "images of a chunk from the first on": (
        *("csrc/cuda/conv_implicit_hopper.cpp", "data) + n * bytes()", "data) + 0 * bytes()"),
        hopper_chunks,
    ),
    "positions of every split from the first on": (
        *("kernels/implicit_hopper_wgrad.cu", "(first_step + step) * kHopperTerms", "step * kHopperTerms"),
        test_implicit_hopper.test_wgrad_in_any_workspace,
    ),
    "more terms than tensor cores may add up": (
        *("csrc/cuda/conv_implicit_hopper.cpp", "kMostTerms = 6144", "kMostTerms = 12288"),
        test_implicit_hopper.test_images_at_a_time_add_up_no_longer_sums,
    ),
    "sums of other images overwritten": (
        *("kernels/implicit_hopper_wgrad.cu", "s.accumulate ? *place + sum : sum", "sum"),
        test_implicit_hopper.test_wgrad_in_any_workspace,
    ),
    "the other half of the channels": (
        *("kernels/implicit_hopper_wgrad.cu", "first_channel + half * kHopperChannels", "first_channel"),
        hopper_tiles("wgrad"),
    ),
}
