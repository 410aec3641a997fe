"""Bias and ReLU at the end of a forward convolution, and transformed filters kept between calls."""

import gc
import threading

import numpy as np
import pytest

import gpucnn
from gpucnn.conv import ALGOS, ConvShape, filters, run
from gpucnn.conv.reference import convolve
from gpucnn.dtype import FLOATS
from tests.cases import CASES, operands
from tests.tolerance import U_ACC, check

ROWS = list(ALGOS["cpu", "fwd"])
SHAPE = ConvShape(2, 12, 9, 11, 10, 3, 3, pad=(1, 1), groups=2)


def expected(shape, x, w, bias, relu):
    """(reference, magnitude) in float64, with the bound over the plane."""
    x, w = x.astype(np.float64), w.astype(np.float64)
    ref = convolve("fwd", shape, x, w)
    magnitude = convolve("fwd", shape, np.abs(x), np.abs(w)).max(axis=(2, 3), keepdims=True)
    if bias is not None:
        ref = ref + bias.astype(np.float64)[:, None, None]
        magnitude = magnitude + np.abs(bias.astype(np.float64))[:, None, None]
    return (np.maximum(ref, 0) if relu else ref), magnitude


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("with_bias", "relu"), [(True, False), (False, True), (True, True)])
def test_bias_and_relu(name, dtype, with_bias, relu):
    row = ALGOS["cpu", "fwd"][name]
    for shape in (SHAPE, *CASES.values()):
        if not row.takes(shape, dtype):
            continue
        x, w = operands(shape, "fwd", FLOATS[dtype])
        bias = np.random.default_rng(1).standard_normal(shape.K).astype(FLOATS[dtype]) if with_bias else None
        y = run("fwd", shape, x, w, bias=bias, relu=relu, algorithm=name)
        ref, magnitude = expected(shape, x, w, bias, relu)
        check(y, ref, magnitude, shape.terms("fwd") + 1, row.error)
        if relu:
            assert (y >= 0).all()
            assert (y == 0).any() or shape.N == 0 or y.size < 20


@pytest.mark.parametrize("name", ROWS)
def test_relu_keeps_a_nan(name):
    x, w = operands(SHAPE, "fwd", np.float32)
    if not ALGOS["cpu", "fwd"][name].takes(SHAPE, "float32"):
        pytest.skip("not for this shape")
    x[1, 3, 4, 5] = np.nan
    assert np.isnan(run("fwd", SHAPE, x, w, relu=True, algorithm=name)[1, 0, 4, 5])


def test_refusals():
    x, w = operands(SHAPE, "fwd", np.float32)
    with pytest.raises(ValueError, match=r"bias is \(10,\) float32 on cpu, but came \(9,\) float32 on cpu"):
        run("fwd", SHAPE, x, w, bias=np.zeros(9, np.float32))
    with pytest.raises(ValueError, match=r"bias is \(10,\) float32 on cpu, but came \(10,\) float16 on cpu"):
        run("fwd", SHAPE, x, w, bias=np.zeros(10, np.float16))
    with pytest.raises(ValueError, match="bias and relu are of fwd, but came relu"):
        run("dgrad", SHAPE, *operands(SHAPE, "dgrad", np.float32), relu=True)


def test_conv2d_with_relu_has_the_gradients_of_conv2d_then_relu():
    leaves = [gpucnn.randn(2, 3, 8, 9), gpucnn.randn(4, 3, 3, 3), gpucnn.randn(4)]
    results = []
    for fused in (True, False):
        tensors = [gpucnn.tensor(t.numpy(), requires_grad=True) for t in leaves]
        y = gpucnn.conv2d(*tensors, padding=1, relu=fused)
        y = y if fused else gpucnn.relu(y)
        (y * y).sum().backward()
        results.append([y.numpy(), *(t.grad.numpy() for t in tensors)])
    for fused, apart in zip(*results, strict=True):
        assert np.array_equal(fused, apart)


