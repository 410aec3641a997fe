"""The transform matrices of Winograd's algorithm: exact, those of the lectures, and those that native code has."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from gpucnn import native
from gpucnn.conv import ConvShape, run
from gpucnn.conv.winograd import FILTERS, header, matrices

HEADER = Path(__file__).parents[2] / "kernels" / "winograd_matrices.h"


@pytest.mark.parametrize(("m", "r"), FILTERS)
def test_every_product_of_a_tap_and_an_input_counts_where_it_should(m, r):
    """y_i = sum_k g_k d_{i+k}, exactly, for all unit vectors g and d: so for all g and d, as it is bilinear."""
    AT, G, BT = matrices(m, r)
    n = m + r - 1
    for k in range(r):
        for d in range(n):
            y = [sum(AT[i][j] * G[j][k] * BT[j][d] for j in range(n)) for i in range(m)]
            assert y == [Fraction(d == i + k) for i in range(m)]


def test_f2_is_that_of_the_lectures():
    """Lavin & Gray's F(2,3), up to the sign of the last product, which B^T and A^T share."""
    AT, G, BT = matrices(2, 3)
    half = Fraction(1, 2)
    assert list(G) == [[1, 0, 0], [half, half, half], [half, -half, half], [0, 0, 1]]
    assert BT == [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, -1, 0, 1]]
    assert AT == [[1, 1, 1, 0], [0, 1, -1, 1]]


@pytest.mark.parametrize(("m", "r"), FILTERS)
def test_pairs_of_points_agree_up_to_sign(m, r):
    """What the native transforms rely on: rows of p and -p have equal even and opposite odd coefficients."""
    AT, G, BT = matrices(m, r)
    for j in range(1, m + r - 2, 2):
        for rows in (G, BT):
            assert all(a == (-1) ** k * b for k, (a, b) in enumerate(zip(rows[j], rows[j + 1], strict=True)))
        assert all(row[j] == (-1) ** i * row[j + 1] for i, row in enumerate(AT))


def test_native_code_has_these_matrices():
    assert HEADER.read_text() == header()


@pytest.mark.parametrize(
    "shape",  # large enough for seven threads
    [ConvShape(1, 64, 6, 7, 250, 3, 3, (1, 1)), ConvShape(2, 128, 6, 6, 256, 3, 3, (1, 1), groups=2)],
)
@pytest.mark.parametrize("direction", ["fwd", "dgrad", "wgrad"])
@pytest.mark.parametrize("name", ["winograd2", "winograd4"])
def test_threads_that_share_tiles_give_the_same_bits(name, direction, shape):
    """Few tiles: threads beyond their number make parts of the same outputs."""
    rng, lib = np.random.default_rng(0), native.cpu()
    a, b = (rng.standard_normal(size, np.float32) for size in shape.operands(direction)[:2])
    before, found = lib.num_threads(), []
    try:
        for threads in (1, 2, 7):
            lib.set_num_threads(threads)
            found.append(run(direction, shape, a, b, algorithm=name))
    finally:
        lib.set_num_threads(before)
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])
