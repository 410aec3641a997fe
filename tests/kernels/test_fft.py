"""The FFT row where its tiles, filters and padding meet, in any workspace; products of spectra; the cache of plans."""

import ctypes
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gpucnn.conv.algos import ALGOS
from gpucnn.conv.shape import DIRECTIONS, ConvShape
from tests.cases import operands
from tests.kernels.harness import DTYPES, InOut
from tests.tolerance import check_conv, factor

every_direction = pytest.mark.parametrize("direction", DIRECTIONS)
MOST_PLANS = 256  # kMostFftPlans of csrc/handles.h

SHAPES = {  # tiles down, tiles across, filters and padding of every size, groups with few and many channels
    "tiles": ConvShape(3, 5, 40, 60, 6, 5, 3, pad=(1, 2)),
    "across": ConvShape(1, 3, 9, 200, 2, 2, 7, pad=(1, 3)),
    "tall_filter": ConvShape(1, 3, 60, 9, 2, 21, 2, pad=(10, 1)),
    "pad_beyond_filter": ConvShape(2, 3, 7, 5, 4, 4, 3, pad=(9, 5)),
    "groups": ConvShape(5, 12, 20, 22, 30, 5, 5, pad=(2, 2), groups=2),
    "depthwise": ConvShape(2, 9, 30, 28, 9, 13, 11, pad=(6, 5), groups=9),
    "depthwise_multiplier": ConvShape(2, 4, 30, 28, 12, 7, 7, pad=(3, 3), groups=4),
}
every_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=list(SHAPES))


def compute(kernels, direction, shape, dtype=DTYPES["float32"], **options):
    """(a, b, result) of the row on random operands."""
    a, b = operands(shape, direction, dtype)
    return a, b, kernels.conv("fft", direction, shape, dtype.name, a, b, **options)


def check(direction, shape, a, b, out):
    row = ALGOS["cuda", direction]["fft"]
    check_conv(direction, shape, a, b, out, row.error, row.bound)


@every_shape
@every_direction
def test_borders_of_tiles(kernels, direction, shape):
    """Half of what the row declares, so that this is a margin."""
    a, b, out = compute(kernels, direction, shape)
    assert factor(direction, shape, a, b, out, "plane") < ALGOS["cuda", direction]["fft"].error / 2


@every_direction
def test_several_tiles(kernels, direction):
    """The shapes above do what their names say; a small image takes one small tile."""
    assert kernels.lib.conv_fft_tile(SHAPES["tiles"], "float32", direction)[0] < 40
    assert kernels.lib.conv_fft_tile(SHAPES["across"], "float32", direction)[1] < 200
    assert kernels.lib.conv_fft_tile(ConvShape(1, 2, 3, 4, 2, 2, 2), "float32", direction) == (8, 8)


