"""GPUCNN_DEBUG=3 names the operation and the layer that made the first NaN or infinity."""

import numpy as np
import pytest

import gpucnn as g
from gpucnn import nn


class Block(nn.Module):
    def __init__(self):
        self.conv1 = nn.Conv2d(2, 2, 3, padding=1)
        self.bn = nn.BatchNorm2d(2)

    def forward(self, x):
        return g.relu(self.bn(self.conv1(x))) + x


class Net(nn.Module):
    def __init__(self, other=None):
        self.features = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), Block(), Block())
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(2 * 3 * 3, 4))
        self.others = [other]  # a list is no part of the tree

    def forward(self, x):
        x = self.features(x)
        return self.head[1](self.head[0](x) if self.others[0] is None else self.others[0](x))


class Bad(g.Function):
    """The identity, whose gradient has an infinity at its first element."""

    def forward(self, x):
        return x + x.dtype.type(0)

    def backward(self, gy):
        gx = gy.copy()
        gx.reshape(-1)[0] = np.inf
        return gx


@pytest.fixture(autouse=True)
def _debug(capsys):
    with np.errstate(all="ignore"), g.using(debug=3):
        yield
    capsys.readouterr()


def spoil(tensor):
    tensor.data.reshape(-1)[0] = np.nan


@pytest.mark.parametrize(
    ("name", "operation"),
    [
        ("features.0.weight", "conv2d in layer features.0"),
        ("features.3.conv1.weight", "conv2d in layer features.3.conv1"),
        ("features.4.bn.bias", "batchnorm in layer features.4.bn"),
        ("head.1.bias", "linear in layer head.1"),  # called by the network itself, not by its parent
    ],
)
def test_forward_names_the_layer(name, operation):
    net = Net()
    net(g.randn(2, 1, 8, 8))
    spoil(dict(net.named_parameters())[name])
    with pytest.raises(FloatingPointError, match=rf"^{operation}: results are .*computed from is not, either$"):
        net(g.randn(2, 1, 8, 8))


def test_a_value_that_an_operation_made_itself():
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    net[2].weight.data[...] = 3e38
    net[0].bias.data[...] = 100
    with pytest.raises(FloatingPointError, match=r"^linear in layer 2: results .* it was computed from is finite$"):
        net(g.ones(1, 2))


@pytest.mark.parametrize("place", ["features.3.conv1", "features.4.bn", "head.1"])
def test_backward_names_the_layer(place):
    net = Net()
    module = dict(net.named_modules())[place]
    forward = module.forward
    module.forward = lambda x: Bad.apply(forward(x))
    loss = net(g.randn(2, 1, 8, 8)).sum()
    with pytest.raises(FloatingPointError, match=rf"^bad in layer {place}: gradients are .* computed from is finite$"):
        loss.backward()


def test_an_overflow_in_the_cast_of_a_gradient():
    """The usual first infinity of float16: the gradient of a float32 loss of a 16-bit layer."""
    net = nn.Sequential(nn.Linear(2, 2))
    with g.autocast("float16"):
        loss = net(g.ones(3, 2)).sum() * 1e6
    with pytest.raises(FloatingPointError, match=r"^cast: gradients are finite .* computed from is finite$"):
        loss.backward()


def test_layers_outside_of_the_tree_and_after_an_error():
    net = Net(other=nn.Sequential(nn.Flatten(), nn.Linear(18, 18)))
    spoil(net.others[0][1].weight)
    for _ in range(2):  # the path does not grow after an error
        with pytest.raises(FloatingPointError, match=r"^linear in layer Sequential\.1: results"):
            net(g.randn(2, 1, 8, 8))
    with pytest.raises(FloatingPointError, match=r"^log: results"):
        g.log(g.full((2,), -1.0))
    net.others[0] = None
    net(g.randn(2, 1, 8, 8))
