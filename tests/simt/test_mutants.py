"""A test of the kernel tests: each small slip in a source makes the test that guards it fail."""

import shutil

import numpy as np
import pytest

from tests.kernels import (
    test_conv,
    test_cross_entropy,
    test_depthwise,
    test_gemm,
    test_im2col,
    test_implicit,
    test_norm,
    test_pool,
    test_softmax,
)
from tests.kernels.harness import DTYPES, Kernels
from tests.simt import (
    build,
    mutants_channels_last,
    mutants_fft,
    mutants_hopper,
    mutants_hopper_tiles,
    mutants_implicit,
    mutants_winograd,
    mutants_winograd_fused,
)

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


def any_split(kernels):
    test_implicit.test_wgrad_in_any_workspace(kernels, "implicit", "float16", FLOAT16)


def depthwise(name, direction):
    return lambda kernels: test_depthwise.test_tolerance_law(kernels, name, direction)


def cut_conv(row, case, direction):
    return lambda kernels: test_conv.test_any_workspace(kernels, row, case, direction, FLOAT32)


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
    "a phase that misses its last tap": (
        *("kernels/axis_phase.h", "(taps - first - 1) / period + 1", "(taps - first) / period"),
        conv("implicit", "dgrad"),
    ),
    "a split of the sum lost": ("kernels/elementwise.cu", "part < parts;", "part < parts - 1;", any_split),
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
}


def mutated(file, old, new, folder):
    """A tree of sources in which the first `old` of the file is `new`."""
    for part in ("kernels", "csrc"):
        shutil.copytree(build.ROOT / part, folder / part)
    text = (folder / file).read_text()
    assert old in text, f"{file} no longer holds {old!r}"
    (folder / file).write_text(text.replace(old, new, 1))
    return folder


FAMILIES = (
    *(mutants_channels_last, mutants_fft, mutants_hopper, mutants_hopper_tiles, mutants_implicit),
    *(mutants_winograd, mutants_winograd_fused),
)
EVERY = [*MUTANTS.items(), *(item for family in FAMILIES for item in family.MUTANTS.items())]


@pytest.mark.parametrize("mutant", [pytest.param(mutant, id=name) for name, mutant in EVERY])
def test_mutant_is_caught(mutant, tmp_path):
    file, old, new, guard = mutant
    guard(Kernels(build.load()))
    slipped = Kernels(build.load(build.build(mutated(file, old, new, tmp_path))))
    with np.errstate(all="ignore"), pytest.raises((AssertionError, RuntimeError)):
        guard(slipped)
