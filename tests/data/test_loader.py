"""DataLoader: what it yields, and that the order depends on seed and epoch alone."""

import numpy as np
import pytest

from gpucnn.data import DataLoader, Images


def numbered(count=23):
    """Image i holds the pixel i, so that a batch shows which rows it took."""
    labels = np.arange(count)
    return Images(np.broadcast_to(labels[:, None, None, None], (count, 1, 3, 2)).astype(np.uint8), labels, 0.25, 0.5)


def rows(loader):
    return [labels.numpy().tolist() for _, labels in loader]


def test_batches_in_order():
    loader = DataLoader(numbered(), 10)
    assert rows(loader) == [list(range(10)), list(range(10, 20)), [20, 21, 22]]
    assert len(loader) == 3


def test_drop_last():
    loader = DataLoader(numbered(), 10, drop_last=True)
    assert [len(batch) for batch in rows(loader)] == [10, 10]
    assert len(loader) == 2


def test_values():
    for images, labels in DataLoader(numbered(), 7, shuffle=True, seed=3):
        assert images.dtype == np.float32
        assert labels.dtype == np.int64
        assert not images.requires_grad
        expected = (labels.numpy()[:, None, None, None] / 255 - 0.25) / 0.5 * np.ones((1, 1, 3, 2))
        np.testing.assert_allclose(images.numpy(), expected, rtol=0, atol=3e-7)


def test_order_depends_on_seed_and_epoch_alone():
    one, two = DataLoader(numbered(), 5, shuffle=True, seed=1), DataLoader(numbered(), 5, shuffle=True, seed=1)
    first, second = rows(one), rows(one)
    assert first != second
    np.random.seed(0)  # global state has no say
    two.epoch = 1
    assert rows(two) == second
    assert rows(DataLoader(numbered(), 5, shuffle=True, seed=2)) != first
    assert sorted(row for batch in first for row in batch) == list(range(23))
    # Seed 1 in epoch 0 and seed 0 in epoch 1 are different orders.
    assert DataLoader(numbered(), shuffle=True, seed=0).order(1).tolist() != one.order(0).tolist()


def test_the_set_is_not_changed():
    data = numbered()
    before = data.images.copy()
    for images, labels in DataLoader(data, 4):
        images.numpy()[...] = 7
        labels.numpy()[...] = 7
    np.testing.assert_array_equal(data.images, before)
    assert data.labels.tolist() == list(range(23))


def test_bad_arguments():
    with pytest.raises(ValueError, match="batch_size is positive, but it is 0"):
        DataLoader(numbered(), 0)
    with pytest.raises(ValueError, match="seed is not negative"):
        DataLoader(numbered(), seed=-1)
