"""Depthwise convolutions on random shapes, on every instruction set and whatever lies around the arrays."""

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gpucnn import native
from gpucnn.conv import ALGOS, DIRECTIONS, ConvShape, run
from gpucnn.conv.choose import pick
from gpucnn.conv.reference import convolve
from gpucnn.dtype import FLOATS
from tests.cases import operands
from tests.tolerance import U_ACC, U_OUT, check, check_conv

_cpu = native.cpu()
DTYPES = ("float32", "float16", "bfloat16")
every_direction = pytest.mark.parametrize("direction", DIRECTIONS)


def instruction_sets():
    """Those that this CPU has, narrowest first; the widest stays chosen."""
    widest = _cpu.isa()
    names = ("portable", "avx2", "avx512")
    return names[: names.index(widest) + 1]


@contextmanager
def instruction_set(name):
    """Workspaces are sized for the one that is chosen."""
    _cpu.set_isa(name)
    try:
        yield
    finally:
        _cpu.set_isa("auto")


def compute(direction, shape, a, b, isa="auto", share=1.0, poison=0xFF, **ends):
    """The result, by the row itself. Operands and result lie amid NaN, and the workspace is filled with them.

    share    of the way from the least workspace to the best
    """
    row = ALGOS["cpu", direction]["depthwise"]

    def island(array_shape):  # between guard elements
        memory = np.full(np.prod(array_shape, dtype=int) + 64, np.nan, a.dtype)
        return memory, memory[32:-32].reshape(array_shape)

    memories, arrays = zip(*(island(s) for s in shape.operands(direction)), strict=True)
    arrays[0][...], arrays[1][...] = a, b
    with instruction_set(isa):
        least, best = row.workspace(shape, a.dtype.name)
        size = int(least + share * (best - least))
        row.run(shape, a.dtype.name, *arrays, np.full(size, poison, np.uint8), **ends)
    assert all(np.isnan(m[:32]).all() and np.isnan(m[-32:]).all() for m in memories)
    return arrays[2].copy()


@st.composite
def shapes(draw):
    """Depthwise shapes; some rows are longer than a vector, some planes smaller than one."""
    C, multiplier = draw(st.integers(1, 5)), draw(st.sampled_from((1, 1, 1, 2, 3)))
    pair = st.tuples(st.integers(1, 4), st.integers(1, 4))
    near = st.one_of(st.just((1, 1)), pair)
    try:
        return ConvShape(
            *(draw(st.integers(0, 3)), C, draw(st.integers(1, 24)), draw(st.integers(1, 40)), C * multiplier),
            *(draw(st.integers(1, 9)), draw(st.integers(1, 9))),
            draw(st.tuples(st.integers(0, 9), st.integers(0, 9))),
            *(draw(near), draw(near), C),
        )
    except ValueError:
        assume(False)


@every_direction
@settings(max_examples=150)
@given(shape=shapes(), dtype=st.sampled_from(DTYPES), isa=st.sampled_from(instruction_sets()), share=st.floats(0, 1))
def test_law(direction, shape, dtype, isa, share):
    """On every instruction set and with every workspace, and what was in the workspace does not matter."""
    a, b = operands(shape, direction, FLOATS[dtype])
    row = ALGOS["cpu", direction]["depthwise"]
    out = compute(direction, shape, a, b, isa, share)
    check_conv(direction, shape, a, b, out, row.error)
    assert compute(direction, shape, a, b, isa, share, poison=0).tobytes() == out.tobytes()


