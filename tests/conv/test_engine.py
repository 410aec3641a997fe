"""The engine on bare arrays: sizes, what it picks under a workspace limit, what it refuses, and its oracle."""

import os
import subprocess
import sys

import numpy as np
import pytest

import gpucnn
from gpucnn.conv import ALGOS, DIRECTIONS, ConvShape, run, shape_of
from gpucnn.conv.choose import pick
from gpucnn.conv.reference import convolve
from tests.cases import CASES, operands
from tests.tolerance import check_conv

SHAPE = CASES["never_square"]


# --- ConvShape --------------------------------------------------------------------------------------------------------
def test_the_seventeen_numbers_that_cross_to_native_code():
    assert SHAPE.ints == (2, 3, 12, 11, 8, 4, 5, 6, 7, 1, 2, 2, 1, 1, 2, 1, 0)
    assert (SHAPE.x, SHAPE.w, SHAPE.y) == ((2, 3, 12, 11), (8, 3, 4, 5), (2, 8, 6, 7))
    assert [SHAPE.terms(d) for d in DIRECTIONS] == [3 * 4 * 5, 8 * 4 * 5, 2 * 6 * 7]
    assert SHAPE.flops == 2 * (2 * 8 * 6 * 7) * (3 * 4 * 5)


def test_grouped_sizes():
    shape = CASES["groups"]
    assert shape.w == (9, 2, 3, 2)
    assert [shape.terms(d) for d in DIRECTIONS] == [2 * 6, 3 * 6, 2 * shape.P * shape.Q]


@pytest.mark.torch
@pytest.mark.parametrize("case", CASES)
def test_output_size_is_that_of_pytorch(case):
    import torch

    s = CASES[case]
    y = torch.nn.functional.conv2d(torch.empty(s.x), torch.empty(s.w), None, s.stride, s.pad, s.dilation, s.groups)
    assert tuple(y.shape) == s.y


def test_shapes_are_keys_of_a_cache():
    assert shape_of(SHAPE.x, SHAPE.w, SHAPE.stride, SHAPE.pad, SHAPE.dilation) == SHAPE
    assert len({SHAPE, ConvShape(*SHAPE.ints[:7], (1, 2), (2, 1), (1, 2))}) == 1


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"N": -1}, "sizes, strides and dilations are positive"),
        ({"C": 0}, "sizes, strides and dilations are positive"),
        ({"stride": (1, 0)}, "sizes, strides and dilations are positive"),
        ({"pad": (0, -1)}, "padding is not negative"),
        ({"groups": 2}, "groups divides C and K"),
        ({"H": 1}, "the filter fits the padded image"),
        ({"H": 2**30 + 1}, "every size is at most"),
    ],
)
def test_impossible_shapes(change, text):
    with pytest.raises(ValueError, match=f"^ConvShape: .*{text}"):
        ConvShape(**{**{n: getattr(SHAPE, n) for n in SHAPE.__dataclass_fields__}, **change})


