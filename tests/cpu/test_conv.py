"""What the CPU's convolutions promise beyond the law: the same bits for any threads, batch and run; any workspace."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpucnn import native
from gpucnn.conv.shape import DIRECTIONS, ConvShape
from tests.cases import CASES, operands
from tests.cpu.conftest import CPU_DTYPES, Cpu
from tests.kernels.test_conv import shapes
from tests.tolerance import check_conv

ROWS = ("direct", "im2col")  # those that take every shape
SHAPES = {  # large enough for several bands, channel blocks, slices and threads
    "bands": ConvShape(3, 20, 40, 37, 12, 3, 5, pad=(1, 2), dilation=(1, 2)),
    "channel_blocks": ConvShape(2, 130, 9, 12, 70, 3, 3, stride=(1, 2), pad=(1, 1)),
    "row_blocks": ConvShape(1, 40, 6, 7, 600, 3, 2),
    "pointwise": ConvShape(4, 48, 30, 21, 64, 1, 1),
    "groups": ConvShape(3, 24, 17, 16, 36, 3, 4, groups=4),
    "fully_connected": ConvShape(70, 16, 5, 4, 120, 5, 4),
    "long_rows": ConvShape(1, 2, 3, 3000, 3, 2, 7, pad=(0, 3), stride=(1, 2)),
}


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("case", SHAPES)
@pytest.mark.parametrize("row", ROWS)
def test_threads_change_no_bit(kernels, row, case, direction, dtype):
    """With the best workspace; the first run is held against the law."""
    shape = SHAPES[case]
    a, b = operands(shape, direction, dtype)
    runs = []
    for seed in (0, 0, 1, 4):  # twice with one thread
        kernels.seed(seed)
        runs.append(kernels.conv(row, direction, shape, dtype.name, a, b))
    check_conv(direction, shape, a, b, runs[0])
    assert len({run.tobytes() for run in runs}) == 1


@pytest.mark.parametrize("direction", ["fwd", "dgrad"])
@pytest.mark.parametrize("case", sorted({*SHAPES, "lenet_2"} - {"fully_connected"}))
@pytest.mark.parametrize("row", ROWS)
def test_a_batch_is_its_images_bit_for_bit(kernels, row, case, direction, dtype):
    shape = {**CASES, **SHAPES}[case]
    a, b = operands(shape, direction, dtype)
    whole = kernels.conv(row, direction, shape, dtype.name, a, b)
    one = ConvShape(1, *shape.ints[1:7], shape.pad, shape.stride, shape.dilation, shape.groups)
    for n in range(shape.N):
        single = kernels.conv(row, direction, one, dtype.name, a[n : n + 1], b)
        assert single.tobytes() == whole[n : n + 1].tobytes()


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("case", SHAPES)
def test_every_workspace_is_enough(kernels, case, direction, dtype):
    """From the least on; the harness sees a byte written outside of it."""
    shape = SHAPES[case]
    a, b = operands(shape, direction, dtype)
    kernels.seed(3)
    least, best = kernels.lib.conv_im2col_workspace(shape, dtype.name, direction)
    for workspace in (least, least + 4, (15 * least + best) // 16, (3 * least + best) // 4, best - 1, best):
        workspace = max(workspace, least)
        check_conv(direction, shape, a, b, kernels.conv("im2col", direction, shape, dtype.name, a, b, workspace))
    if least > 0:  # an image that is its own column matrix needs none
        text = rf"^conv_im2col_{direction}: needs .* {least} bytes, but has {least - 1} \(x "
        with pytest.raises(ValueError, match=text):
            kernels.conv("im2col", direction, shape, dtype.name, a, b, least - 1)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_least_workspace_is_small(kernels, direction, dtype):
    """About one channel of one image: a large image needs no more than a sliver of its columns."""
    kernels.seed(15)
    shape = ConvShape(8, 64, 1080, 1920, 64, 7, 7, pad=(3, 3))
    assert kernels.lib.conv_im2col_workspace(shape, dtype.name, direction)[0] < 9 * 2**20


@settings(max_examples=200)
@given(data=st.data())
def test_random_shapes(data):
    shape, kernels = data.draw(shapes()), Cpu(native.cpu())
    direction, row = data.draw(st.sampled_from(DIRECTIONS)), data.draw(st.sampled_from(ROWS))
    dtype = CPU_DTYPES[data.draw(st.sampled_from(sorted(CPU_DTYPES)))]
    least, best = kernels.lib.conv_im2col_workspace(shape, dtype.name, direction)
    a, b = operands(shape, direction, dtype)
    out = kernels.conv(row, direction, shape, dtype.name, a, b, data.draw(st.integers(least, best)))
    check_conv(direction, shape, a, b, out)


@pytest.mark.parametrize("row", ROWS)
def test_nan_and_infinity_stay_where_they_belong(kernels, row):
    shape = CASES["same_3x3"]
    x, w = operands(shape, "fwd", np.float32)
    x[1, 2, 4, 5], x[0, 3, 0, 0] = np.nan, np.inf
    y = kernels.conv(row, "fwd", shape, "float32", x, w)
    wrong = np.zeros(shape.y, bool)
    wrong[1, :, 3:6, 4:7] = wrong[0, :, :2, :2] = True
    assert (np.isfinite(y) != wrong).all()


def test_an_impossible_shape_is_refused(kernels):
    class Shape:
        ints = (1, 3, 5, 5, 4, 3, 3, 4, 3, 0, 0, 1, 1, 1, 1, 1, 0)  # P is 3, not 4

    with pytest.raises(ValueError, match="ConvShape: the output size does not follow from the input size"):
        kernels.lib.conv_im2col_workspace(Shape(), "float32", "fwd")
    with pytest.raises(ValueError, match=r"dtype: takes .* but came int8"):
        kernels.lib.conv_im2col_workspace(CASES["groups"], "int8", "fwd")
    with pytest.raises(ValueError, match="conv_im2col_workspace: direction is fwd, dgrad or wgrad, but came forward"):
        kernels.lib.conv_im2col_workspace(CASES["groups"], "float32", "forward")
