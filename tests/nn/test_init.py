"""Initialisation: the variance of each scheme, and one seed giving one network."""

import numpy as np
import pytest

import gpucnn
from gpucnn import nn


@pytest.mark.parametrize("shape", [(300, 200), (64, 32, 3, 5)])
@pytest.mark.parametrize(
    ("fill", "variance", "bounded"),
    [
        (nn.init.he_normal_, lambda i, o: 2 / i, False),
        (nn.init.he_uniform_, lambda i, o: 2 / i, True),
        (nn.init.xavier_normal_, lambda i, o: 2 / (i + o), False),
        (nn.init.xavier_uniform_, lambda i, o: 2 / (i + o), True),
        (lambda tensor: nn.init.normal_(tensor, 0.01), lambda i, o: 1e-4, False),
    ],
)
def test_variance(shape, fill, variance, bounded):
    gpucnn.manual_seed(0)
    tensor = gpucnn.zeros(*shape)
    assert fill(tensor) is tensor
    taps = int(np.prod(shape[2:]))
    wanted = variance(shape[1] * taps, shape[0] * taps)
    values = tensor.numpy()
    assert abs(values.mean()) < 5 * np.sqrt(wanted / values.size)
    assert values.var() == pytest.approx(wanted, rel=0.05)
    assert (np.abs(values).max() <= np.sqrt(3 * wanted)) == bounded


def test_seed():
    def weights(seed):
        gpucnn.manual_seed(seed)
        return nn.Conv2d(3, 4, 3).weight.numpy().copy()

    np.testing.assert_array_equal(weights(5), weights(5))
    assert not np.array_equal(weights(5), weights(6))


def test_in_place_and_in_the_dtype_of_the_tensor():
    tensor = gpucnn.zeros(4, 3, dtype="bfloat16")
    array, version = tensor.data, tensor.version[0]
    nn.init.xavier_uniform_(tensor)
    assert tensor.data is array
    assert array.dtype.name == "bfloat16"
    assert (array != 0).any()
    assert tensor.version[0] > version


def test_a_bias_has_no_fans():
    with pytest.raises(ValueError, match=r"at least 2 dimensions, but came shape \(3,\)"):
        nn.init.he_normal_(gpucnn.zeros(3))


def test_skip_draws_nothing():
    with nn.init.skip():
        skipped = nn.Conv2d(3, 4, 3)
        with nn.init.skip():
            pass
        assert not nn.Linear(2, 3).weight.numpy().any()
    assert not skipped.weight.numpy().any()
    weight = nn.Conv2d(3, 4, 3).weight.numpy()
    assert weight.all()
    gpucnn.manual_seed(0)  # as before every test: nothing was taken from the generator
    np.testing.assert_array_equal(nn.Conv2d(3, 4, 3).weight.numpy(), weight)