# --- filters that are kept --------------------------------------------------------------------------------------------
@pytest.fixture
def transforms(monkeypatch):
    """Counts transforms, by name."""
    counted = []
    for name in ("winograd2", "winograd4"):
        row = ALGOS["cpu", "fwd"][name]

        def transform(*args, name=name, original=row.transform):
            counted.append(name)
            original(*args)

        monkeypatch.setitem(ALGOS["cpu", "fwd"], name, type(row)(**{**vars(row), "transform": transform}))
    return counted


def infer(x, weight, **options):
    with gpucnn.no_grad():
        return gpucnn.conv2d(x, weight, padding=1, algorithm="winograd4", **options).numpy()


def test_transformed_once_while_the_weight_does_not_change(transforms):
    x, weight = gpucnn.randn(1, 16, 20, 20), gpucnn.randn(16, 16, 3, 3)
    weight.requires_grad = True
    first = infer(x, weight)
    assert np.array_equal(infer(x, weight), first)
    assert transforms == ["winograd4"]
    optimizer = gpucnn.optim.SGD([weight], lr=0.1)
    gpucnn.conv2d(x, weight, padding=1, algorithm="winograd4").sum().backward()
    assert transforms == ["winograd4"] * 2  # in training nothing is kept, as the next step changes the weight
    optimizer.step()
    after = infer(x, weight)
    assert transforms == ["winograd4"] * 3
    fresh = gpucnn.tensor(weight.numpy().copy())
    assert np.array_equal(after, infer(x, fresh)) and not np.array_equal(after, first)
    infer(gpucnn.randn(3, 16, 20, 20), weight)  # another batch takes the same filters
    assert transforms == ["winograd4"] * 4


def test_a_weight_that_dies_takes_its_filters_along():
    gc.collect()
    before = filters.kept_bytes()
    x, weight = gpucnn.randn(1, 16, 20, 20), gpucnn.randn(16, 16, 3, 3)
    infer(x, weight)
    assert filters.kept_bytes() >= before + 4 * 36 * 16 * 16
    del weight
    gc.collect()
    assert filters.kept_bytes() == before


def test_no_more_is_kept_than_the_limit_on_workspace(transforms):
    gc.collect()
    x, weights = gpucnn.randn(1, 16, 20, 20), [gpucnn.randn(16, 16, 3, 3) for _ in range(40)]
    one = ALGOS["cpu", "fwd"]["winograd4"].filters(ConvShape(1, 16, 20, 20, 16, 3, 3, (1, 1)), "float32")
    with gpucnn.using(workspace=2**20):
        room = (2**20 - filters.kept_bytes()) // one
        assert 0 < room < 40
        for weight in weights:
            infer(x, weight)
        assert filters.kept_bytes() <= 2**20
        del transforms[:]
        for weight in weights:
            infer(x, weight)
    assert len(transforms) == 40 - room


def test_threads_share_the_filters():
    x, weight = gpucnn.randn(1, 16, 20, 20), gpucnn.randn(16, 16, 3, 3)
    expect, results = infer(x, gpucnn.tensor(weight.numpy().copy())), []
    threads = [threading.Thread(target=lambda: results.append(infer(x, weight))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4 and all(np.array_equal(r, expect) for r in results)


def test_error_of_the_law_is_relative_to_the_bias_too():
    """The helper above: without the bias in the magnitude, a large bias would break the law by its own rounding."""
    x, w = operands(SHAPE, "fwd", np.float32)
    bias = np.full(SHAPE.K, 1e4, np.float32)
    ref, magnitude = expected(SHAPE, x, w, bias, False)
    y = run("fwd", SHAPE, x, w, bias=bias)
    check(y, ref, magnitude, SHAPE.terms("fwd") + 1)
    assert (np.abs(y - ref) <= 4 * U_ACC * np.abs(ref) + 2 * U_ACC * magnitude).all()