# --- the oracle -------------------------------------------------------------------------------------------------------
def seven_loops(shape, x, w):
    """The definition, with an index for each letter."""
    y = np.zeros(shape.y)
    C_g, K_g = shape.C // shape.groups, shape.K // shape.groups
    for n, k, p, q in np.ndindex(*shape.y):
        for c, r, s in np.ndindex(C_g, shape.R, shape.S):
            h = p * shape.stride[0] + r * shape.dilation[0] - shape.pad[0]
            v = q * shape.stride[1] + s * shape.dilation[1] - shape.pad[1]
            if 0 <= h < shape.H and 0 <= v < shape.W:
                y[n, k, p, q] += x[n, k // K_g * C_g + c, h, v] * w[k, c, r, s]
    return y


TINY = [
    ConvShape(2, 3, 5, 4, 2, 2, 3, pad=(1, 2), stride=(2, 1), dilation=(1, 2)),
    ConvShape(1, 4, 4, 5, 6, 3, 2, pad=(2, 0), stride=(1, 3), dilation=(2, 1), groups=2),
    ConvShape(2, 2, 3, 3, 2, 1, 1, stride=(2, 2), groups=2),
]


@pytest.mark.parametrize("shape", TINY)
def test_reference_forward_is_the_definition(shape):
    x, w = operands(shape, "fwd", np.float64)
    assert np.allclose(convolve("fwd", shape, x, w), seven_loops(shape, x, w), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("shape", TINY)
def test_reference_gradients_are_the_transposes(shape):
    """Forward is linear in x and in w, so that <dy, fwd(e)> over all unit arrays e is the whole gradient."""
    x, w = operands(shape, "fwd", np.float64)
    dy = np.random.default_rng(1).standard_normal(shape.y)
    for direction, a, b, array in (("dgrad", dy, w, x), ("wgrad", x, dy, w)):
        ref = np.zeros(array.shape)
        for i in np.ndindex(*array.shape):
            unit = np.zeros(array.shape)
            unit[i] = 1
            ref[i] = (dy * (seven_loops(shape, unit, w) if direction == "dgrad" else seven_loops(shape, x, unit))).sum()
        assert np.allclose(convolve(direction, shape, a, b), ref, rtol=1e-13, atol=1e-13)


# --- what runs --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_bare_arrays_of_any_strides(direction):
    a, b = operands(SHAPE, direction, np.float32)
    ref = run(direction, SHAPE, a, b)
    strided = np.zeros((*a.shape[:3], 2 * a.shape[3]), np.float32)[..., ::2]
    strided[:] = a
    out = run(direction, SHAPE, strided, np.asfortranarray(b))
    assert type(out) is np.ndarray and np.array_equal(out, ref)
    read_only = a.copy()
    read_only.flags.writeable = False
    assert np.array_equal(run(direction, SHAPE, read_only, b), ref)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_auto_is_im2col_while_its_least_workspace_fits(direction):
    least, best = ALGOS["cpu", direction]["im2col"].workspace(SHAPE, "float32")

    def taken():
        choice = pick("cpu", direction, SHAPE, "float32")
        return choice.name, choice.workspace

    assert taken() == ("im2col", best)
    with gpucnn.using(workspace=least):
        assert taken() == ("im2col", least)
    with gpucnn.using(workspace=0):
        name, size = taken()
        assert size == 0 and (name == "direct" or least == 0)
        a, b = operands(SHAPE, direction, np.float32)
        check_conv(direction, SHAPE, a, b, run(direction, SHAPE, a, b))


def test_a_forced_name_that_needs_too_much_names_those_that_can():
    least, _ = ALGOS["cpu", "fwd"]["im2col"].workspace(SHAPE, "float32")
    assert least > 0
    a, b = operands(SHAPE, "fwd", np.float32)
    with (
        gpucnn.using(workspace=least - 1),
        pytest.raises(ValueError, match=rf"conv fwd: .*im2col needs {least} bytes.*those that can: direct \(ConvShape"),
    ):
        run("fwd", SHAPE, a, b, algorithm="im2col")


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_refused_arrays(direction):
    a, b = operands(SHAPE, direction, np.float32)
    with pytest.raises(ValueError, match=rf"^conv {direction}: arrays are .*, but came .*"):
        run(direction, SHAPE, a[:1], b)
    with pytest.raises(TypeError, match=rf"^conv {direction}: .*float32 on cpu and float16 on cpu"):
        run(direction, SHAPE, a, b.astype(np.float16))
    with pytest.raises(TypeError, match=rf"^conv {direction}: .*int32"):
        run(direction, SHAPE, a.astype(np.int32), b.astype(np.int32))
    with pytest.raises(
        ValueError, match=rf"^conv {direction}: algorithm is auto, find or one of direct, im2col, .*, but came 'none'"
    ):
        run(direction, SHAPE, a, b, algorithm="none")


def test_threads_change_no_bit():
    """Rows are deterministic whatever the number of threads that share the work."""
    code = """
import hashlib, numpy as np
from gpucnn.conv import *
from tests.cases import operands
shapes = [ConvShape(4, 32, 20, 21, k, 3, 3, pad=(1, 1), groups=g) for k, g in ((40, 1), (64, 32))]
bits = hashlib.sha256()
for shape in (*shapes, ConvShape(3, 40, 20, 21, 48, 1, 1)):
    for direction in DIRECTIONS:
        for name, row in ALGOS["cpu", direction].items():
            if row.takes(shape, "float32"):
                bits.update(run(direction, shape, *operands(shape, direction, np.float32), algorithm=name))
print(bits.hexdigest())"""
    path = os.pathsep.join(sys.path)
    hashes = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONPATH": path, "GPUCNN_NUM_THREADS": threads},
            check=True,
            capture_output=True,
        ).stdout
        for threads in ("1", "2")
    }
    assert len(hashes) == 1
