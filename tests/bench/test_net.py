"""Training steps: what is timed is a training step, wrong networks are refused, PyTorch's twin computes the same."""

import numpy as np
import pytest

from gpucnn.bench import net
from gpucnn.models import MODELS


def test_phases_train():
    step = net.Step("lenet", 4, "float32", "cpu")
    before, losses = [p.numpy().copy() for p in step.model.parameters()], []
    for _ in range(3):
        step.forward()
        losses.append(step.loss.item())
        step.backward()
        step.update()
    assert losses[2] < losses[0]
    for old, parameter in zip(before, step.model.parameters(), strict=True):
        assert not np.array_equal(old, parameter.numpy())


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_right_networks_pass_the_check(dtype):
    for name in ("lenet", "cifar-resnet-20"):
        step = net.Step(name, 2, dtype, "cpu")
        state = {key: array.copy() for key, array in step.model.state_dict().items()}
        net.check(name, step.model, dtype, "cpu")
        for key, array in step.model.state_dict().items():
            assert np.array_equal(array, state[key]), key


@pytest.mark.parametrize("what", ["scores", "gradient"])
def test_wrong_networks_do_not(what, monkeypatch):
    model = net.Step("lenet", 2, "float32", "cpu").model
    right, wrong = net._scores_and_gradient, {"scores": 0, "gradient": 1}[what]

    def changed(network, images):
        found = list(right(network, images))
        if network is model:
            found[wrong] = found[wrong][..., ::-1].copy()
        return found

    monkeypatch.setattr(net, "_scores_and_gradient", changed)
    with pytest.raises(net.Wrong, match=what):
        net.check("lenet", model, "float32", "cpu")


def test_flops_of_alexnet():
    """Layer by layer: AlexNet of "One Weird Trick" (64, 192, 384, 256, 256 filters; three fully connected)."""
    layers = [(55, 64, 3, 11), (27, 192, 64, 5), (13, 384, 192, 3), (13, 256, 384, 3), (13, 256, 256, 3)]
    products = sum(p * p * k * c * r * r for p, k, c, r in layers) + 9216 * 4096 + 4096 * 4096 + 4096 * 1000
    assert net.flops("alexnet-owt") == 2 * products


@pytest.mark.torch
@pytest.mark.parametrize("name", ["lenet", "cifar-resnet-20"])
def test_pytorchs_twin_takes_the_same_steps(name):
    from gpucnn.bench.torch_twin import TorchStep

    step = net.Step(name, 4, "float32", "cpu")
    twins = [TorchStep(step, channels_last) for channels_last in (False, True)]
    losses = []
    for each in (step, *twins):
        losses.append([])
        for _ in range(3):
            each.forward()
            losses[-1].append(each.loss.item())
            each.backward()
            each.update()
    for theirs in losses[1:]:
        np.testing.assert_allclose(theirs, losses[0], rtol=1e-4)


@pytest.mark.torch
def test_pytorchs_twin_of_ceil_mode_pooling_and_two_heads():
    """GoogLeNet: pooling that rounds up, response normalisation, channels joined, three weighted losses."""
    from gpucnn import nn
    from gpucnn.bench.torch_twin import TorchStep

    step = net.Step("googlenet", 1, "float32", "cpu")
    for module in step.model.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    twin = TorchStep(step)
    assert not twin.dropped
    twin.check(1e-4)


def test_every_network_of_the_benchmarks_is_one():
    from gpucnn.bench import cnn_benchmarks, convnet_benchmarks

    names = {*net.NETWORKS, *net.QUICK, *cnn_benchmarks.NETWORKS.values()}
    names |= {name for _, name, *_ in convnet_benchmarks.NETWORKS}
    assert names <= MODELS.keys()
