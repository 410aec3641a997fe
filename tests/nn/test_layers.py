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


def test_conv_transpose2d(x):
    options = {"stride": (2, 3), "padding": (1, 0), "output_padding": (1, 2), "dilation": (1, 2), "groups": 2}
    layer = nn.ConvTranspose2d(4, 6, (3, 2), **options)
    layer.bias.data[...] = np.arange(6)
    expected = gpucnn.conv_transpose2d(x, layer.weight, layer.bias, **options)
    np.testing.assert_array_equal(layer(x).numpy(), expected.numpy())
    assert layer.weight.shape == (4, 3, 3, 2)
    assert repr(layer) == (
        "ConvTranspose2d(4, 6, kernel_size=(3, 2), stride=(2, 3), padding=(1, 0), output_padding=(1, 2),"
        " dilation=(1, 2), groups=2)"
    )
    assert repr(nn.ConvTranspose2d(4, 6, 3, bias=False)) == "ConvTranspose2d(4, 6, kernel_size=(3, 3), bias=False)"


def test_same_padding(x):
    layer = nn.Conv2d(4, 3, (4, 3), padding="same", dilation=(1, 2))
    assert layer(x).shape == (2, 3, 9, 7)
    assert repr(layer) == "Conv2d(4, 3, kernel_size=(4, 3), padding='same', dilation=(1, 2))"


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
        (nn.AvgPool2d(3, 2, 1, True, False), lambda x: gpucnn.avg_pool2d(x, 3, 2, 1, True, False)),
        (nn.MaxPool2d(3, 2, ceil_mode=True), lambda x: gpucnn.max_pool2d(x, 3, 2, ceil_mode=True)),
        (nn.AdaptiveAvgPool2d((3, 2)), lambda x: gpucnn.adaptive_avg_pool2d(x, (3, 2))),
        (nn.AdaptiveMaxPool2d(4), lambda x: gpucnn.adaptive_max_pool2d(x, 4)),
        (nn.LocalResponseNorm(3, 0.5), lambda x: gpucnn.local_response_norm(x, 3, 0.5)),
        (nn.Identity(), lambda x: x),
        (nn.ReLU(), gpucnn.relu),
        (nn.LeakyReLU(0.1), lambda x: gpucnn.leaky_relu(x, 0.1)),
        (nn.ELU(0.5), lambda x: gpucnn.elu(x, 0.5)),
        (nn.GELU(), gpucnn.gelu),
        (nn.GELU("tanh"), lambda x: gpucnn.gelu(x, "tanh")),
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


@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 5)])
def test_batch_norm_of_other_shapes(shape):
    x = gpucnn.randn(*shape)
    y = nn.BatchNorm1d(4)(x).numpy()
    axes = (0, *range(2, len(shape)))
    np.testing.assert_allclose(y.mean(axes), 0, atol=1e-6)
    np.testing.assert_allclose(y.var(axes), 1, atol=1e-3)


@pytest.mark.parametrize(
    ("layer", "function"),
    [
        (nn.LayerNorm(7, eps=0.1), lambda x, *p: gpucnn.layer_norm(x, *p, eps=0.1)),
        (nn.LayerNorm((4, 9, 7)), lambda x, *p: gpucnn.layer_norm(x, *p, axes=3)),
        (nn.GroupNorm(2, 4, eps=0.1), lambda x, *p: gpucnn.group_norm(x, 2, *p, eps=0.1)),
        (nn.PReLU(4, slope=0.1), gpucnn.prelu),
        (nn.PReLU(), gpucnn.prelu),
    ],
    ids=lambda value: repr(value) if isinstance(value, nn.Module) else "",
)
def test_layers_with_parameters(x, layer, function):
    np.testing.assert_array_equal(layer(x).numpy(), function(x, *layer.parameters()).numpy())
    for parameter in layer.parameters():
        parameter.data[...] = np.random.default_rng(1).uniform(0.5, 2, parameter.shape)
    np.testing.assert_array_equal(layer(x).numpy(), function(x, *layer.parameters()).numpy())
    layer(x).sum().backward()
    assert all(parameter.grad is not None for parameter in layer.parameters())


def test_first_values_of_parameters():
    assert nn.PReLU(2).weight.numpy().tolist() == [0.25, 0.25]
    for layer in (nn.LayerNorm(2), nn.GroupNorm(1, 2)):
        assert (layer.weight.numpy().tolist(), layer.bias.numpy().tolist()) == ([1, 1], [0, 0])


def test_drop_connect():
    layer, x = nn.DropConnectLinear(50, 40, 0.25), gpucnn.ones(3, 50)
    layer.weight.data[...] = 1
    y = layer(x)
    assert (y.numpy() == y.numpy()[:1]).all()  # the same weights for the whole batch
    kept = y.numpy()[0] * 0.75
    np.testing.assert_allclose(kept, kept.round(), atol=1e-4)
    assert 30 < kept.mean() < 45
    y.sum().backward()
    assert set(layer.weight.grad.numpy().ravel().tolist()) == {0, 4}  # 3 examples, times 1 / 0.75
    assert (layer.eval()(x).numpy() == 50).all()
    assert repr(layer) == "DropConnectLinear(50, 40, p=0.25)"


def test_stochastic_depth(x):
    layer, x = nn.StochasticDepth(0.5), gpucnn.ones(200, 2)
    rows = layer(x).numpy()
    assert (rows == rows[:, :1]).all() and set(rows.ravel().tolist()) == {0, 2}
    assert layer.eval()(x) is x
    assert nn.drop_rates(5, 0.5) == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])


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
    weighted = nn.CrossEntropyLoss(weight=[1.0, 2.0, 3.0], label_smoothing=0.1)
    expected = gpucnn.cross_entropy(logits, labels, weight=gpucnn.tensor([1.0, 2.0, 3.0]), label_smoothing=0.1)
    assert weighted(logits, labels).item() == expected.item()
    assert list(weighted.state_dict()) == ["weight"] and weighted.parameters() == []
    assert nn.HingeLoss(0.5, "sum")(logits, labels).item() == gpucnn.hinge_loss(logits, labels, 0.5, "sum").item()
    p = gpucnn.softmax(gpucnn.randn(4, 3))
    for loss, function in (
        (nn.L1Loss, gpucnn.l1_loss),
        (nn.BCEWithLogitsLoss, gpucnn.binary_cross_entropy_with_logits),
        (nn.KLDivLoss, gpucnn.kl_div),
    ):
        assert loss("sum")(logits, p).item() == function(logits, p, "sum").item()
        assert loss()(logits, p).item() == function(logits, p).item()


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
        (
            lambda: nn.ConvTranspose2d(4, 6, 3, groups=4),
            "ConvTranspose2d: groups divides both channel counts",
        ),
        (lambda: nn.GroupNorm(3, 4), "GroupNorm: groups divides the channels, but came 3 for 4"),
        (lambda: nn.LayerNorm((4, 0)), "positive"),
        (lambda: nn.AdaptiveAvgPool2d(1.5), "output_size: takes an int or a pair"),
        (lambda: nn.Dropout(1.0), r"Dropout: p is in \[0, 1\), but came 1.0"),
        (lambda: nn.StochasticDepth(-0.1), "StochasticDepth: p is in"),
        (lambda: nn.DropConnectLinear(3, 4, 1), "DropConnectLinear: p is in"),
        (lambda: nn.drop_rates(4, 1.0), "drop_rates: p is in"),
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
