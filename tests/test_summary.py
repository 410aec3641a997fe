"""The summary of a network: what it counts, and receptive fields as gradients show them."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpucnn
from gpucnn import nn, ops
from gpucnn.models import INPUTS, MODELS
from gpucnn.summary import Field, summarize


def last(network, image):
    return summarize(network, image).layers[-1]


def test_columns_by_hand():
    network = nn.Sequential(
        nn.Conv2d(4, 6, (3, 2), stride=(2, 1), groups=2),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Dropout(),
        nn.Linear(6 * 2 * 3, 5, bias=False),
    )
    found = summarize(network, (4, 9, 7))
    rows = [
        (layer.name, layer.kind, layer.output, layer.parameters, layer.multiply_adds, layer.field)
        for layer in found.layers
    ]
    assert rows == [
        ("input", "", (4, 9, 7), 0, 0, Field((1, 1), (1, 1))),
        ("0", "Conv2d", (6, 4, 6), 6 * 12 + 6, 6 * 24 * 12, Field((3, 2), (2, 1))),
        ("1", "BatchNorm2d", (6, 4, 6), 12, 0, Field((3, 2), (2, 1))),
        ("3", "AvgPool2d", (6, 2, 3), 0, 0, Field((5, 3), (4, 2))),
        ("6", "Linear", (5,), 180, 180, Field((9, 7), (8, 6))),
    ]
    assert found.total("activations") == 4 * 63 + 2 * 144 + 36 + 5
    assert found.total("bytes") == 4 * found.total("activations")
    assert found.total("parameters") == sum(p.size for p in network.parameters())
    assert found.unused == 0


def test_transposed_convolution():
    layer = nn.ConvTranspose2d(4, 6, (3, 2), stride=2, groups=2)
    found = last(layer, (4, 5, 6))
    assert found.output == (6, 11, 12)
    # As many as the convolution that it is the gradient of.
    shape = gpucnn.conv.shape_of((1, 6, 11, 12), layer.weight.shape, stride=(2, 2), groups=2)
    assert shape.y == (1, 4, 5, 6)
    assert found.multiply_adds == shape.flops // 2
    assert found.parameters == 4 * 3 * 3 * 2 + 6
    assert found.field is None


def test_bytes_follow_the_dtype():
    network = nn.Sequential(nn.Conv2d(1, 2, 3)).to("float16")
    assert [layer.bytes for layer in summarize(network, (1, 5, 5)).layers] == [50, 36]


def test_shared_parameters_count_once_and_unused_ones_apart():
    class Twice(nn.Module):
        def __init__(self):
            self.conv, self.norm, self.spare = nn.Conv2d(2, 2, 3, padding=1), nn.BatchNorm2d(2), nn.Linear(3, 4)

        def forward(self, x):
            return self.conv(self.norm(self.conv(x)))

    found = summarize(Twice(), (2, 5, 5))
    assert [(layer.name, layer.parameters) for layer in found.layers[1:]] == [("conv", 38), ("norm", 4), ("conv", 0)]
    assert found.layers[-1].multiply_adds == 2 * 25 * 18
    assert found.unused == 16


def test_the_network_is_left_as_it_was():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Sequential(nn.Dropout()))
    network[1].eval()
    state = {name: array.copy() for name, array in network.state_dict().items()}
    attributes = [set(vars(module)) - {"training"} for module in network.modules()]
    for image in ((1, 5, 5), (3, 5, 5)):
        try:
            summarize(network, image)
        except ValueError as error:
            assert "x has 3 channels" in str(error)
        assert [set(vars(module)) - {"training"} for module in network.modules()] == attributes
        assert [module.training for module in network.modules()] == [True, True, False, True, True]
    for name, array in network.state_dict().items():
        np.testing.assert_array_equal(array, state[name], err_msg=name)


def test_branches_take_the_larger_field():
    class Branches(nn.Module):
        def __init__(self):
            self.a, self.b = nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 1, (1, 7), padding=(0, 3))
            self.gate, self.end = nn.AdaptiveAvgPool2d(1), nn.Conv2d(1, 1, 1)

        def forward(self, x):
            return self.end((self.a(x) + self.b(x)) * ops.relu(x))

    found = summarize(Branches(), (1, 9, 9))
    assert [layer.name for layer in found.layers] == ["input", "a", "b", "end"]
    assert found.layers[-1].field == Field((3, 7), (1, 1))


def test_a_factor_for_whole_planes_sees_them():
    class Gate(nn.Module):
        def __init__(self):
            self.gate, self.end = nn.AdaptiveAvgPool2d(1), nn.Conv2d(2, 1, 1)

        def forward(self, x):
            return self.end(x * self.gate(x))

    found = summarize(Gate(), (2, 9, 8))
    assert found.layers[1].field == Field((9, 8), (9, 8))
    assert found.layers[-1].field == Field((9, 8), (1, 1))


@pytest.mark.parametrize(
    "mix",
    [
        lambda x: x[:, :, ::2, ::2],
        lambda x: ops.permute(x, (0, 2, 3, 1)),
        lambda x: ops.reshape(x, (0, 4, 3, 4)),
        lambda x: x[:, :, 0],
    ],
)
def test_unknown_geometry_is_not_guessed(mix):
    class Mixed(nn.Module):
        def __init__(self):
            self.end = Ignored()

        def forward(self, x):
            return self.end(mix(x))

    class Ignored(nn.Module):
        def forward(self, x):
            return x + 1.0

    assert last(Mixed(), (2, 4, 6)).field is None


def test_max_pooling_that_rounds_up():
    layer = last(nn.Sequential(nn.Conv2d(1, 1, 3), nn.MaxPool2d(3, 2, ceil_mode=True)), (1, 10, 9))
    assert layer.output == (1, 4, 3)
    assert layer.field == Field((5, 5), (2, 2))


@st.composite
def stacks(draw):
    """Two or three convolutions and average poolings with positive weights, unlike in h and w."""
    layers = []
    for _ in range(draw(st.integers(1, 3))):
        size, stride = draw(st.tuples(*[st.integers(1, 3)] * 2)), draw(st.tuples(*[st.integers(1, 2)] * 2))
        if draw(st.booleans()):
            layers.append(nn.AvgPool2d(size, stride))
        else:
            layers.append(nn.Conv2d(1, 1, size, stride, dilation=draw(st.tuples(*[st.integers(1, 2)] * 2))))
            layers[-1].weight.data[...] = 1
    return nn.Sequential(*layers)


def seen(network, x, p, q):
    """First and last row and column of x that output pixel (p, q) has a gradient to."""
    x.grad = None
    network(x)[0, 0, p, q].backward()
    where = np.argwhere(x.grad.numpy()[0, 0])
    return where.min(0), where.max(0)


@settings(max_examples=30)
@given(stacks())
def test_receptive_field_is_what_a_gradient_reaches(network):
    """A pixel's gradient spans the field; the neighbours' begins one jump further."""
    field = last(network, (1, 60, 60)).field
    x = gpucnn.ones(1, 1, 60, 60, requires_grad=True)
    first, end = seen(network, x, 1, 1)
    assert tuple(end - first + 1) == field.size
    lower, _ = seen(network, x, 2, 1)
    right, _ = seen(network, x, 1, 2)
    assert (lower[0] - first[0], right[1] - first[1]) == field.jump


@settings(max_examples=30)
@given(
    st.integers(1, 12),
    st.integers(1, 3),
    st.integers(1, 3),
    st.tuples(st.integers(1, 5), st.integers(1, 5)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(0, 2), st.integers(0, 2)),
)
def test_a_convolution_as_convshape_counts_it(extra, groups, channels, size, stride, padding):
    """Multiply-adds are half the flops of ConvShape; (W - F + 2 P) / S + 1 pixels; F F D K + K parameters."""
    H, W = size[0] + extra, size[1] + extra // 2
    filters = 2 * groups
    layer = nn.Conv2d(channels * groups, filters, size, stride, padding, groups=groups)
    found = last(layer, (channels * groups, H, W))
    shape = gpucnn.conv.shape_of((1, channels * groups, H, W), layer.weight.shape, stride, padding, groups=groups)
    assert found.name == ""
    assert found.multiply_adds == shape.flops // 2
    pixels = [(n - f + 2 * p) // s + 1 for n, f, p, s in zip((H, W), size, padding, stride, strict=True)]
    assert found.output == (filters, *pixels)
    assert found.parameters == size[0] * size[1] * channels * filters + filters


@pytest.mark.parametrize("name", MODELS)
def test_shapes_are_those_of_a_real_image(name):
    """The last row of every network, and that its rows hold every parameter that evaluation uses."""
    with nn.init.skip():
        network = MODELS[name]()
    found = summarize(network, INPUTS[name])
    assert found.layers[-1].output == (network_outputs(name),)
    assert found.total("parameters") + found.unused == sum(p.size for p in network.parameters())
    assert (found.unused > 0) == (name == "googlenet")
    assert all(layer.field is not None for layer in found.layers)
    assert len({layer.name for layer in found.layers if layer.parameters}) == sum(
        layer.parameters > 0 for layer in found.layers
    )


def network_outputs(name):
    if name == "alphago-policy":
        return 361
    return 10 if name == "lenet" or INPUTS[name] == (3, 32, 32) else 1000


def test_empty_and_full_batches_have_the_same_shapes():
    network = MODELS["lenet"]()
    x, sizes = gpucnn.zeros(2, 1, 28, 28), {}
    for name, layer in network.children():
        x = layer(x)
        sizes[name] = x.shape[1:]
    for layer in summarize(network, (1, 28, 28)).layers[1:]:
        assert layer.output == sizes[layer.name]


def test_rows_are_immutable():
    layer = last(nn.Linear(2, 3), (2,))
    with pytest.raises(dataclasses.FrozenInstanceError):
        layer.parameters = 1
