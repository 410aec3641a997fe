"""Values at the edges of operations: kinks, ties, NaN, overflow, long sums in 16 bits, what is random."""

import numpy as np
import pytest

import gpucnn as g
from gpucnn.ops import compare

HALVES = ["float16", "bfloat16"]


def gradient(function, values, dtype="float32"):
    x = g.tensor(values, dtype=dtype, requires_grad=True)
    function(x).backward(g.ones(function(x).shape, dtype=dtype))
    return x.grad.numpy().tolist()


# --- ties and kinks -------------------------------------------------------------------------------------------------
def test_ties_share_the_gradient():
    assert gradient(g.max, [1.0, 3.0, 3.0]) == [0, 0.5, 0.5]
    assert gradient(lambda x: g.min(x, 1), [[1.0, 1.0], [2.0, 1.0]]) == [[0.5, 0.5], [0, 1]]
    assert gradient(lambda x: g.maximum(x, 2.0), [1.0, 2.0, 3.0]) == [0, 0.5, 1]
    assert gradient(lambda x: g.minimum(x, 2.0), [1.0, 2.0, 3.0]) == [1, 0.5, 0]


def test_more_ties_than_float16_can_count():
    x = g.zeros(70_000, dtype="float16", requires_grad=True)
    x.max().backward(g.tensor(7000.0, dtype="float16"))
    assert x.grad.numpy().tolist() == [np.float16(0.1)] * 70_000


def test_kinks():
    assert gradient(g.abs, [-2.0, 0.0, 2.0]) == [-1, 0, 1]
    assert gradient(lambda x: g.clip(x, -1, 1), [-2.0, -1.0, 0.0, 1.0, 2.0]) == [0, 1, 1, 1, 0]
    assert gradient(lambda x: g.pow(x, 0), [0.0, 2.0]) == [0, 0]
    assert gradient(lambda x: g.pow(x, 1), [0.0, 2.0]) == [1, 1]
    assert gradient(lambda x: g.pow(0.0, x), [1.0, 2.0]) == [0, 0]


def test_pooling_sends_a_tie_to_the_first_in_rows():
    x = g.ones(1, 1, 3, 4, requires_grad=True)
    g.max_pool2d(x, (3, 2)).sum().backward()
    assert x.grad.numpy()[0, 0].tolist() == [[1, 0, 1, 0], [0] * 4, [0] * 4]


def test_overlapping_windows_add_up_their_gradients():
    x = g.tensor(np.array([[[[0.0, 5.0, 1.0]]]]), requires_grad=True)
    g.max_pool2d(x, (1, 2), stride=1).backward(g.tensor(np.array([[[[10.0, 100.0]]]])))
    assert x.grad.numpy().tolist() == [[[[0, 110, 0]]]]


def test_padding_never_wins_and_is_no_zero():
    x = g.full((1, 1, 2, 2), -3.0, requires_grad=True)
    y = g.max_pool2d(x, 2, stride=2, padding=1)
    assert y.numpy().tolist() == [[[[-3, -3], [-3, -3]]]]
    assert g.avg_pool2d(x, 2, 2, 1).numpy().tolist() == [[[[-0.75, -0.75], [-0.75, -0.75]]]]
    assert g.avg_pool2d(x, 2, 2, 1, count_include_pad=False).numpy().tolist() == [[[[-3, -3], [-3, -3]]]]


# --- NaN and overflow -----------------------------------------------------------------------------------------------
def test_a_nan_stays_visible():
    values = [[[[1.0, np.nan, 3.0, 0.0]]]]
    for function in (g.relu, g.max, g.min, g.sum, lambda x: g.maximum(x, 0.0), lambda x: g.max_pool2d(x, (1, 2))):
        assert np.isnan(function(g.tensor(values)).numpy()).any()
    assert np.isnan(g.softmax(g.tensor([1.0, np.nan])).numpy()).all()


def test_the_gradient_of_a_nan_extreme_goes_to_the_nan():
    assert gradient(g.max, [1.0, np.nan, 3.0]) == [0, 1, 0]


