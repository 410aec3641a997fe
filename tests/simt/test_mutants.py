"""A test of the kernel tests: each small slip in a source makes the test that guards it fail."""

import shutil

import numpy as np
import pytest

from tests.kernels import (
    test_conv,
    test_cross_entropy,
    test_depthwise,
    test_fft,
    test_gemm,
    test_im2col,
    test_implicit,
    test_implicit_hopper,
    test_norm,
    test_pool,
    test_softmax,
    test_winograd,
)
from tests.kernels.harness import DTYPES, Kernels
from tests.simt import build, mutants_channels_last, mutants_winograd_fused

FLOAT32, FLOAT16 = DTYPES["float32"], DTYPES["float16"]


def im2col(kernels):
    test_im2col.test_im2col(kernels, "never_square", FLOAT32)


def rows_of_vectors(kernels):
    test_im2col.test_im2col_with_rows_of_whole_vectors(kernels, "never_square", FLOAT32, 0)


def large_im2col(kernels):
    test_im2col.test_im2col(kernels, "tile_plus_one", FLOAT32)


def col2im(kernels):
    test_im2col.test_col2im(kernels, "never_square", FLOAT32)


def softmax(kernels):
    for seed in range(5):
        kernels.seed(seed)
        test_softmax.test_forward(kernels, (3, 700), False, FLOAT32)


def large_softmax(kernels):
    test_softmax.test_large_values(kernels, FLOAT32)


def stats(kernels):
    for seed in range(5):
        kernels.seed(seed)
        test_norm.test_stats(kernels, (4, 9, 150), 0, FLOAT32)


def offset_stats(kernels):
    test_norm.test_stats(kernels, (4, 9, 150), 1000, FLOAT32)


def max_pool(values):
    return lambda kernels: test_pool.test_max(kernels, "overlapping", values, FLOAT32)


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


def any_split(kernels):
    test_implicit.test_wgrad_in_any_workspace(kernels, "implicit", "float16", FLOAT16)


def winograd(case, direction, row="winograd4"):
    return lambda kernels: test_conv.test_tolerance_law(kernels, row, case, direction, FLOAT32)


def chunks_of_split_planes(kernels):
    test_winograd.test_any_workspace(kernels, "winograd4_split", "wgrad")


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


def sliced_winograd(kernels):
    test_winograd.test_wgrad_in_slices(kernels, "winograd4", 1)


def depthwise(name, direction):
    return lambda kernels: test_depthwise.test_tolerance_law(kernels, name, direction)


def cut_conv(row, case, direction):
    return lambda kernels: test_conv.test_any_workspace(kernels, row, case, direction, FLOAT32)


def fft(shape, direction):
    return lambda kernels: test_fft.test_borders_of_tiles(kernels, direction, test_fft.SHAPES[shape])


def spectra(kernels):
    for seed in range(5):
        kernels.seed(seed)
        test_fft.test_products_of_spectra(kernels, 35, 20, 10, False)  # a last stage in the place of the first


def chunks_of_tiles(kernels):
    test_fft.test_any_workspace(kernels, "wgrad", "tiles", "float32")


def norm_gradient(kernels):
    test_norm.test_backward(kernels, test_norm.make_parts((4, 9, 150), FLOAT32), True, True, FLOAT32)


def norm_ends(kernels):
    test_norm.test_forward(kernels, test_norm.make_parts((4, 9, 150), FLOAT32), FLOAT32, True, False)


def long_gemm(kernels):
    test_gemm.test_tolerance_law(kernels, FLOAT16, False, False, 1, 1)