# 3 x 3 and more, at strides, of planes that are one vector and less, several vectors, and several bands.
SHAPES = {
    "7x7": ConvShape(3, 40, 7, 7, 40, 3, 3, pad=(1, 1), groups=40),
    "one pixel": ConvShape(2, 3, 1, 1, 3, 5, 5, pad=(2, 2), groups=3),
    "one row": ConvShape(2, 3, 1, 50, 3, 1, 9, pad=(0, 4), groups=3),
    "one column": ConvShape(2, 3, 50, 1, 3, 9, 1, pad=(4, 0), groups=3),
    "stride": ConvShape(2, 6, 57, 58, 6, 3, 3, pad=(1, 1), stride=(2, 2), groups=6),
    "uneven stride": ConvShape(2, 3, 19, 37, 6, 4, 7, pad=(3, 2), stride=(3, 5), groups=3),
    "narrower than the stride": ConvShape(1, 2, 6, 1, 2, 6, 7, pad=(1, 3), stride=(1, 3), groups=2),
    "stride beyond the filter": ConvShape(1, 2, 17, 18, 2, 2, 1, stride=(5, 4), groups=2),
    "dilation": ConvShape(1, 3, 30, 33, 3, 5, 3, pad=(6, 4), stride=(2, 1), dilation=(3, 4), groups=3),
    "stride is dilation": ConvShape(1, 3, 30, 33, 3, 5, 5, pad=(4, 4), stride=(2, 2), dilation=(2, 2), groups=3),
    "padding beyond the filter": ConvShape(1, 2, 5, 6, 2, 3, 3, pad=(6, 7), groups=2),
    "bands": ConvShape(1, 2, 230, 221, 2, 5, 5, pad=(2, 2), stride=(2, 2), groups=2),
    "31x31": ConvShape(1, 2, 40, 21, 2, 31, 31, pad=(15, 15), groups=2),
    "multiplier": ConvShape(2, 4, 13, 20, 12, 3, 3, pad=(1, 1), stride=(1, 2), groups=4),
}


