"""What the blocks of the networks promise: which path of a sum is untouched, and what the shortcuts pass on."""

import numpy as np
import pytest

import gpucnn
from gpucnn import models, nn
from gpucnn.models.cifar import PaddedShortcut, PreActivatedBlock
from gpucnn.models.densenet import DenseLayer, DenseNet
from gpucnn.models.googlenet import Inception
from gpucnn.models.resnet import BasicBlock, Bottleneck

BIAS = 1e-5  # numbers up to 16 are added to logits of about one in float32 and taken off again


def test_loss_of_googlenet_weighs_its_heads():
    network = models.GoogLeNet(10)
    rng = np.random.default_rng(0)
    outputs = [gpucnn.tensor(rng.standard_normal((3, 10), np.float32)) for _ in range(3)]
    labels = gpucnn.tensor([1, 2, 3])
    main, first, second = (gpucnn.cross_entropy(logits, labels).item() for logits in outputs)
    assert network.loss(outputs, labels).item() == pytest.approx(main + 0.3 * (first + second))


def test_padded_shortcut():
    """Every second pixel, zeros in the new channels; the gradient goes back to those pixels."""
    x = gpucnn.randn(2, 3, 5, 6, requires_grad=True)
    y = PaddedShortcut(3, 5, 2)(x)
    assert np.array_equal(y.numpy()[:, :3], x.numpy()[:, :, ::2, ::2])
    assert y.shape == (2, 5, 3, 3)
    assert not y.numpy()[:, 3:].any()
    y.sum().backward()
    wanted = np.zeros(x.shape, np.float32)
    wanted[:, :, ::2, ::2] = 1
    assert np.array_equal(x.grad.numpy(), wanted)


@pytest.mark.parametrize(
    ("block", "silenced"),
    [(BasicBlock(8, 8), "bn2"), (Bottleneck(8, 2), "bn3")],
)
def test_a_block_whose_branch_is_silent_is_relu(block, silenced):
    getattr(block, silenced).weight.data[...] = 0
    x = gpucnn.randn(3, 8, 5, 4)
    assert np.array_equal(block(x).numpy(), np.maximum(x.numpy(), 0))


def test_nothing_comes_after_the_sum_of_a_pre_activated_block():
    block = PreActivatedBlock(8, 8, 1, PaddedShortcut)
    block.conv2.weight.data[...] = 0
    x = gpucnn.randn(3, 8, 5, 4)
    assert np.array_equal(block(x).numpy(), x.numpy())


def test_a_pre_activated_block_that_changes_the_shape_passes_on_what_is_activated():
    block = PreActivatedBlock(8, 10, 2, PaddedShortcut).eval()
    block.conv2.weight.data[...] = 0
    x = gpucnn.randn(3, 8, 6, 4)
    wanted = np.zeros((3, 10, 3, 2), np.float32)
    wanted[:, :8] = gpucnn.relu(block.bn1(x)).numpy()[:, :, ::2, ::2]
    assert np.array_equal(block(x).numpy(), wanted)


@pytest.mark.parametrize(("block", "stride_on"), [(BasicBlock(8, 4, 2), "conv1"), (Bottleneck(8, 2, 2), "conv2")])
def test_the_stride_is_on_a_3x3_convolution(block, stride_on):
    strides = {
        name: layer.options["stride"]
        for name, layer in block.children()
        if isinstance(layer, nn.Conv2d) and layer.options["stride"] != 1
    }
    assert strides == {stride_on: 2}
    assert getattr(block, stride_on).weight.shape[2:] == (3, 3)


def test_a_dense_layer_keeps_its_input_and_adds_growth_channels():
    x = gpucnn.randn(2, 5, 4, 3)
    y = DenseLayer(5, 3)(x)
    assert y.shape == (2, 8, 4, 3)
    assert np.array_equal(y.numpy()[:, :5], x.numpy())


def test_a_transition_halves_channels_and_image():
    stem = nn.Sequential(nn.Conv2d(3, 6, 1))
    network = DenseNet(stem, 6, 2, (2, 1), 4)
    x = gpucnn.randn(2, 6, 4, 6)
    halved = network.features.transition1(network.features.denseblock1(x))
    assert halved.shape == (2, (6 + 2 * 2) // 2, 2, 3)
    assert network(gpucnn.randn(2, 3, 8, 4)).shape == (2, 4)


def test_an_inception_joins_its_branches_in_the_order_of_the_paper():
    block = Inception(3, 1, 2, 2, 2, 3, 4)
    x = gpucnn.randn(2, 3, 6, 5)
    y, start = block(x).numpy(), 0
    assert y.shape == (2, 1 + 2 + 3 + 4, 6, 5)
    for branch, filters in ((block.one, 1), (block.three, 2), (block.five, 3), (block.pool, 4)):
        assert np.array_equal(y[:, start : start + filters], branch(x).numpy())
        start += filters


def test_stochastic_depth_rises_linearly_over_the_blocks():
    drops = [m.p for m in models.cifar_resnet(20, drop=0.45).modules() if isinstance(m, nn.StochasticDepth)]
    assert drops == pytest.approx([0.05 * i for i in range(1, 10)])
    assert not any(isinstance(m, nn.Dropout) for m in models.cifar_resnet(20).modules())


def test_points_of_a_board_have_their_own_bias():
    network = models.alphago_policy(filters=2, planes=3, layers=1, board=4)
    x = gpucnn.randn(1, 3, 4, 4)
    before = network(x).numpy()
    network.children()[-1][1].bias.data[...] = np.arange(16)
    np.testing.assert_allclose(network(x).numpy() - before, [np.arange(16)], atol=BIAS)
