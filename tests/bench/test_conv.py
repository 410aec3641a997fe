"""What is counted and checked of a layer: flops and bytes against an independent count, parts of large results."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpucnn.bench import conv
from gpucnn.bench.cases import CASES, operands
from gpucnn.bench.convnet_benchmarks import LAYERS, layer
from gpucnn.bench.layers import layers_of, shape_from
from gpucnn.conv import DIRECTIONS, ConvShape, law, run
from gpucnn.conv.reference import convolve

SMALL = {name: shape for name, shape in CASES.items() if 0 < shape.flops < 2e5}


def counted_flops(shape):
    """Two for every tap that every output element sums, by walking over them; padding counts, as in the definition."""
    count = 0
    for _ in np.ndindex(shape.N, shape.K, shape.P, shape.Q):
        for _ in range(shape.C // shape.groups * shape.R * shape.S):
            count += 2
    return count


@pytest.mark.parametrize("name", [name for name, shape in SMALL.items() if shape.flops < 2e4] + ["never_square"])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_flops_and_bytes(name, direction):
    shape = CASES[name]
    a, b = operands(shape, direction, np.float16)
    out = run(direction, shape, a, b)
    found = conv.record(shape, direction, "float16")
    assert found["flops"] == counted_flops(shape)
    assert found["bytes"] == a.nbytes + b.nbytes + out.nbytes


def test_flops_of_known_layers():
    """The operations that convnet-benchmarks counts (GFLOP/s times seconds) for L1 and L2 at batch 128."""
    assert layer("L1", 128).flops == pytest.approx(944.68789645199e9 * 0.1314902305603, rel=1e-2)
    assert layer("L2", 128).flops == pytest.approx(1260.782333477e9 * 0.42252349853516, rel=1e-2)
    assert list(LAYERS) == ["L1", "L2", "L3", "L4", "L5"]


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_part_of_a_result_is_that_of_a_smaller_convolution(name, direction):
    shape = SMALL[name]
    a, b = (array.astype(np.float64) for array in operands(shape, direction, np.float32))
    small, of_a, of_b, of_out = conv.part(direction, shape, limit=shape.flops // 7)
    assert small.flops <= shape.flops
    np.testing.assert_allclose(
        convolve(direction, small, a[of_a], b[of_b]), convolve(direction, shape, a, b)[of_out], rtol=1e-12, atol=1e-12
    )


def test_a_part_has_the_ends():
    shape = ConvShape(4, 64, 20, 20, 48, 3, 3, pad=(1, 1))
    for direction in DIRECTIONS:
        small, *_, out = conv.part(direction, shape, limit=shape.flops // 50)
        assert small.flops < shape.flops / 20
        size = shape.operands(direction)[2]
        first = 0 if direction == "wgrad" else size[0] - 1
        assert (first, size[0] - 1) == (out[0].min(), out[0].max())
        assert (0, size[1] - 1) == (out[1].min(), out[1].max())


def test_a_wrong_result_gets_no_time(monkeypatch, capsys):
    shape = ConvShape(2, 4, 9, 8, 6, 3, 3, pad=(1, 1))

    def wrong(*args, algorithm, **options):
        out = run(*args, algorithm=algorithm, **options)
        if algorithm == "winograd2":
            out[0, 1, 2, 3] += 1e-3
        return out

    monkeypatch.setattr(conv, "run", wrong)
    refused = []
    session = SimpleNamespace(refuse=lambda what, why: refused.append((what, str(why))))
    options = SimpleNamespace(device="cpu", compare=None)
    found = conv.measure(session, "fwd", shape, "float32", options, "layer", ["im2col", "winograd2"], 0.0)
    assert list(found["median_ms"]) == ["im2col"]
    ((what, why),) = refused
    assert what == "layer winograd2"
    assert "times the bound at (0, 1, 2, 3)" in why


def test_a_slow_contender_runs_once(monkeypatch):
    ran = []
    monkeypatch.setattr(conv, "LONGEST", 0.0)
    monkeypatch.setattr(conv, "run", lambda *arguments, **options: ran.append(0) or run(*arguments, **options))
    options = SimpleNamespace(device="cpu", compare=None)
    found = conv.measure(None, "fwd", CASES["never_square"], "float32", options, "", ["im2col"], 0.001)
    assert found["runs"] == {"im2col": 1}
    assert len(ran) == 1


def test_nan_and_shape_break_the_law():
    shape = SMALL["never_square"]
    a, b = operands(shape, "fwd", np.float32)
    check, out = conv.Check("cpu", "fwd", shape, a, b), run("fwd", shape, a, b)
    check("auto", out)
    out[0, 0, 0, 0] = np.nan
    with pytest.raises(law.LawBroken, match="not finite"):
        check("auto", out)


@given(st.lists(st.integers(1, 9), min_size=7, max_size=7), st.lists(st.integers(1, 3), min_size=0, max_size=3))
def test_shapes_as_text(sizes, pairs):
    N, C, H, W, K, R, S = sizes
    sizes[2:4] = H + 32, W + 32  # room for the widest filter, 4 x 8 + 1
    shape = shape_from(",".join(map(str, [*sizes, *(f"{v}x{v + 1}" for v in pairs)])))
    assert shape.ints[:7] == tuple(sizes)
    given_pairs = [(v, v + 1) for v in pairs]
    assert [shape.pad, shape.stride, shape.dilation][: len(pairs)] == given_pairs


@given(st.text("0123456789,x- a", max_size=20))
def test_other_text_is_refused_or_a_shape(text):
    try:
        assert isinstance(shape_from(text), ConvShape)
    except ValueError as error:
        assert str(error).startswith(("layers: ", "ConvShape: "))


def test_layers_of_a_network_and_of_nothing():
    names = dict(layers_of("lenet", batch=3))
    assert {shape.N for shape in names.values()} == {3}
    assert [shape.w for shape in names.values()] == [(6, 1, 5, 5), (16, 6, 5, 5), (120, 16, 5, 5)]
    with pytest.raises(ValueError, match=r"^layers: a set .* or a network .*, but came 'vgg-z'$"):
        layers_of("vgg-z")
