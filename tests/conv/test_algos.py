"""Every row of ALGOS: the tolerance law, exactness, determinism, workspace, random shapes."""

import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import gpucnn
from gpucnn import native
from gpucnn.conv import ALGOS, DIRECTIONS, ConvShape, run
from gpucnn.conv.choose import ALIGNMENT
from gpucnn.conv.reference import convolve
from gpucnn.device import to_device
from gpucnn.dtype import FLOATS
from tests.cases import CASES, operands
from tests.tolerance import check_conv

ROWS = [(direction, name) for direction in DIRECTIONS for name in ALGOS["cpu", direction]]
every_row = pytest.mark.parametrize(("direction", "name"), ROWS)


def row(direction, name, device="cpu"):
    return ALGOS[device, direction][name]


def cases_of(device, dtype="float32"):
    """(direction, name, case) for every row and every case that it takes."""
    return [
        (direction, name, case)
        for direction in DIRECTIONS
        for name, algo in ALGOS[device, direction].items()
        for case, shape in CASES.items()
        if algo.takes(shape, dtype)
    ]


def taken(direction, name, dtype, *shapes):
    """The first of the shapes that the row takes."""
    return next(shape for shape in shapes if row(direction, name).takes(shape, dtype))


def limits(direction, name, shape, dtype):
    """(least, best) of the setting workspace: transformed filters count, too."""
    filters = row(direction, name).filters
    extra = filters(shape, dtype) + ALIGNMENT if filters else 0
    return tuple(extra + size for size in row(direction, name).workspace(shape, dtype))


def aligned(size):
    """size bytes at a multiple of 64, with 64 guard bytes on either side."""
    memory = np.full(size + 192, 0xA5, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size + 128]


every_case = pytest.mark.parametrize(("direction", "name", "case"), cases_of("cpu"))
# Rows whose error is bounded element by element: on small integers they are exact, and a NaN stays where it is seen.
elementwise = [c for c in cases_of("cpu") if row(*c[:2]).bound == "element"]


def check(direction, name, shape, a, b, out, device="cpu"):
    """The law with the error that the row declares."""
    check_conv(direction, shape, a, b, out, row(direction, name, device).error, row(direction, name, device).bound)


def test_every_direction_has_the_same_rows():
    """But for those that the docstring of the table says are not for wgrad."""
    for device in ("cpu", "cuda"):
        names = {direction: set(ALGOS[device, direction]) for direction in DIRECTIONS}
        assert names["fwd"] == names["dgrad"] and {"direct", "im2col"} <= names["wgrad"]
        assert names["fwd"] - names["wgrad"] == ({"winograd2_fused"} if device == "cuda" else set())
        assert names["wgrad"] <= names["fwd"]


ON_CUDA = [(*taken, dtype) for dtype in ("float32", "float16", "bfloat16") for taken in cases_of("cuda", dtype)]


@pytest.mark.cuda
@pytest.mark.parametrize(("direction", "name", "case", "dtype"), ON_CUDA)
def test_law_on_cuda(direction, name, case, dtype):
    if lacking := row(direction, name, "cuda").lacks(native.cuda()):
        pytest.skip(f"{name} needs {lacking}")
    shape = CASES[case]
    a, b = operands(shape, direction, FLOATS[dtype])
    arrays = to_device(a, "cuda"), to_device(b, "cuda")
    out, again = (to_device(run(direction, shape, *arrays, algorithm=name), "cpu") for _ in range(2))
    check(direction, name, shape, a, b, out, "cuda")
    if row(direction, name, "cuda").deterministic:
        assert out.tobytes() == again.tobytes()


@every_case
@pytest.mark.parametrize("dtype", FLOATS)
def test_law(direction, name, case, dtype):
    """Within the law, in the dtype of the operands, and with the same bits twice; or the dtype is refused."""
    shape = CASES[case]
    if not row(direction, name).takes(shape, dtype):
        with pytest.raises(ValueError, match="those that can"):
            run(direction, shape, *operands(shape, direction, FLOATS[dtype]), algorithm=name)
        return
    a, b = operands(shape, direction, FLOATS[dtype])
    kept = a.copy(), b.copy()
    out = run(direction, shape, a, b, algorithm=name)
    check(direction, name, shape, a, b, out)
    assert out.flags.c_contiguous and out.flags.owndata
    assert a.tobytes() == kept[0].tobytes() and b.tobytes() == kept[1].tobytes()
    if row(direction, name).deterministic:
        assert run(direction, shape, a, b, algorithm=name).tobytes() == out.tobytes()