@pytest.mark.parametrize("dtype", ["float32", *HALVES])
def test_large_logits_neither_overflow_nor_vanish(dtype):
    x = g.tensor([[-1e4, 0.0, 1e4]], dtype=dtype)
    assert g.softmax(x).numpy().tolist() == [[0, 0, 1]]
    low = -2 * float(x.numpy()[0, 2])
    assert g.log_softmax(x).numpy().astype(np.float64).tolist() == [[low, low / 2, 0]]
    assert g.cross_entropy(x, [0]).item() == -low


@pytest.mark.parametrize(("dtype", "u"), [("float32", 2.0**-24), ("float16", 2.0**-11), ("bfloat16", 2.0**-8)])
def test_sigmoid_keeps_its_digits_on_both_sides(dtype, u):
    x = np.linspace(-8, 8, 65).astype(g.dtype.as_dtype(dtype))
    ref = 1 / (1 + np.exp(-x.astype(np.float64)))
    y = g.sigmoid(g.tensor(x)).numpy().astype(np.float64)
    assert (np.abs(y - ref) <= (u + 8 * 2.0**-24) * ref).all()
    assert g.sigmoid(g.tensor([-1e4, 1e4])).numpy().tolist() == [0, 1]


def test_variance_far_from_zero():
    """The two-pass formula: E(x*x) - E(x)**2 would give 0 or noise here."""
    x = g.tensor(np.float32(4096) + np.array([[0, 1], [2, 3]] * 8, np.float32))
    assert g.var(x, correction=0).item() == 1.25


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_far_from_zero(training):
    x = g.tensor(np.float32(10_000) + np.arange(8, dtype=np.float32)[:, None])
    mean, var = g.full((1,), 10_003.5), g.full((1,), 5.25)
    y = g.batch_norm(x, mean, var, training=training, eps=0.0).numpy()[:, 0]
    assert np.allclose(y, (np.arange(8) - 3.5) / np.sqrt(5.25), rtol=1e-6)


# --- long sums in 16 bits ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", HALVES)
def test_sums_of_4096_halves_are_made_in_float32(dtype):
    """In float16 the sum of ones stops growing at 2048, in bfloat16 at 256."""
    x = g.ones(4096, dtype=dtype)
    matrix = g.ones(4096, 3, dtype=dtype)
    assert g.sum(x).item() == 4096
    assert g.mean(x).item() == 1
    assert g.matmul(x, x).item() == 4096
    assert g.linear(x, g.transpose(matrix, 0, 1)).numpy().tolist() == [4096] * 3
    assert g.avg_pool2d(g.reshape(x, (1, 1, 64, 64)), 64).item() == 1
    assert g.conv2d(g.reshape(x, (1, 1, 64, 64)), g.ones(1, 1, 64, 64, dtype=dtype)).item() == 4096


@pytest.mark.parametrize("dtype", HALVES)
def test_gradients_that_sum_4096_halves_are_made_in_float32(dtype):
    def ones(*shape):
        return g.ones(*shape, dtype=dtype, requires_grad=True)

    one, bias = ones(1), ones(2)
    (g.ones(4096, dtype=dtype) * one).sum().backward()
    g.conv2d(ones(1, 1, 64, 64), ones(2, 1, 1, 1), bias).sum().backward()
    row = ones(1, 3)
    row[np.zeros(4096, int)].sum().backward()
    assert one.grad.item() == 4096
    assert bias.grad.numpy().tolist() == [4096] * 2
    assert row.grad.numpy().tolist() == [[4096] * 3]


def test_the_mean_of_large_halves_does_not_overflow():
    assert g.mean(g.full((100,), 60_000.0, dtype="float16")).item() == 60_000
    assert g.var(g.tensor([-200.0, 200.0] * 50, dtype="float16"), correction=0).item() == 40_000


# --- integers, comparisons, indices ----------------------------------------------------------------------------------
def test_integers_stay_exact_and_divide_as_floats():
    x = g.tensor([2**40 + 1, 3])
    assert g.sum(x).item() == 2**40 + 4 and g.sum(x).dtype == np.int64
    assert (x * 2).numpy().tolist() == [2**41 + 2, 6]
    assert (g.tensor([7, 8]) / 2).numpy().tolist() == [3.5, 4] and (x / 2).dtype == np.float32
    assert g.mean(g.tensor([1, 2])).item() == 1.5
    assert g.sum(g.tensor([100, 100], dtype="uint8")).item() == 200
    assert g.sum(g.tensor([True, True])).item() == 2


