"""The small numbers of the lectures that this project was asked for with (cs231n 7 and 11, CPSC 532S 5)."""

import numpy as np
import pytest

import gpucnn as g

POOLED = [[1.0, 1, 2, 4], [5, 6, 7, 8], [3, 2, 1, 0], [1, 2, 3, 4]]


def image(rows, requires_grad=False):
    return g.tensor(np.array(rows, np.float32)[None, None], requires_grad=requires_grad)


def conv_size(size, filter_size, **options):
    return g.conv2d(g.zeros(1, 1, size, size), g.zeros(1, 1, filter_size, filter_size), **options).shape[2:]


def test_output_sizes_of_a_7x7_image():
    assert conv_size(7, 3) == (5, 5)
    assert conv_size(7, 3, stride=2) == (3, 3)
    assert conv_size(7, 3, padding=1) == (7, 7)
    assert conv_size(7, 3, stride=3, padding=1) == (3, 3)
    assert conv_size(7, 3, stride=3) == (2, 2)  # (7 - 3) / 3 + 1 = 2.33 is rounded down: the last column is not seen


@pytest.mark.parametrize("filter_size", [1, 3, 5, 7])
def test_half_a_filter_of_padding_keeps_the_size(filter_size):
    assert conv_size(32, filter_size, padding=(filter_size - 1) // 2) == (32, 32)


def parameters(layer):
    return sum(p.size for p in layer.parameters())


def test_ten_5x5_filters_have_760_parameters():
    layer = g.nn.Conv2d(3, 10, 5, padding=2)
    assert layer(g.zeros(1, 3, 32, 32)).shape == (1, 10, 32, 32)
    assert parameters(layer) == 760


def test_1x1_convolution_of_56x56x64():
    assert g.conv2d(g.zeros(1, 64, 56, 56), g.zeros(32, 64, 1, 1)).shape == (1, 32, 56, 56)


def test_first_layer_of_lenet_on_32x32x3():
    layer = g.nn.Conv2d(3, 6, 5, bias=False)
    assert layer(g.zeros(1, 3, 32, 32)).shape == (1, 6, 28, 28)
    assert parameters(layer) == 450


@pytest.mark.parametrize(
    ("filters", "weights_over_channels_squared"),
    [
        ([(8, 8, (7, 7))], 49),
        ([(8, 8, (3, 3))] * 3, 27),
        ([(8, 8, (3, 3))], 9),
        ([(8, 4, (1, 1)), (4, 4, (3, 3)), (4, 8, (1, 1))], 3.25),
        ([(8, 8, (1, 3)), (8, 8, (3, 1))], 6),
    ],
)
def test_weights_of_stacks_and_bottlenecks(filters, weights_over_channels_squared):
    layers = [g.nn.Conv2d(c, k, size, bias=False) for c, k, size in filters]
    assert sum(map(parameters, layers)) == weights_over_channels_squared * 8**2


def test_pooling():
    assert g.max_pool2d(image(POOLED), 2).numpy()[0, 0].tolist() == [[6, 8], [3, 4]]
    assert g.avg_pool2d(image(POOLED), 2).numpy()[0, 0].tolist() == [[3.25, 5.25], [2, 2]]


def test_max_pooling_sends_the_gradient_to_its_maximum():
    x = image(POOLED, requires_grad=True)
    g.max_pool2d(x, 2).backward(image([[10, 20], [30, 40]]))
    assert x.grad.numpy()[0, 0].tolist() == [[0, 0, 0, 0], [0, 10, 0, 20], [30, 0, 0, 0], [0, 0, 0, 40]]


def test_average_pooling_shares_the_gradient():
    x = image(POOLED, requires_grad=True)
    g.avg_pool2d(x, 2).backward(image([[4, 8], [12, 16]]))
    assert x.grad.numpy()[0, 0].tolist() == [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]


def test_relu_stops_the_gradient_where_the_input_is_not_positive():
    x = g.tensor([-2.0, -0.0, 0.0, 3.0], requires_grad=True)
    g.relu(x).backward(g.tensor([1.0, 2.0, 3.0, 4.0]))
    assert x.grad.numpy().tolist() == [0, 0, 0, 4]


def seen_by_the_middle(layers, size=15):
    """Height and width of the pixels that reach the middle output."""
    x = g.ones(1, 1, size, size, requires_grad=True)
    y = layers(x)
    y[0, 0, y.shape[2] // 2, y.shape[3] // 2].backward()
    rows, columns = np.nonzero(x.grad.numpy()[0, 0])
    return np.ptp(rows) + 1, np.ptp(columns) + 1


def ones_filter(size):
    return lambda x: g.conv2d(x, g.ones(1, 1, size, size))


def test_receptive_fields():
    three = ones_filter(3)
    assert seen_by_the_middle(lambda x: three(three(x))) == (5, 5)
    assert seen_by_the_middle(lambda x: three(three(three(x)))) == (7, 7)
    for K, P in ((3, 2), (5, 3)):  # K x K convolution, then P x P pooling
        assert seen_by_the_middle(lambda x, K=K, P=P: g.avg_pool2d(ones_filter(K)(x), P, 1)) == (P + K - 1,) * 2


def test_convolution_commutes_with_translation():
    x, w = g.randn(1, 2, 12, 12), g.randn(3, 2, 3, 3)
    moved = g.tensor(np.roll(x.numpy(), (2, 1), axis=(2, 3)))
    inner = (slice(None), slice(None), slice(2, None), slice(1, None))  # away from the edge that rolls over
    assert np.array_equal(g.conv2d(moved, w).numpy()[inner], g.conv2d(x, w).numpy()[:, :, :-2, :-1])