@pytest.mark.parametrize(("direction", "name", "case"), elementwise)
def test_small_integers_are_exact(direction, name, case):
    """Products and sums of small integers are exact in float32, in whatever order they are made."""
    shape = CASES[case]
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-3, 4, s).astype(np.float32) for s in shape.operands(direction)[:2])
    assert np.array_equal(run(direction, shape, a, b, algorithm=name), convolve(direction, shape, a, b))


@every_row
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_every_workspace_from_the_least_on(direction, name, dtype):
    """The law holds whatever the workspace: chunks of one band, of some, of all."""
    for case in ("never_square", "groups", "tile_plus_one", "groups_3x3"):
        shape = CASES[case]
        if not row(direction, name).takes(shape, dtype):
            continue
        a, b = operands(shape, direction, FLOATS[dtype])
        least, best = limits(direction, name, shape, dtype)
        assert 0 <= least <= best
        for limit in {least, least + 1, (least + best) // 2, max(best - 1, least), best, 2 * best}:
            with gpucnn.using(workspace=limit):
                check(direction, name, shape, a, b, run(direction, shape, a, b, algorithm=name))


@every_row
def test_writes_nothing_but_its_output_and_workspace(direction, name):
    """Guard bytes around a poisoned output and workspace stay as they were; every element is written."""
    cases = ("never_square", "depthwise", "lenet_2", "groups_3x3")
    for case, dtype in itertools.product(cases, ("float32", "float16")):
        shape = CASES[case]
        if not row(direction, name).takes(shape, dtype):
            continue
        a, b = operands(shape, direction, FLOATS[dtype])
        for size in set(row(direction, name).workspace(shape, dtype)):
            guarded = np.full(size + 128, 0xA5, np.uint8)
            memory = np.full(np.prod(shape.operands(direction)[2]) + 128, np.nan, FLOATS[dtype])
            out = memory[64:-64].reshape(shape.operands(direction)[2])
            filters = b
            if row(direction, name).transform:
                filters = aligned(row(direction, name).filters(shape, dtype))
                row(direction, name).transform(shape, dtype, b, filters[64:-64])
                assert (filters[:64] == 0xA5).all() and (filters[-64:] == 0xA5).all()
                filters = filters[64:-64]
            row(direction, name).run(shape, dtype, a, filters, out, guarded[64 : 64 + size])
            check(direction, name, shape, a, b, out)
            assert np.isnan(memory[:64]).all() and np.isnan(memory[-64:]).all()
            assert (guarded[:64] == 0xA5).all() and (guarded[64 + size :] == 0xA5).all()


@every_row
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_batch_is_its_images_one_by_one(direction, name, dtype):
    """Bit for bit; dw of a batch is the sum of the dw of its images, which is another order of summation."""
    shape = taken(
        *(direction, name, dtype),
        ConvShape(5, 4, 9, 8, 6, 3, 2, pad=(1, 0), stride=(1, 2), groups=2),
        ConvShape(5, 8, 9, 8, 12, 3, 3, pad=(1, 0), groups=2),
        ConvShape(5, 4, 9, 8, 8, 3, 2, pad=(1, 0), stride=(1, 2), groups=4),
        ConvShape(5, 4, 9, 8, 6, 1, 1, groups=2),
    )
    one = ConvShape(1, *[getattr(shape, n) for n in "CHWKRS"], shape.pad, shape.stride, shape.dilation, shape.groups)
    a, b = operands(shape, direction, FLOATS[dtype])
    whole = run(direction, shape, a, b, algorithm=name)
    if direction == "wgrad":
        parts = [run(direction, one, a[n : n + 1], b[n : n + 1], algorithm=name) for n in range(shape.N)]
        for part, n in zip(parts, range(shape.N), strict=True):
            check(direction, name, one, a[n : n + 1], b[n : n + 1], part)
        if dtype == "float32":
            check(direction, name, shape, a, b, np.sum(parts, axis=0))
            check(direction, name, shape, a, b, whole)
    else:
        parts = [run(direction, one, a[n : n + 1], b, algorithm=name) for n in range(shape.N)]
        assert np.array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("direction", ["fwd", "dgrad"])
@pytest.mark.parametrize("name", ["im2col", "gemm"])
def test_a_batch_of_pixels_is_its_pixels_one_by_one(direction, name):
    """Bit for bit, though one pixel alone is a product with a single column, which could be added up otherwise."""
    shape, one = (ConvShape(n, 600, 1, 1, 64, 1, 1, groups=2) for n in (5, 1))
    a, b = operands(shape, direction, np.float32)
    parts = [run(direction, one, a[n : n + 1], b, algorithm=name) for n in range(5)]
    whole = run(direction, shape, a, b, algorithm=name)
    check(direction, name, shape, a, b, whole)
    assert np.array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize(("direction", "name"), sorted({c[:2] for c in elementwise}))
def test_a_nan_reaches_only_the_outputs_that_see_it(direction, name):
    """The NaN is not lost, and the elements of the output that sum no product of it keep their bits."""
    pointwise = ConvShape(2, 16, 9, 10, 12, 1, 1)
    shape = taken(direction, name, "float32", CASES["same_3x3"], CASES["depthwise"], pointwise)
    a, b = operands(shape, direction, np.float32)
    clean = run(direction, shape, a, b, algorithm=name)
    a[1, 2, 4, 5] = np.nan
    marker = np.zeros_like(a)
    marker[1, 2, 4, 5] = 1
    seen = convolve(direction, shape, marker, np.ones_like(b)) != 0
    out = run(direction, shape, a, b, algorithm=name)
    assert np.array_equal(np.isnan(out), seen)
    assert np.array_equal(out[~seen], clean[~seen])


@every_row
def test_wide_values_of_float16_do_not_overflow_inside(direction, name):
    """Sums that pass 65,504 on the way to a representable result."""
    same = (ConvShape(2, 4, 6, 6, 4, 3, 3, pad=(1, 1), groups=g) for g in (1, 4))
    shape = taken(direction, name, "float16", *same, ConvShape(2, 4, 6, 6, 4, 1, 1))
    a, b = (np.ones(s, np.float16) for s in shape.operands(direction)[:2])
    a *= 200
    b.reshape(-1)[::2] = -200
    b.reshape(-1)[1::2] = 200
    if direction == "wgrad":  # alternate in the image, which dw sums over
        b[:] = np.where(np.arange(36).reshape(6, 6) % 2, 200, -200)
    elif shape.R == 1:  # in both channels, as fwd sums over the one and dgrad over the other
        b[:] = np.where(np.indices((4, 4)).sum(0) % 2, 200, -200)[:, :, None, None]
    out = run(direction, shape, a, b, algorithm=name)
    ref = convolve(direction, shape, a, b)
    fits = np.abs(ref) < 65_504
    assert fits.any()
    if row(direction, name).bound == "element":
        assert np.array_equal(out[fits], ref[fits].astype(np.float16))
    else:
        assert np.isfinite(out[fits]).all()


sizes = st.integers(1, 9)
pairs = st.one_of(st.just((1, 1)), st.tuples(st.integers(1, 3), st.integers(1, 3)))


@st.composite
def shapes(draw):
    groups = draw(st.integers(1, 3))
    C, K = groups * draw(st.integers(1, 4)), groups * draw(st.integers(1, 4))
    pad = draw(st.tuples(st.integers(0, 4), st.integers(0, 4)))
    numbers = (
        draw(st.integers(0, 3)),
        C,
        draw(sizes),
        draw(sizes),
        K,
        *draw(st.one_of(st.just((3, 3)), st.tuples(st.integers(1, 5), st.integers(1, 5)))),
    )
    try:
        return ConvShape(*numbers, pad, draw(pairs), draw(pairs), groups)
    except ValueError:
        assume(False)


@settings(max_examples=60)
@given(shape=shapes(), dtype=st.sampled_from(list(FLOATS)), share=st.floats(0, 1))
def test_random_shapes(shape, dtype, share):
    """All rows on shapes, dtypes and workspaces that nobody chose."""
    for direction, name in ROWS:
        if not row(direction, name).takes(shape, dtype):
            continue
        a, b = operands(shape, direction, FLOATS[dtype])
        least, best = limits(direction, name, shape, dtype)
        with gpucnn.using(workspace=int(least + share * (best - least))):
            check(direction, name, shape, a, b, run(direction, shape, a, b, algorithm=name))
