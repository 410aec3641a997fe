"""bench.curve: a residual network trains as PyTorch's does, from the same weights on the same batches."""

import numpy as np
import pytest

from bench import curve
from gpucnn.data import Images
from gpucnn.models import cifar_resnet

DEPTH, BATCH, STEPS = 8, 8, 10


def batches(dtype):
    """Pictures whose classes can be told apart: a colour each, under noise."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 100)
    colours = rng.integers(60, 196, (10, 3, 1, 1))[labels]
    images = (colours + rng.integers(-60, 60, (100, 3, 32, 32))).astype(np.uint8)
    data = Images(images, labels, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    return [(x.astype(dtype), y) for x, y in curve.batches_of(data, BATCH, STEPS)]


def pair(dtype):
    """(gpucnn's model, PyTorch's) with the same weights."""
    model = cifar_resnet(DEPTH)
    twin = curve.torch_resnet(DEPTH, model.state_dict())
    return model.to(dtype), twin.double() if dtype == "float64" else twin


@pytest.mark.torch
def test_float64_agrees_step_by_step(monkeypatch):
    """Losses and weights; where the weight decay of 1e-4 is left out, they do not."""
    model, twin = pair("float64")
    before, theirs = model.state_dict(), curve.torch_train(twin, batches("float64"))
    before = {name: array.copy() for name, array in before.items()}
    np.testing.assert_allclose(curve.train(model, batches("float64")), theirs, rtol=1e-9)
    state = twin.state_dict()
    for name, array in model.state_dict().items():
        np.testing.assert_allclose(array, state[name].numpy(), rtol=1e-6, atol=1e-9, err_msg=name)
        assert not np.array_equal(array, before[name])
    model.load_state_dict(before)
    monkeypatch.setattr(curve, "SGD", {**curve.SGD, "weight_decay": 0})
    assert not np.allclose(curve.train(model, batches("float64")), theirs, rtol=1e-6)


@pytest.mark.torch
def test_float32_agrees_at_a_small_rate(monkeypatch):
    """So small that a rounding which moves an activation across the kink of a ReLU does not show."""
    monkeypatch.setattr(curve, "SGD", {**curve.SGD, "lr": 1e-3})
    model, twin = pair("float32")
    ours, theirs = curve.train(model, batches("float32")), curve.torch_train(twin, batches("float32"))
    assert ours[0] == pytest.approx(theirs[0], rel=1e-6)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)


@pytest.mark.torch
def test_all_runs_start_alike():
    losses = curve.runs(DEPTH, lambda: batches("float32")[:2])
    first = [values[0] for values in losses.values()]
    np.testing.assert_allclose(first, first[0], rtol=1e-5)
    assert len(losses) == 7 and all(len(values) == 2 for values in losses.values())


def test_within_the_noise():
    theirs = np.array([2.0, 1.9, 1.8, 1.7, 1.6])
    noise = np.array([1e-6, 1e-4, 1e-3, -1e-3, 1e-2])
    losses = {"gpucnn": theirs - 2 * noise, "torch": theirs, "a": theirs + noise, "b": theirs}
    blocks = curve.noise(losses)
    assert [block["steps"] for block in blocks] == [[0, 0], [1, 1], [2, 3], [4, 4]]
    assert [round(block["gpucnn"] / block["torch"]["a"], 3) for block in blocks] == [2, 2, 2, 2]
    assert curve.within(blocks)
    losses["gpucnn"][1] += 1e-3
    assert not curve.within(curve.noise(losses))
