"""Values of the layers' operations: facts from papers, edges, long sums in 16 bits, what is random."""

import numpy as np
import pytest

import gpucnn as g

HALVES = ["float16", "bfloat16"]


# --- normalisation ----------------------------------------------------------------------------------------------------
def test_local_response_norm_of_alexnet():
    """Section 3.3 of the paper, with its constants: k = 2, n = 5, alpha = 1e-4, beta = 0.75."""
    a = 100 * np.random.default_rng(0).standard_normal((2, 9, 3, 4))
    wanted = np.empty_like(a)
    for i in range(9):
        near = a[:, max(0, i - 2) : min(8, i + 2) + 1]
        wanted[:, i] = a[:, i] / (2 + 1e-4 * (near**2).sum(axis=1)) ** 0.75
    np.testing.assert_allclose(g.local_response_norm(g.tensor(a)).numpy(), wanted, rtol=1e-14)


@pytest.mark.parametrize("dtype", ["float32", *HALVES])
def test_layer_norm_far_from_zero(dtype):
    x = g.tensor(np.array([[1024, 1032, 1040, 1048], [0, 8, 16, 24]]), dtype=dtype)
    y = g.layer_norm(x, eps=0.0).numpy().astype(np.float64)
    np.testing.assert_allclose(y, [np.array([-1.5, -0.5, 0.5, 1.5]) / np.sqrt(1.25)] * 2, rtol=2.0**-8)
    assert np.array_equal(y[0], y[1])