# name: file, text, its replacement, the test that must fail
MUTANTS = {
    "no barrier before the partials are written": (
        *("kernels/reduce.cuh", "    __syncthreads();  // slower", "    // slower"),
        stats,
    ),
    "no barrier before the partials are read": (
        *("kernels/reduce.cuh", "    __syncthreads();\n    return", "    return"),
        softmax,
    ),
    "a barrier in a branch": (
        "kernels/reduce.cuh",
        "    if (lane == 0) partial[warp] = value;\n    __syncthreads();",
        "    if (lane == 0) {\n        partial[warp] = value;\n        __syncthreads();\n    }",
        softmax,
    ),
    "reads one row below the image": ("kernels/im2col.cu", "h < unsigned(s.H)", "h <= unsigned(s.H)", im2col),
    "writes one element too many": ("kernels/im2col.cu", "i < count; i +=", "i <= count; i +=", im2col),
    "no grid-stride loop": ("kernels/im2col.cu", "i += thread_count()", "i += count", large_im2col),
    "h and w strides swapped": ("kernels/im2col.cu", "p * s.stride_h", "p * s.stride_w", im2col),
    "positions behind the last are read": ("kernels/im2col.cu", "exists ? p", "true ? p", rows_of_vectors),
    "vectors of the next output row begin too late": ("kernels/im2col.cu", "q = 0, ++p", "q = 1, ++p", rows_of_vectors),
    "h and w padding swapped": ("kernels/col2im.cu", "int64_t(h) + s.pad_h", "int64_t(h) + s.pad_w", col2im),
    "no guard of the last output column": ("kernels/col2im.cu", " || q >= s.Q", "", col2im),
    "no guard between strides": ("kernels/col2im.cu", " || p_stride % s.stride_h", "", col2im),
    "the other dilation": ("kernels/direct.cu", "(t) * s.dil_w", "(t) * s.dil_h", conv("direct", "fwd")),
    "a tap dropped": ("kernels/direct.cu", "t < s.S; ++t, ++tap", "t < s.S - 1; ++t, ++tap", conv("direct", "fwd")),
    "the last of equal maxima": ("kernels/pool.cu", "value > best", "value >= best", max_pool("ties")),
    "a NaN that loses": ("kernels/pool.cu", " || (isnan(value) && !isnan(best[k]))", "", max_pool("nan")),
    "no maximum subtracted": (
        *("kernels/softmax.cu", "largest = block_reduce(largest, Max());", "largest = 0;"),
        large_softmax,
    ),
    "no guard of labels": (
        *("kernels/softmax.cu", "known = label >= 0 && label < cols;", "known = true;"),
        test_cross_entropy.test_a_label_out_of_range_reads_nothing,
    ),
    "a variance about zero": (
        *("kernels/norm.cu", "static_cast<Acc>(x[i]) - centre;", "static_cast<Acc>(x[i]);"),
        offset_stats,
    ),
    "a gradient in front of the ReLU": (
        "kernels/norm.cu",
        "if (!(static_cast<Acc>(y[i]) > 0)) gradient",
        "if (false) gradient",
        norm_gradient,
    ),
    "a gradient where the ReLU was at zero": (
        "kernels/norm.cu",
        "static_cast<Acc>(y[i]) > 0",
        "static_cast<Acc>(y[i]) >= 0",
        norm_gradient,
    ),
    "the residual of another pixel": (
        "kernels/norm.cu",
        "static_cast<float>(residual[i]);",
        "static_cast<float>(residual[0]);",
        norm_ends,
    ),
    "sums of 16-bit products in 16 bits": (
        *("csrc/cuda/gemm.cpp", "CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION", "CUBLAS_DEFAULT_MATH"),
        long_gemm,
    ),
    "TF32 without being asked": (
        *("csrc/cuda/gemm.cpp", "return dtype == DType::tf32", "return dtype == DType::float32"),
        conv("im2col", "fwd"),
    ),
    "a sum over chunks lost": (
        *("csrc/cuda/conv_im2col.cpp", "accumulate = true;", ""),
        cut_conv("im2col", "lenet_2", "wgrad"),
    ),
    "an output row of a band missed": (
        *("csrc/cuda/conv_im2col.cpp", "/ s.stride_h + 1);\n    return {", "/ s.stride_h);\n    return {"),
        cut_conv("im2col", "never_square", "dgrad"),
    ),
    "images added to a part lost": (
        *("csrc/cuda/conv_gemm.cpp", "n > 0}", "false}"),
        cut_conv("gemm", "pointwise", "wgrad"),
    ),
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
    "a row of pixels meets a tap too many": (
        *("kernels/depthwise.cu", "(i >= u && i - u < taps)", "i >= u"),
        depthwise("7x7", "fwd"),
    ),
    "taps of a phase in the wrong order": (
        "kernels/depthwise.cu",
        "-p.tap_apart",
        "p.tap_apart",
        depthwise("3x3", "dgrad"),
    ),
    "phases of the second launch lost": (
        "kernels/depthwise.cu",
        "first_phase + int(item",
        "int(item",
        depthwise("strided", "dgrad"),
    ),
    "a position of wgrad that stays in its image": (
        *("kernels/depthwise.cu", "p -= s.P, ++n;", "p -= s.P;"),
        depthwise("3x3", "wgrad"),
    ),
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
    "a phase that misses its last tap": (
        *("kernels/axis_phase.h", "(taps - first - 1) / period + 1", "(taps - first) / period"),
        conv("implicit", "dgrad"),
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
    "a split of the sum lost": ("kernels/elementwise.cu", "part < parts;", "part < parts - 1;", any_split),
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
    "no ReLU for cuBLASLt": (
        *("csrc/cuda/gemm_bias.cpp", "(relu ? CUBLASLT_EPILOGUE_RELU : 0)", "0"),
        lambda kernels: test_conv.test_ends_of_gemm_in_channels_last_order(kernels, np.dtype("f4"), 6, 1, False, True),
    ),
    "more alignment than there is": (
        *("csrc/cuda/gemm_bias.cpp", "return uint32_t(address & -address)", "return 256"),
        lambda kernels: test_conv.test_ends_of_gemm_in_channels_last_order(kernels, np.dtype("f2"), 6, 1, True, True),
    ),
    "groups of pixels side by side": (
        *("csrc/cuda/conv_gemm.cpp", "{x, s.C, false, 0, s.Cg()}", "{x, s.C, false, 0, 0}"),
        lambda kernels: test_conv.test_ends_of_gemm_in_channels_last_order(kernels, np.dtype("f4"), 6, 2, False, True),
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
    "a tile right of the image": ("kernels/fft_tiles.cu", "w < g.w.image;", "w <= g.w.image;", fft("tiles", "fwd")),
    "a spectrum not conjugated": ("kernels/fft_tiles.cu", "axis.reversed && e", "false", fft("groups", "fwd")),
    "flipped filters not shifted": ("kernels/fft_tiles.cu", " + axis.shift;", ";", fft("groups", "dgrad")),
    "tiles down and across swapped": (
        *("kernels/fft_tiles.cu", "tile / across % down * g.h.apart", "tile % across * g.h.apart"),
        fft("across", "wgrad"),
    ),
    "an imaginary part of the wrong sign": (
        *("kernels/fft_pointwise.cu", "sums[i][j].x -=", "sums[i][j].x +="),
        spectra,
    ),
    "spectra not waited for": (
        *("kernels/fft_pointwise.cu", "wait<Tile::kStages - 2>", "wait<Tile::kStages - 1>"),
        spectra,
    ),
    "spectra read before all threads have brought them": (
        *("kernels/fft_pointwise.cu", "            __syncthreads();  // this", "            // this"),
        spectra,
    ),
    "spectra overwritten before all threads have read them": (
        *("kernels/fft_pointwise.cu", "        __syncthreads();  // before", "        // before"),
        spectra,
    ),
    "frequencies beyond the spectrum": (
        *("kernels/fft_pointwise.cu", "if (frequency >= p.frequencies) continue;", ""),
        spectra,
    ),
    "a sum over chunks of tiles lost": ("csrc/cuda/conv_fft.cpp", "first > 0}", "false}", chunks_of_tiles),
    "a border of the filter's size forgotten": (
        *("csrc/cuda/fft_tiling.cpp", "n - a.taps + 1", "n - a.taps + 2"),
        fft("tiles", "fwd"),
    ),
    "padding of the other axis": ("csrc/cuda/fft_tiling.cpp", "s.S, s.pad_w}", "s.S, s.pad_h}", fft("tiles", "fwd")),
    "no stream set": (
        *("csrc/handles.cpp", 'check_cufft(cufftSetStream(plan_->handle, stream), "cufftSetStream", key);', ""),
        fft("groups", "fwd"),
    ),
    **mutants_channels_last.MUTANTS,
    **mutants_winograd_fused.MUTANTS,
}


def mutated(file, old, new, folder):
    """A tree of sources in which the first `old` of the file is `new`."""
    for part in ("kernels", "csrc"):
        shutil.copytree(build.ROOT / part, folder / part)
    text = (folder / file).read_text()
    assert old in text, f"{file} no longer holds {old!r}"
    (folder / file).write_text(text.replace(old, new, 1))
    return folder


def check_caught(mutant, folder):
    file, old, new, guard = mutant
    guard(Kernels(build.load()))
    mutant = Kernels(build.load(build.build(mutated(file, old, new, folder))))
    with np.errstate(all="ignore"), pytest.raises((AssertionError, RuntimeError)):
        guard(mutant)


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_caught(name, tmp_path):
    check_caught(MUTANTS[name], tmp_path)
