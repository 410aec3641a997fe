"""Draws: what the numbers depend on, and that they are spread as they should be."""

import numpy as np
import pytest

from gpucnn.data import Draws

ROWS = np.arange(20000)


def test_an_image_has_its_numbers_whatever_the_batch():
    whole, part = Draws(3, 4, [5, 6, 7]), Draws(3, 4, [7, 5])
    for draw in (lambda d: d.uniform(), lambda d: d.below(10), lambda d: d.normal(3), lambda d: d.uniform(-1, 2, 2)):
        a, b = draw(whole), draw(part)
        assert np.array_equal(a[[2, 0]], b)
    assert len(whole) == 3


@pytest.mark.parametrize("change", [{"seed": 1}, {"epoch": 1}, {"stream": 1}, {"rows": [1]}])
def test_everything_counts(change):
    given = {"seed": 0, "epoch": 0, "rows": [0], "stream": 0}
    assert Draws(**given).uniform() != Draws(**{**given, **change}).uniform()


def test_seed_and_epoch_do_not_trade_places():
    values = {Draws(seed, epoch, [row]).uniform().item() for seed in range(8) for epoch in range(8) for row in range(8)}
    assert len(values) == 512


def test_uniform_is_uniform():
    draws = Draws(0, 0, ROWS)
    columns = [draws.uniform(), draws.uniform(), *draws.uniform(count=2).T]
    for values in columns:
        assert values.min() >= 0 and values.max() < 1
        counts = np.bincount((values * 10).astype(int), minlength=10)
        assert ((counts - 2000) ** 2 / 2000).sum() < 30  # chi-squared of 9 degrees of freedom: p < 0.0005
    assert np.abs(np.corrcoef(columns) - np.eye(4)).max() < 0.03
    assert np.abs(np.corrcoef(columns[0][1:], columns[0][:-1])[0, 1]) < 0.03


def test_integers_and_normals():
    draws = Draws(1, 2, ROWS)
    counts = np.bincount(draws.below(7))
    assert len(counts) == 7 and np.abs(counts - len(ROWS) / 7).max() < 250
    values = draws.normal(3)
    assert values.shape == (20000, 3)
    assert np.abs(values.mean(0)).max() < 0.03 and np.abs(values.std(0) - 1).max() < 0.03
    assert 0.6727 < np.mean(np.abs(values) < 1) < 0.6927


def test_large_seeds_and_rows():
    assert np.isfinite(Draws(2**64 - 1, 2**40, [2**62]).normal(1)).all()