@pytest.mark.parametrize("dtype", HALVES)
def test_norms_of_halves_with_float32_parameters(dtype):
    x = g.randn(8, 6, 64, dtype=dtype, requires_grad=True)
    for function, size in ((lambda *p: g.layer_norm(x, *p), 64), (lambda *p: g.group_norm(x, 2, *p), 6)):
        weight, bias = g.ones(size, requires_grad=True), g.zeros(size, requires_grad=True)
        y = function(weight, bias)
        y.backward(g.ones_like(y))
        assert (y.dtype, x.grad.dtype, weight.grad.dtype) == (dtype, dtype, np.float32)
        assert bias.grad.numpy().tolist() == [8 * 6 * 64 // size] * size


def test_groups_of_one_image_and_of_one_channel():
    x = g.randn(3, 4, 5)
    whole, single = g.group_norm(x, 1).numpy(), g.group_norm(x, 4).numpy()
    assert np.array_equal(whole, g.layer_norm(x, axes=2).numpy())
    assert np.array_equal(single, g.layer_norm(x).numpy())


# --- activations ------------------------------------------------------------------------------------------------------
def gradient(function, values):
    x = g.tensor(values, requires_grad=True)
    function(x).sum().backward()
    return x.grad.numpy().tolist()


def test_gradients_at_the_kink():
    assert gradient(lambda x: g.leaky_relu(x, 0.5), [-2.0, 0.0, 2.0]) == [0.5, 0.5, 1]
    assert gradient(lambda x: g.prelu(x, g.tensor([0.5])), [[-2.0, 0.0, 2.0]]) == [[0.5, 0.5, 1]]
    assert gradient(lambda x: g.elu(x, 2.0), [0.0, 2.0]) == [2, 1]


@pytest.mark.parametrize("function", [g.leaky_relu, g.elu, g.gelu, lambda x: g.prelu(x, g.tensor([0.5]))])
def test_a_nan_stays_and_large_numbers_do_not_overflow(function):
    y = function(g.tensor([[np.nan, 1e30]], dtype="float32")).numpy()
    assert np.isnan(y[0, 0]) and y[0, 1] == np.float32(1e30)


def test_elu_ends_at_minus_alpha():
    assert g.elu(g.tensor([-1e4]), 1.5).item() == -1.5
    assert gradient(g.elu, [-1e4]) == [0]


# --- losses -----------------------------------------------------------------------------------------------------------
def test_hinge_loss_of_cs231n():
    """Lecture 3: cat, car, frog; losses 2.9, 0 and 12.9."""
    scores = g.tensor([[3.2, 5.1, -1.7], [1.3, 4.9, 2.0], [2.2, 2.5, -3.1]])
    losses = g.hinge_loss(scores, [0, 1, 2], reduction="none").numpy()
    np.testing.assert_allclose(losses, [2.9, 0, 12.9], rtol=1e-6, atol=0)


@pytest.mark.parametrize("dtype", ["float32", *HALVES])
def test_logits_of_any_scale(dtype):
    x = g.tensor([-1e4, 0.0, 1e4], dtype=dtype, requires_grad=True)
    loss = g.binary_cross_entropy_with_logits(x, g.tensor([0.0, 0.5, 1.0], dtype=dtype), "sum")
    loss.backward()
    assert loss.item() == pytest.approx(np.log(2), rel=2.0**-8)
    assert x.grad.numpy().tolist() == [0, 0, 0]
    wrong = g.binary_cross_entropy_with_logits(x.detach(), g.tensor([1.0, 1.0, 0.0], dtype=dtype), "none").numpy()
    assert wrong[0] == wrong[2] == -x.numpy()[0]


def test_label_smoothing_has_its_minimum_at_the_smoothed_target():
    target = np.array([0.1, 0.1, 0.8])  # (1 - 0.3) at the label and 0.3 / 3 everywhere
    x = g.tensor(np.log(target)[None], requires_grad=True)
    loss = g.cross_entropy(x, [2], label_smoothing=0.3)
    loss.backward()
    assert loss.item() == pytest.approx(-(target * np.log(target)).sum(), rel=1e-12)
    np.testing.assert_allclose(x.grad.numpy(), 0, atol=1e-15)


def test_weights_of_classes_count_examples():
    """A class of weight 3 is as good as three examples of it."""
    x = np.random.default_rng(0).standard_normal((3, 4))
    once = g.cross_entropy(g.tensor(x), [1, 0, 3], weight=g.tensor([1.0, 3.0, 1.0, 1.0]))
    thrice = g.cross_entropy(g.tensor(x[[0, 0, 0, 1, 2]]), [1, 1, 1, 0, 3])
    assert once.item() == pytest.approx(thrice.item(), rel=1e-12)


@pytest.mark.parametrize("dtype", HALVES)
def test_losses_of_many_halves_are_summed_in_float32(dtype):
    """4096 rows of loss log 2: in float16 the sum would stop growing at 2048, in bfloat16 at 256."""
    x, labels = g.zeros(4096, 2, dtype=dtype), np.zeros(4096, np.int64)
    assert g.cross_entropy(x, labels).item() == pytest.approx(np.log(2), rel=2.0**-8)
    assert g.hinge_loss(x, labels).item() == 1
    assert g.kl_div(x - 1, g.ones(4096, 2, dtype=dtype)).item() == 2


def test_divergence_of_a_distribution_from_itself_is_nothing():
    p = g.tensor([[0.2, 0.8, 0.0], [1.0, 0.0, 0.0]])
    assert g.kl_div(g.tensor([[0.2, 0.8, 1.0], [1.0, 1.0, 1.0]]).log(), p).item() == 0


# --- random -----------------------------------------------------------------------------------------------------------
def test_stochastic_depth_drops_whole_examples():
    x = g.ones(2000, 3, 2, requires_grad=True)
    y = g.stochastic_depth(x, 0.25)
    rows = y.numpy().reshape(2000, 6)
    assert (rows == rows[:, :1]).all()
    kept = rows[:, 0] != 0
    assert abs(kept.mean() - 0.75) < 5 * np.sqrt(0.25 * 0.75 / kept.size)
    assert np.unique(rows[kept]).tolist() == [np.float32(1 / 0.75)]
    y.sum().backward()
    assert np.array_equal(x.grad.numpy(), y.numpy())
    assert g.stochastic_depth(x, 0.25, training=False) is x


# --- transposed convolution -------------------------------------------------------------------------------------------
def test_transposed_convolution_is_the_gradient_of_convolution():
    options = {"stride": (2, 3), "padding": (1, 0), "dilation": (1, 2), "groups": 2}
    x, w = g.randn(2, 4, 8, 12, dtype="float64", requires_grad=True), g.randn(6, 2, 3, 2, dtype="float64")
    y = g.conv2d(x, w, **options)
    dy = g.randn(*y.shape, dtype="float64")
    y.backward(dy)
    again = g.conv_transpose2d(dy, w, output_padding=(1, 0), **options)
    assert np.array_equal(again.numpy(), x.grad.numpy())


@pytest.mark.parametrize("algorithm", ["im2col", "winograd2"])
def test_transposed_convolution_by_other_algorithms(algorithm):
    def results(name):
        x, w = (g.randn(*shape, requires_grad=True) for shape in ((1, 4, 6, 5), (4, 3, 3, 3)))
        y = g.conv_transpose2d(x, w, padding=1, algorithm=name)
        y.sum().backward()
        return [y.numpy(), x.grad.numpy(), w.grad.numpy()]

    g.manual_seed(0)
    ref = results("direct")
    g.manual_seed(0)
    for array, wanted in zip(results(algorithm), ref, strict=True):
        np.testing.assert_allclose(array, wanted, atol=1e-5 * np.abs(wanted).max())