@every_direction
@pytest.mark.parametrize("case", SHAPES)
def test_small_integers_are_exact(direction, case):
    """Each product counts once: sums of small integers are exact, in whatever order."""
    shape = SHAPES[case]
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-3, 4, s).astype(np.float32) for s in shape.operands(direction)[:2])
    ref = convolve(direction, shape, a, b)
    for isa in instruction_sets():
        assert np.array_equal(compute(direction, shape, a, b, isa), ref)
    for dtype in ("float16", "bfloat16"):  # what float32 sums exactly is then rounded once
        out = compute(direction, shape, a.astype(FLOATS[dtype]), b.astype(FLOATS[dtype]))
        assert np.array_equal(out, ref.astype(np.float32).astype(FLOATS[dtype]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", SHAPES)
def test_bias_and_relu_before_the_one_rounding(case, dtype):
    shape = SHAPES[case]
    x, w = operands(shape, "fwd", FLOATS[dtype])
    bias = np.random.default_rng(1).standard_normal(shape.K).astype(FLOATS[dtype])
    wide = [v.astype(np.float64) for v in (x, w, bias[:, None, None])]
    ref = np.maximum(convolve("fwd", shape, *wide[:2]) + wide[2], 0)
    magnitude = convolve("fwd", shape, np.abs(wide[0]), np.abs(wide[1])) + np.abs(wide[2])
    y = compute("fwd", shape, x, w, bias=bias, relu=True)
    check(y, ref, magnitude, shape.terms("fwd") + 1, ALGOS["cpu", "fwd"]["depthwise"].error)


@pytest.mark.parametrize("direction", ["fwd", "dgrad"])
@pytest.mark.parametrize("case", SHAPES)
def test_a_batch_is_its_images_one_by_one(direction, case):
    """Bit for bit, also where few images change how planes are shared out among threads."""
    shape = replace(SHAPES[case], N=3)
    a, b = operands(shape, direction, np.float32)
    whole = compute(direction, shape, a, b)
    one = replace(shape, N=1)
    for n in range(3):
        assert np.array_equal(compute(direction, one, a[n : n + 1], b)[0], whole[n])


@every_direction
def test_channels_do_not_mix(direction):
    """A NaN in one channel of one image stays there: dw sums over images, but not over channels."""
    shape = ConvShape(3, 5, 9, 20, 10, 3, 3, pad=(1, 1), stride=(2, 1), groups=5)
    for isa in instruction_sets():
        a, b = operands(shape, direction, np.float32)
        clean = compute(direction, shape, a, b, isa)
        group = 3
        a[1, group * a.shape[1] // 5, 4] = np.nan
        out = compute(direction, shape, a, b, isa)
        lost = np.zeros(shape.operands(direction)[2], bool)
        of_group = slice(group * lost.shape[0] // 5, (group + 1) * lost.shape[0] // 5)
        if direction == "wgrad":
            lost[of_group] = True
        else:
            lost[1, group * lost.shape[1] // 5 : (group + 1) * lost.shape[1] // 5] = True
        assert np.isnan(out[lost]).any()
        assert np.array_equal(out[~lost], clean[~lost])


def test_sixteen_bit_types_sum_in_float32():
    """49 ones of 0.1 beside 2048: a sum kept in float16 would lose them all."""
    shape = ConvShape(1, 1, 7, 7, 1, 7, 7)
    x, w = np.full(shape.x, 0.1, np.float16), np.ones(shape.w, np.float16)
    x[0, 0, 0, 0] = 2048
    exact = x.astype(np.float64).sum()
    y = compute("fwd", shape, x, w)
    assert abs(float(y.item()) - exact) <= (U_OUT["float16"] + 49 * U_ACC) * exact


@every_direction
def test_auto_takes_it_where_few_filters_share_a_channel(direction):
    for multiplier, name in ((1, "depthwise"), (2, "depthwise"), (8, "im2col")):
        shape = ConvShape(2, 6, 11, 12, 6 * multiplier, 3, 3, pad=(1, 1), groups=6)
        assert pick("cpu", direction, shape, "float32").name == name


def test_refusals():
    shape = SHAPES["7x7"]
    grouped = ConvShape(1, 4, 5, 5, 4, 3, 3, groups=2)
    x, w = operands(grouped, "fwd", np.float32)
    with pytest.raises(ValueError, match=r"^conv fwd: .*depthwise cannot do this shape; those that can: direct"):
        run("fwd", grouped, x, w, algorithm="depthwise")
    with pytest.raises(ValueError, match=r"^conv_depthwise: takes one input channel a group"):
        _cpu.conv_depthwise_workspace(grouped, "float32", "fwd")
    with pytest.raises(ValueError, match=r"^conv_depthwise_workspace: direction is fwd, dgrad or wgrad, but came up"):
        _cpu.conv_depthwise_workspace(shape, "float32", "up")
    x, w = operands(shape, "fwd", np.float32)
    row = ALGOS["cpu", "fwd"]["depthwise"]
    least, _ = row.workspace(shape, "float32")
    with pytest.raises(ValueError, match=rf"^conv_depthwise: takes a workspace of at least {least} bytes, but came"):
        row.run(shape, "float32", x, w, np.empty(shape.y, np.float32), np.empty(least - 1, np.uint8))


@pytest.mark.torch
@pytest.mark.parametrize("case", SHAPES)
def test_against_pytorch(case):
    """One more oracle, in float64, which shares no code with gpucnn's."""
    import torch

    shape = SHAPES[case]
    (x, w), (dy, _) = operands(shape, "fwd", np.float32), operands(shape, "dgrad", np.float32)

    def gradients(*arrays):
        x, w, dy = (torch.from_numpy(v).double() for v in arrays)
        x.requires_grad_(), w.requires_grad_()
        y = torch.conv2d(x, w, None, shape.stride, shape.pad, shape.dilation, shape.groups)
        y.backward(dy)
        return (v.detach().numpy() for v in (y, x.grad, w.grad))

    results = (compute(d, shape, a, b) for d, a, b in zip(DIRECTIONS, (x, dy, x), (w, w, dy), strict=True))
    references, magnitudes = gradients(x, w, dy), gradients(*(np.abs(v) for v in (x, w, dy)))
    for direction, out, ref, magnitude in zip(DIRECTIONS, results, references, magnitudes, strict=True):
        error = ALGOS["cpu", direction]["depthwise"].error
        check(out, ref, magnitude, shape.terms(direction), error)
