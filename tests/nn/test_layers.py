"""The layers: each calls its function with its own parameters, and refuses what cannot be."""

import numpy as np
import pytest

import gpucnn
from gpucnn import nn
from gpucnn.models import MODELS


@pytest.fixture
def x():
    return gpucnn.tensor(np.random.default_rng(0).standard_normal((2, 4, 9, 7)).astype(np.float32))


def test_conv2d(x):
    layer = nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2)
    layer.bias.data[...] = np.arange(6)
    expected = gpucnn.conv2d(x, layer.weight, layer.bias, stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2)
    np.testing.assert_array_equal(layer(x).numpy(), expected.numpy())
    assert layer.weight.shape == (6, 2, 3, 2)
    assert repr(layer) == "Conv2d(4, 6, kernel_size=(3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2)"
    assert nn.Conv2d(4, 6, 3, bias=False).bias is None
    named = nn.Conv2d(4, 6, 3, algorithm="direct")
    np.testing.assert_allclose(
        named(x).numpy(), gpucnn.conv2d(x, named.weight, algorithm="im2col").numpy(), rtol=1e-5, atol=1e-5
    )


def test_linear():
    layer = nn.Linear(5, 3)
    layer.bias.data[...] = [1, 2, 3]
    x = gpucnn.randn(4, 5)
    np.testing.assert_allclose(
        layer(x).numpy(), x.numpy() @ layer.weight.numpy().T + layer.bias.numpy(), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(
    ("layer", "function"),
    [
        (nn.MaxPool2d((3, 2), (2, 1), 1), lambda x: gpucnn.max_pool2d(x, (3, 2), (2, 1), 1)),
        (nn.MaxPool2d(2), lambda x: gpucnn.max_pool2d(x, 2, 2)),
        (nn.AvgPool2d(3, 2, 1, False), lambda x: gpucnn.avg_pool2d(x, 3, 2, 1, count_include_pad=False)),
        (nn.MaxPool2d(3, 2, ceil_mode=True), lambda x: gpucnn.max_pool2d(x, 3, 2, ceil_mode=True)),
        (nn.AdaptiveAvgPool2d((3, 2)), lambda x: gpucnn.adaptive_avg_pool2d(x, (3, 2))),
        (nn.AdaptiveMaxPool2d(4), lambda x: gpucnn.adaptive_max_pool2d(x, 4)),
        (nn.LocalResponseNorm(3, 0.5), lambda x: gpucnn.local_response_norm(x, 3, 0.5)),
        (nn.Identity(), lambda x: x),
        (nn.ReLU(), gpucnn.relu),
        (nn.Sigmoid(), gpucnn.sigmoid),
        (nn.Tanh(), gpucnn.tanh),
        (nn.Flatten(), lambda x: gpucnn.reshape(x, (2, 252))),
        (nn.Softmax(1), lambda x: gpucnn.softmax(x, 1)),
        (nn.LogSoftmax(), gpucnn.log_softmax),
    ],
    ids=lambda value: repr(value) if isinstance(value, nn.Module) else "",
)
def test_layers_without_parameters(x, layer, function):
    np.testing.assert_array_equal(layer(x).numpy(), function(x).numpy())
    assert layer.parameters() == []


def test_batch_norm(x):
    layer = nn.BatchNorm2d(4)
    y = layer(x).numpy()
    np.testing.assert_allclose(y.mean((0, 2, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(y.var((0, 2, 3)), 1, atol=1e-3)
    mean, var = x.numpy().mean((0, 2, 3)), x.numpy().var((0, 2, 3), ddof=1)
    np.testing.assert_allclose(layer.running_mean.numpy(), 0.1 * mean, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(layer.running_var.numpy(), 0.9 + 0.1 * var, rtol=1e-5)
    running = layer.running_mean.numpy().copy()
    layer.eval()
    expected = (x.numpy() - running[:, None, None]) / np.sqrt(layer.running_var.numpy()[:, None, None] + 1e-5)
    np.testing.assert_allclose(layer(x).numpy(), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(layer.running_mean.numpy(), running)


def test_dropout(x):
    layer = nn.Dropout(0.25)
    y = layer(x).numpy()
    kept = y != 0
    assert 0.6 < kept.mean() < 0.9
    np.testing.assert_allclose(y[kept], x.numpy()[kept] / 0.75, rtol=1e-6)
    np.testing.assert_array_equal(layer.eval()(x).numpy(), x.numpy())


def test_losses():
    logits, labels = gpucnn.randn(4, 3), gpucnn.tensor([0, 2, 1, 1])
    assert nn.CrossEntropyLoss()(logits, labels).item() == gpucnn.cross_entropy(logits, labels).item()
    assert nn.CrossEntropyLoss("none")(logits, labels).shape == (4,)
    assert nn.MSELoss("sum")(logits, logits * 0).item() == pytest.approx((logits.numpy() ** 2).sum(), rel=1e-5)


def test_sequential():
    net = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    assert len(net) == 2
    assert net[-1] is net[1]
    with pytest.raises(TypeError, match="takes Modules, but argument 1 is a builtin"):
        nn.Sequential(nn.ReLU(), max)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: nn.Conv2d(4, 6, 3, groups=4), "groups divides both channel counts, but came 4 for 4 -> 6"),
        (lambda: nn.Conv2d(0, 6, 3), "positive"),
        (lambda: nn.Conv2d(4, 6, (1, 2, 3)), "pair"),
        (lambda: nn.Linear(3, 0), "positive"),
        (lambda: nn.Dropout(1.0), r"p is in \[0, 1\), but came 1.0"),
    ],
)
def test_bad_arguments(make, reason):
    with pytest.raises(ValueError, match=reason):
        make()


def test_lenet():
    net = MODELS["lenet"]()
    assert sum(p.size for p in net.parameters()) == 61706
    assert net(gpucnn.randn(3, 1, 28, 28)).shape == (3, 10)
    small = MODELS["lenet"](classes=4, channels=3)
    assert small(gpucnn.randn(1, 3, 28, 28)).shape == (1, 4)


@pytest.mark.torch
def test_lenet_agrees_with_torch():
    torch = pytest.importorskip("torch")
    t = torch.nn
    net = MODELS["lenet"]()
    twin = t.Sequential(
        *(t.Conv2d(1, 6, 5, padding=2), t.ReLU(), t.MaxPool2d(2), t.Conv2d(6, 16, 5), t.ReLU(), t.MaxPool2d(2)),
        *(t.Conv2d(16, 120, 5), t.ReLU(), t.Flatten(), t.Linear(120, 84), t.ReLU(), t.Linear(84, 10)),
    )
    twin.load_state_dict({name: torch.tensor(array) for name, array in net.state_dict().items()})
    x, labels = np.random.default_rng(0).standard_normal((5, 1, 28, 28)).astype(np.float32), np.arange(5)
    loss = gpucnn.cross_entropy(net(gpucnn.tensor(x)), gpucnn.tensor(labels))
    loss.backward()
    expected = t.functional.cross_entropy(twin(torch.tensor(x)), torch.tensor(labels))
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    for ours, theirs in zip(net.parameters(), twin.parameters(), strict=True):
        scale = np.abs(theirs.grad.numpy()).max()
        np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-4, atol=1e-5 * scale)
