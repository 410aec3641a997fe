"""The transform matrices of Winograd's algorithm: exact, those of the lectures, and those that native code has."""

from fractions import Fraction
from pathlib import Path

import pytest

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