@every_direction
@pytest.mark.parametrize(("name", "dtype"), [("tiles", "float32"), ("groups", "float16"), ("depthwise", "bfloat16")])
def test_any_workspace(kernels, direction, name, dtype):
    """One tile at a time, several, all: the same bits in fwd and dgrad, where cuFFT does not choose by the batch."""
    shape, dtype = SHAPES[name], DTYPES[dtype]
    least, best = kernels.workspace("fft", direction, shape, dtype.name)
    assert least < best
    results = []
    for workspace in (least, (least + 2 * best) // 3, best + 1000):
        a, b, out = compute(kernels, direction, shape, dtype, workspace=workspace)
        check(direction, shape, a, b, out)
        results.append(out.tobytes())
    if direction != "wgrad" and not kernels.cupy:
        assert len(set(results)) == 1
    with pytest.raises(ValueError, match=f"at least {least} bytes, but has {least - 1} "):
        compute(kernels, direction, shape, dtype, workspace=least - 1)


@pytest.mark.parametrize("direction", ["fwd", "dgrad"])
def test_a_batch_has_the_bits_of_its_images(kernels, direction):
    """Though the batch takes other tiles of products, and other chunks."""
    if kernels.cupy:
        pytest.skip("cuFFT does not promise it: it may choose its kernels by the batch")
    shape, one = (ConvShape(n, 10, 12, 30, 9, 3, 5, pad=(2, 1)) for n in (7, 1))
    a, b, whole = compute(kernels, direction, shape)
    for n in (0, 3, 6):
        single = kernels.conv("fft", direction, one, "float32", a[n : n + 1], b)
        assert single.tobytes() == whole[n : n + 1].tobytes()


@st.composite
def shapes(draw):
    def between(low, high):
        return draw(st.integers(low, high))

    groups, taps, pad = between(1, 3), (between(1, 14), between(1, 14)), (between(0, 16), between(0, 16))
    image = [max(1, r - 2 * p + between(0, 30)) for r, p in zip(taps, pad, strict=True)]
    return ConvShape(
        *(between(0, 3), groups * between(1, 4), *image, groups * between(1, 4), *taps), pad=pad, groups=groups
    )


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_random_shapes(kernels, data):
    shape, direction = data.draw(shapes()), data.draw(st.sampled_from(DIRECTIONS))
    dtype = DTYPES[data.draw(st.sampled_from(sorted(DTYPES)))]
    assume(ALGOS["cuda", direction]["fft"].takes(shape, dtype.name))
    least, best = kernels.workspace("fft", direction, shape, dtype.name)
    check(direction, shape, *compute(kernels, direction, shape, dtype, workspace=data.draw(st.integers(least, best))))


@every_direction
def test_tf32_is_float32(kernels, direction):
    """Products of spectra stay in float32."""
    a, b, out = compute(kernels, direction, SHAPES["tiles"])
    assert np.array_equal(out, kernels.conv("fft", direction, SHAPES["tiles"], "tf32", a, b))


def test_what_is_not_taken_is_refused(kernels):
    for shape in (
        ConvShape(1, 1, 9, 9, 1, 3, 3, stride=(1, 2)),
        ConvShape(1, 1, 9, 9, 1, 3, 3, dilation=(2, 1)),
        ConvShape(1, 1, 200, 9, 1, 129, 3),
    ):
        assert not ALGOS["cuda", "fwd"]["fft"].takes(shape, "float32")
        with pytest.raises(ValueError, match=r"conv_fft: takes stride 1, dilation 1, filters up to 128 .*x .1, 1, "):
            kernels.lib.conv_fft_workspace(shape, "float32", "fwd")
    with pytest.raises(ValueError, match="conv_fft: direction is fwd, dgrad or wgrad, but came forward"):
        kernels.lib.conv_fft_filters_bytes(SHAPES["tiles"], "float32", "forward")


@every_direction
def test_memory_stays_sensible(kernels, direction):
    """Filters and one tile fit the default setting `workspace`, also where the fastest tile would not."""
    for shape in (ConvShape(8, 512, 112, 112, 512, 5, 5), ConvShape(64, 64, 256, 256, 64, 31, 31, pad=(15, 15))):
        filters = 0 if direction == "wgrad" else kernels.lib.conv_fft_filters_bytes(shape, "float32", direction)
        assert filters + kernels.workspace("fft", direction, shape, "float32")[0] < 256 * 2**20


def make_filters(kernels, shape, w, stream=None):
    """The spectra of w, with a stream of one's own."""
    size = kernels.lib.conv_fft_filters_bytes(shape, "float32", "fwd")
    memory, address = kernels.memory(np.zeros(size, np.uint8))
    kernels.lib.conv_fft_filters(shape, "float32", "fwd", w.ctypes.data, address, stream)
    return memory[: w[:, :, 0, 0].size * 8 * 5 * 8]


@pytest.fixture
def host_kernels(kernels):
    if kernels.cupy:
        pytest.skip("counts plans of the stand-in for cuFFT")
    return kernels


def test_plans_are_bounded(host_kernels):
    """The last used stay, and so do those of graphs: stream 1 is being captured."""
    count = ctypes.CDLL(host_kernels.lib.__file__).simt_cufft_plans

    # A filter as large as its image takes a tile of its size, and up to 8 of them are transformed in one batch.
    sides = (8, 12, 16, 20, 24, 28)
    sizes = [(K, R, S) for R in sides for S in sides for K in range(1, 9)]
    assert len(sizes) >= MOST_PLANS + 30

    def use(size, stream=0):
        K, R, S = size
        make_filters(host_kernels, ConvShape(1, 1, R, S, K, R, S), np.ones((K, 1, R, S), np.float32), stream)

    use(sizes[0], stream=1)
    for size in sizes[1 : MOST_PLANS + 10]:
        use(size)
    full = count()
    assert full > MOST_PLANS
    for size in sizes[MOST_PLANS + 10 :]:
        use(size)
        assert count() == full
    use(sizes[0])  # kept: makes no plan
    use(sizes[-2])
    assert count() == full


def test_threads_share_no_plan(host_kernels):
    """Eight threads use the same plans at once, each with its own work area."""
    w = np.random.default_rng(0).standard_normal((40, 3, 3, 3), np.float32)
    shape = ConvShape(1, 3, 8, 8, 40, 3, 3)
    expect = make_filters(host_kernels, shape, w, 0).copy()
    with ThreadPoolExecutor(8) as pool:
        for result in pool.map(lambda _: make_filters(host_kernels, shape, w, 0), range(64)):
            assert np.array_equal(result, expect)


@pytest.mark.parametrize(("rows", "columns", "depth"), [(1, 1, 1), (17, 9, 5), (35, 20, 4), (3, 33, 2), (40, 3, 0)])
@pytest.mark.parametrize("accumulate", [False, True])
def test_products_of_spectra(kernels, rows, columns, depth, accumulate):
    """Every size of tile, full and not, on small integers: exact."""
    rng = np.random.default_rng(0)
    groups, frequencies = 2, 40

    def spectra(*size):
        return rng.integers(-3, 4, (groups, *size, frequencies, 2)).astype(np.float32)

    def wide(array):
        return (array[..., 0] + 1j * array[..., 1]).astype(np.complex128)

    a, b, old = spectra(rows, depth), spectra(depth, columns), spectra(rows, columns)
    expect = np.einsum("gmkf,gknf->gmnf", wide(a), wide(b)) + accumulate * wide(old)
    strides = [depth, 1, rows * depth, columns, 1, depth * columns, columns, 1, rows * columns]
    (out,) = kernels(
        "multiply_spectra", frequencies, rows, columns, depth, groups, strides, a, b, InOut(old), accumulate
    )
    assert np.array_equal(wide(out), expect)
