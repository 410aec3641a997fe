"""Sequential: a convolution or batch norm and the ReLU behind it are one operation, and nobody can tell."""

import numpy as np
import pytest

import gpucnn
from gpucnn import nn


class OtherReLU(nn.ReLU):
    """No ReLU that Sequential knows, so what it does must be run."""

    def forward(self, x):
        return super().forward(x) + 1


def network():
    return nn.Sequential(
        *(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 6, (2, 3), padding="same", bias=False), nn.ReLU()),
        *(nn.ReLU(), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 2, 1), nn.MaxPool2d(2), nn.ReLU()),
        *(nn.Conv2d(2, 3, 1), OtherReLU(), nn.Conv2d(3, 1, 1)),
    )


def one_by_one(model, x):
    for _, module in model.children():
        x = module(x)
    return x


def results(model, forward, x):
    """(output, gradient of x, gradients of parameters) as arrays."""
    model.zero_grad()
    x = gpucnn.tensor(x, requires_grad=True)
    y = forward(x)
    y.backward(gpucnn.tensor(np.random.default_rng(1).standard_normal(y.shape).astype(y.dtype)))
    return [y.numpy(), x.grad.numpy(), *(p.grad.numpy() for p in model.parameters())]


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
def test_the_same_bits_as_module_by_module(dtype):
    model = network().to(dtype)
    x = np.random.default_rng(0).standard_normal((2, 3, 8, 6)).astype(gpucnn.dtype.as_dtype(dtype))
    fused = results(model, model, x)
    apart = results(model, lambda x: one_by_one(model, x), x)
    for a, b in zip(fused, apart, strict=True):
        assert np.array_equal(a, b)
    with gpucnn.no_grad():
        assert np.array_equal(model(gpucnn.tensor(x)).numpy(), fused[0])


def test_one_operation(capsys):
    x = gpucnn.randn(1, 3, 8, 6)
    with gpucnn.using(debug=2):
        network()(x)
    lines = capsys.readouterr().err.splitlines()
    assert [sum(f"gpucnn: {name} ->" in line for line in lines) for name in ("conv2d", "batchnorm", "relu")] == [
        5,
        1,
        3,
    ]
