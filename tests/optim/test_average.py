"""Averages of weights along a run, and of the predictions of several networks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gpucnn
from gpucnn import nn
from gpucnn.checkpoint import load_checkpoint, save_checkpoint
from gpucnn.optim import SGD, Ensemble, MovingAverage, Schedule, schedule


def network():
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Linear(4, 2))


@given(st.lists(st.floats(-10, 10, width=32), min_size=1, max_size=30), st.sampled_from([0.0, 0.5, 0.9, 1.0]))
def test_the_average_of_a_weight(values, decay):
    """With decay 1 the mean; else exponential, from the first value on, without a bias towards the start."""
    net = nn.Linear(1, 1, bias=False)
    average = MovingAverage(net, decay)
    expected = 0.0
    for n, value in enumerate(values):
        net.weight.data[...] = value
        average.update(net)
        keep = min(decay, n / (n + 1))
        expected = keep * expected + (1 - keep) * value
    np.testing.assert_allclose(average.model.weight.item(), expected, rtol=1e-5, atol=1e-5)
    if decay == 1:
        np.testing.assert_allclose(expected, np.mean(values), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_average_is_a_network_of_its_own(dtype):
    net = network().to(dtype)
    net[3].tied = net[0]
    average = MovingAverage(net, 1.0)
    weights = []
    for _ in range(3):
        for tensor in [*net.parameters(), *net.buffers()]:
            tensor.data[...] += 1
        weights.append(net[0].weight.numpy().astype(np.float64))
        average.update(net)
    mean = average.model[0].weight
    np.testing.assert_allclose(mean.numpy(), np.mean(weights, axis=0), rtol=1e-6)  # a shared weight counts once
    assert mean.dtype == np.float32 and not mean.requires_grad
    np.testing.assert_allclose(average.model[1].running_mean.numpy(), 2)
    average.train()
    x = gpucnn.randn(5, 3)
    assert np.array_equal(average(x).numpy(), average(x).numpy())  # no dropout
    assert net.training and net[0].weight.requires_grad


def test_an_average_continues_from_a_checkpoint(tmp_path):
    net = network()
    average = MovingAverage(net, 0.9)
    for _ in range(3):
        net[0].weight.data[...] += 1
        average.update(net)
    save_checkpoint(tmp_path / "average.safetensors", average)
    other = MovingAverage(network(), 0.9)
    load_checkpoint(tmp_path / "average.safetensors", other)
    net[0].weight.data[...] += 1
    for one in (average, other):
        one.update(net)
    assert other.count.item() == 4
    for ours, theirs in zip(average.state_dict().values(), other.state_dict().values(), strict=True):
        assert np.array_equal(ours, theirs)


def test_other_networks_are_refused():
    with pytest.raises(ValueError, match=r"MovingAverage\.update: takes the network that it was made of"):
        MovingAverage(nn.Linear(2, 2)).update(nn.Linear(2, 3))
    with pytest.raises(ValueError, match="decay lies in"):
        MovingAverage(nn.Linear(2, 2), 1.5)


def test_an_ensemble_averages_probabilities():
    a, b = network(), network().to("float64").to("float32")
    ensemble = Ensemble(a, b)
    x = gpucnn.randn(6, 3)
    expected = (gpucnn.softmax(a.eval()(x)).numpy() + gpucnn.softmax(b.eval()(x)).numpy()) / 2
    a.train()
    a[0].weight.data[...] = 0  # the members are copies
    ensemble.train()
    result = ensemble(x)
    np.testing.assert_allclose(result.numpy(), expected, rtol=1e-6)
    np.testing.assert_allclose(result.numpy().sum(1), 1, rtol=1e-6)
    assert not result.requires_grad and a.training
    with pytest.raises(ValueError, match="Ensemble: needs at least one network"):
        Ensemble()(x)


def test_snapshots_of_one_run(tmp_path):
    """Three cycles of the cosine give three members that differ; they come back from a checkpoint."""
    net, ensemble = network(), Ensemble()
    trained = SGD(net.parameters(), lr=0.1)
    rate = Schedule(trained, schedule.cosine(6, cycles=3))
    for t in range(6):
        trained.zero_grad()
        gpucnn.cross_entropy(net(gpucnn.randn(8, 3)), np.arange(8) % 2).backward()
        trained.step()
        rate.step()
        if (t + 1) % 2 == 0:
            ensemble.add(net)
    x = gpucnn.randn(4, 3)
    outputs = [ensemble.children()[i][1](x).numpy() for i in range(len(ensemble))]
    assert len(outputs) == 3 and not np.array_equal(outputs[0], outputs[2])
    save_checkpoint(tmp_path / "ensemble.safetensors", ensemble)
    other = Ensemble(network(), network(), network())
    load_checkpoint(tmp_path / "ensemble.safetensors", other)
    assert np.array_equal(other(x).numpy(), ensemble(x).numpy())
