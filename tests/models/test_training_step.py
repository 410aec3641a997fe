"""Every family runs forward, and its gradient is a direction in which the loss falls."""

import numpy as np
import pytest

import gpucnn
from gpucnn import models

# Names as in MODELS; the widths of fully connected layers, depths and images are the smallest that the family allows.
CASES = {
    "alexnet": (lambda: models.alexnet(10, hidden=64), (3, 227, 227)),
    "alexnet-simple": (lambda: models.alexnet_simple(10, hidden=64), (3, 227, 227)),
    "alexnet-owt": (lambda: models.alexnet_owt(10, hidden=64), (3, 224, 224)),
    "zfnet": (lambda: models.zfnet(10, hidden=64), (3, 224, 224)),
    "overfeat": (lambda: models.overfeat(10, hidden=(64, 64)), (3, 231, 231)),
    "vgg-a-lrn": (lambda: models.vgg("a-lrn", 10, image=32, hidden=64), (3, 32, 32)),
    "vgg-c": (lambda: models.vgg("c", 10, image=40, hidden=64), (3, 40, 40)),
    "googlenet": (lambda: models.GoogLeNet(10), (3, 224, 224)),
    "resnet-18": (lambda: models.ResNet(18, 10), (3, 64, 48)),
    "resnet-50": (lambda: models.ResNet(50, 10), (3, 64, 64)),
    "cifar-resnet-20": (lambda: models.cifar_resnet(20), (3, 32, 32)),
    "cifar-stochastic-resnet": (lambda: models.cifar_resnet(14, drop=0.5), (3, 32, 32)),
    "cifar-preresnet": (lambda: models.cifar_preresnet(14), (3, 32, 28)),
    "wide-resnet": (lambda: models.wide_resnet(10, width=2, dropout=0.3), (3, 32, 32)),
    "densenet-bc": (lambda: models.densenet_bc(22, growth=6), (3, 32, 32)),
    "densenet-121": (lambda: models.densenet_121(10), (3, 64, 64)),
    "alphago-policy": (lambda: models.alphago_policy(filters=8, layers=3), (48, 19, 19)),
}
CURVATURE = 0.3  # how far the step's terms of second order may change the fall of the loss
OUTPUTS = {"alphago-policy": 361}


def loss_of(network, x, labels):
    gpucnn.manual_seed(1)  # the same elements and blocks are dropped every time
    loss = getattr(network, "loss", gpucnn.cross_entropy)
    return loss(network(x), labels)


@pytest.mark.parametrize("name", CASES)
def test_the_loss_falls_along_its_gradient(name):
    make, image = CASES[name]
    network, outputs = make(), OUTPUTS.get(name, 10)
    rng = np.random.default_rng(0)
    x = gpucnn.tensor(rng.standard_normal((4, *image), np.float32)[: 4 if image[1] < 100 else 1])
    labels = gpucnn.tensor(rng.integers(outputs, size=len(x)))

    loss = loss_of(network, x, labels)
    loss.backward()
    parameters = dict(network.named_parameters())
    assert [key for key, p in parameters.items() if p.grad is None or not p.grad.numpy().any()] == []

    # A step that would lower the loss by a thousandth if it were linear.
    square = sum(float((p.grad.numpy().astype(np.float64) ** 2).sum()) for p in parameters.values())
    expected = 1e-3 * loss.item()
    for parameter in parameters.values():
        parameter.data -= np.float32(expected / square) * parameter.grad.numpy()
    with gpucnn.no_grad():
        lower = loss_of(network, x, labels).item()
    assert (loss.item() - lower) / expected == pytest.approx(1, abs=CURVATURE)

    network.eval()
    with gpucnn.no_grad():
        logits = network(x)
        assert logits.shape == (len(x), outputs)
        np.testing.assert_array_equal(logits.numpy(), network(x).numpy())


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision(dtype):
    network = models.cifar_resnet(8).to(dtype)
    x = gpucnn.randn(2, 3, 32, 32, dtype=dtype)
    loss = gpucnn.cross_entropy(network(x), gpucnn.tensor([1, 2]))
    loss.backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad.dtype.name == dtype, name
        assert np.isfinite(parameter.grad.numpy().astype(np.float32)).all(), name
