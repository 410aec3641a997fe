"""Ten crops and several scales: where the crops are, and that the mean is of probabilities."""

import sys

import numpy as np
import pytest

import gpucnn
from gpucnn import nn
from gpucnn.data import predict_scales, predict_ten_crops, resize_short_side, ten_crops
from tests.simt import fake_cupy

IMAGES = np.random.default_rng(0).standard_normal((2, 3, 9, 8)).astype(np.float32)


def model(x):
    """Logits (N, 3) that depend on every pixel's place."""
    weights = np.arange(np.prod(x.shape[1:])).reshape(x.shape[1:]) % 7
    return gpucnn.stack([(x * gpucnn.tensor((weights == k).astype(np.float32))).sum((1, 2, 3)) for k in range(3)], 1)


def test_where_the_crops_are():
    crops = ten_crops(IMAGES, (4, 3))
    assert crops.shape == (10, 2, 3, 4, 3)
    starts = [(0, 0), (0, 5), (5, 0), (5, 5), (2, 2)]
    for crop, mirrored, (y, x) in zip(crops[:5], crops[5:], starts, strict=True):
        assert np.array_equal(crop, IMAGES[:, :, y : y + 4, x : x + 3])
        assert np.array_equal(mirrored, crop[..., ::-1])


def test_on_the_device(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy)
    assert np.array_equal(ten_crops(fake_cupy.asarray(IMAGES), (4, 3)).get(), ten_crops(IMAGES, (4, 3)))


def test_crops_that_do_not_fit():
    with pytest.raises(ValueError, match="ten_crops: 10 x 3 pixels lie in the images"):
        ten_crops(IMAGES, (10, 3))


def expected(images, size):
    logits = np.stack([model(gpucnn.tensor(np.ascontiguousarray(c))).numpy() for c in ten_crops(images, size)])
    p = np.exp(logits - logits.max(-1, keepdims=True))
    return (p / p.sum(-1, keepdims=True)).mean(0)


def test_ten_crops_average_probabilities():
    found = predict_ten_crops(model, IMAGES, (4, 3))
    np.testing.assert_allclose(found.numpy(), expected(IMAGES, (4, 3)), rtol=1e-5)
    np.testing.assert_allclose(found.numpy().sum(1), 1, rtol=1e-6)
    assert np.array_equal(predict_ten_crops(model, gpucnn.tensor(IMAGES), (4, 3)).numpy(), found.numpy())


def test_scales_average_the_crops_of_each():
    found = predict_scales(model, IMAGES, (5, 5), sides=(5, 8, 11))
    wanted = np.mean([expected(resize_short_side(IMAGES, side), (5, 5)) for side in (5, 8, 11)], 0)
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-5)


def test_a_network_in_float16_without_a_graph():
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 4, 5)).to("float16")
    found = predict_ten_crops(lambda x: net(x.astype("float16")), IMAGES, (4, 4))
    assert found.dtype == np.float32 and found.shape == (2, 5) and not found.requires_grad