@pytest.mark.parametrize("name", ["equal", "not_equal", "less", "less_equal", "greater", "greater_equal"])
def test_comparisons(name):
    a, b = np.array([[1.0], [2.0], [3.0]], np.float32), np.array([1.0, 2.0], np.float32)
    x = g.tensor(a, requires_grad=True)
    y = compare(name, x, g.tensor(b))
    assert y.dtype == bool and not y.requires_grad
    assert np.array_equal(y.numpy(), getattr(np, name)(a, b))


def test_comparisons_across_dtypes():
    assert (g.tensor([1.5], dtype="float16") == g.tensor([1.5], dtype="bfloat16")).item()
    assert (g.tensor([200], dtype="uint8") > -1).item()
    assert (g.tensor([1]) < 1.5).item()


def test_argmax_takes_the_first():
    x = g.tensor([[1.0, 5.0, 5.0], [7.0, 2.0, 7.0]])
    assert g.argmax(x, axis=1).numpy().tolist() == [1, 0]
    assert g.argmax(x).item() == 3 and g.argmax(x).dtype == np.int64


# --- random and stateful ----------------------------------------------------------------------------------------------
def test_dropout_keeps_the_mean_and_drops_its_share():
    x = g.ones(100_000, requires_grad=True)
    y = g.dropout(x, 0.25)
    kept = y.numpy() != 0
    assert abs(kept.mean() - 0.75) < 5 * np.sqrt(0.25 * 0.75 / kept.size)
    assert np.unique(y.numpy()[kept]).tolist() == [np.float32(1 / 0.75)]
    y.sum().backward()
    assert np.array_equal(x.grad.numpy(), y.numpy())  # the same elements, the same scale


def test_dropout_is_the_identity_in_evaluation():
    x = g.randn(10)
    assert g.dropout(x, 0.5, training=False) is x
    assert g.dropout(x, 0.0) is x


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def test_dropout_repeats_by_seed_only(device):
    x = g.ones(64, device=device)
    g.manual_seed(3)
    first, second = g.dropout(x).numpy(), g.dropout(x).numpy()
    g.manual_seed(3)
    assert np.array_equal(g.dropout(x).numpy(), first) and not np.array_equal(first, second)


def test_batch_norm_moves_its_running_statistics():
    x = np.random.default_rng(0).standard_normal((4, 3, 2, 5))
    mean, var = g.zeros(3), g.ones(3)
    g.batch_norm(g.tensor(x, dtype="float32"), mean, var, training=True, momentum=0.25)
    flat = x.transpose(1, 0, 2, 3).reshape(3, -1)
    assert np.allclose(mean.numpy(), 0.25 * flat.mean(1), rtol=1e-5)
    assert np.allclose(var.numpy(), 0.75 + 0.25 * flat.var(1, ddof=1), rtol=1e-5)
    kept = mean.numpy().copy()
    g.batch_norm(g.tensor(x, dtype="float32"), mean, var)
    assert np.array_equal(mean.numpy(), kept)


@pytest.mark.parametrize("dtype", HALVES)
def test_batch_norm_of_halves_with_float32_parameters(dtype):
    x = g.randn(8, 3, 4, 4, dtype=dtype, requires_grad=True)
    weight, bias = g.ones(3, requires_grad=True), g.zeros(3, requires_grad=True)
    y = g.batch_norm(x, g.zeros(3), g.ones(3), weight, bias, training=True)
    y.backward(g.ones_like(y))
    assert (y.dtype, x.grad.dtype, weight.grad.dtype, bias.grad.dtype) == (dtype, dtype, np.float32, np.float32)
    assert bias.grad.numpy().tolist() == [8 * 16] * 3


def test_labels_of_every_integer_dtype():
    logits = g.randn(3, 5)
    losses = {g.cross_entropy(logits, g.tensor([4, 0, 2], dtype=d)).item() for d in ("int64", "int32", "uint8")}
    assert len(losses) == 1
