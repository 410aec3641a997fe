"""Layers at random sizes beside PyTorch: forward and every gradient, in float64."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import gpucnn as g
from tests.tolerance import U_OUT

pytestmark = pytest.mark.torch
PAIR = st.tuples(st.integers(1, 3), st.integers(1, 3))
FEW = settings(max_examples=40)


def compare(function, oracle, arrays):
    """The same results and gradients but for the order of sums, relative to the largest value of each."""
    import torch

    leaves = [g.tensor(a, requires_grad=True) for a in arrays]
    twins = [torch.tensor(a, requires_grad=True) for a in arrays]
    y, ref = function(*leaves), oracle(torch.nn.functional, *twins)
    gy = np.random.default_rng(1).standard_normal(y.shape)
    y.backward(g.tensor(gy))
    ref.backward(torch.tensor(gy))
    pairs = [(y.numpy(), ref.detach().numpy())]
    pairs += [(leaf.grad.numpy(), twin.grad.numpy()) for leaf, twin in zip(leaves, twins, strict=True)]
    for ours, theirs in pairs:
        assert ours.shape == theirs.shape
        assert np.abs(ours - theirs).max(initial=0) <= 64 * U_OUT["float64"] * max(1, np.abs(theirs).max(initial=0))


def normal(*shapes):
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape) for shape in shapes]


@FEW
@given(PAIR, PAIR, PAIR, PAIR, PAIR, PAIR, st.integers(1, 3), st.booleans())
def test_conv_transpose2d(image, taps, stride, dilation, pad, extra, groups, bias):
    pad = tuple(p - 1 for p in pad)
    extra = tuple(min(e, s) - 1 for e, s in zip(extra, stride, strict=True))
    assume(all(d * (t - 1) >= 2 * p for d, t, p in zip(dilation, taps, pad, strict=True)))
    options = {"stride": stride, "padding": pad, "output_padding": extra, "dilation": dilation, "groups": groups}
    shapes = [(2, 2 * groups, *image), (2 * groups, 3, *taps), (3 * groups,)][: 2 + bias]
    compare(
        lambda *x: g.conv_transpose2d(*x, **options), lambda f, *x: f.conv_transpose2d(*x, **options), normal(*shapes)
    )


@given(st.tuples(st.integers(1, 9), st.integers(1, 9)), PAIR, PAIR, PAIR, st.booleans(), st.booleans())
def test_avg_pool2d(image, taps, stride, pad, ceil_mode, count_include_pad):
    pad = tuple(min(p - 1, t // 2) for p, t in zip(pad, taps, strict=True))
    assume(all(n + 2 * p >= t for n, p, t in zip(image, pad, taps, strict=True)))
    options = (taps, stride, pad, ceil_mode, count_include_pad)
    compare(lambda x: g.avg_pool2d(x, *options), lambda f, x: f.avg_pool2d(x, *options), normal((2, 3, *image)))


@FEW
@given(st.integers(1, 9), st.integers(1, 9), PAIR)
def test_local_response_norm(channels, size, image):
    compare(
        lambda x: g.local_response_norm(x, size, 0.3, 0.75, 1.0),
        lambda f, x: f.local_response_norm(x, size, 0.3 * size, 0.75, 1.0),
        normal((2, channels, *image)),
    )


@FEW
@given(st.integers(1, 3), st.integers(1, 3), PAIR)
def test_group_norm(groups, width, image):
    channels = groups * width
    compare(
        lambda x, *p: g.group_norm(x, groups, *p, eps=0.1),
        lambda f, x, *p: f.group_norm(x, groups, *p, eps=0.1),
        normal((2, channels, *image), (channels,), (channels,)),
    )


@FEW
@given(st.integers(1, 5), st.integers(1, 7), st.sampled_from(["mean", "sum", "none"]), st.floats(0, 1), st.booleans())
def test_cross_entropy(rows, classes, reduction, smoothing, weighted):
    import torch

    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, rows)
    weight = rng.uniform(0.5, 2, classes) if weighted else None
    compare(
        lambda x: g.cross_entropy(x, labels, reduction, weight=weight, label_smoothing=smoothing),
        lambda f, x: f.cross_entropy(
            x,
            torch.tensor(labels),
            torch.tensor(weight) if weighted else None,
            reduction=reduction,
            label_smoothing=smoothing,
        ),
        normal((rows, classes)),
    )
