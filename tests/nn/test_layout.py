"""Networks in channels_last order: one change of layout at the border, and the same results."""

import numpy as np
import pytest

import gpucnn as g
from gpucnn import layout, nn
from gpucnn.models import INPUTS, MODELS


class Watch:
    """Counts copies into another layout, and in which layout each convolution, pool and norm is given its input."""

    def __init__(self, monkeypatch):
        self.orders = []
        for kind in (nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d, nn.AvgPool2d):
            monkeypatch.setattr(kind, "forward", self.watched(kind.forward))

    def watched(self, forward):
        def call(module, x, *args, **options):
            self.orders.append(x.layout)
            return forward(module, x, *args, **options)

        return call


@pytest.mark.parametrize("name", ["cifar-resnet-20", "lenet", "googlenet", "densenet-121", "alexnet", "vgg-a"])
def test_a_network_keeps_the_order_inside(name, monkeypatch):
    watch = Watch(monkeypatch)
    with nn.init.skip():
        network = MODELS[name]().eval().to("channels_last")
    rng = np.random.default_rng(0)
    with g.no_grad():
        network(g.tensor(rng.standard_normal((1, *INPUTS[name]), np.float32)))
    assert set(watch.orders) == {"channels_last"}


@pytest.mark.parametrize("name", ["cifar-resnet-20", "lenet"])
def test_a_training_step_is_the_same(name):
    found = []
    for order in layout.LAYOUTS:
        g.manual_seed(0)
        network = MODELS[name]().to(order)
        rng = np.random.default_rng(1)
        images = g.tensor(rng.standard_normal((4, *INPUTS[name]), np.float32), requires_grad=True)
        loss = g.cross_entropy(network(images), g.tensor(rng.integers(0, 10, 4)))
        loss.backward()
        found.append([loss, images.grad, *(p.grad for p in network.parameters())])
    for first, last in zip(*found, strict=True):
        size = np.abs(first.numpy()).max()
        np.testing.assert_allclose(first.numpy(), last.numpy(), rtol=1e-3, atol=2e-4 * size)


def test_gradients_keep_the_order(monkeypatch):
    """Nothing that reaches a convolution, norm or pool on the way there or back is in the other order."""
    x, seen = g.randn(2, 3, 32, 32).to("channels_last"), []
    real = layout.in_memory

    def counted(array, last, out=None):
        if out is None:  # else it is what a row of ALGOS has computed in the other order
            seen.append(last and array.flags.c_contiguous and not layout.is_channels_last(array))
        return real(array, last, out)

    for module in (g.ops.conv, g.ops.norm, g.ops.pool, g.conv.run.__globals__["layout"]):
        monkeypatch.setattr(module, "in_memory", counted, raising=False)
    network = MODELS["cifar-resnet-20"]()
    g.cross_entropy(network(x), g.tensor(np.array([1, 2]))).backward()
    assert seen and not any(seen)


def test_to_refuses_what_is_no_layout():
    with pytest.raises(ValueError, match=r"to_layout: takes .* but came 'channels_middle'"):
        g.to_layout(g.zeros(1, 1, 1, 1), "channels_middle")
    with pytest.raises(ValueError, match=r"to_layout: takes .* \(\(3, 4\)\)"):
        g.zeros(3, 4).to("channels_last")
