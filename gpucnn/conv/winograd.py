"""Transform matrices of Winograd's minimal filtering F(m, r), by one construction (Cook-Toom) in exact fractions.

F(m, r) makes m outputs y_i = sum_k g_k d_{i+k} of a filter of r taps from n = m + r - 1 inputs with n products:
y = A^T [(G g) * (B^T d)]. Tiles nest it: Y = A^T [(G g G^T) * (B^T d B)] A (Lavin & Gray 2016). The native code takes
its constants from kernels/winograd_matrices.h, which ``python -m gpucnn.conv.winograd`` writes.
"""

from fractions import Fraction as F

# Where the polynomials are evaluated, beside infinity, by n. For n = 6, 0 and +-12/17, +-17/12 halve the error of the
# usual 0, +-1, +-2; they have the form -1/c, -c, c, 1/c that Alam et al. (2022) search.
POINTS = {
    4: (F(0), F(1), F(-1)),
    6: (F(0), F(12, 17), F(-12, 17), F(17, 12), F(-17, 12)),
}
FILTERS = ((2, 3), (4, 3), (3, 2), (3, 4))  # (m, r) that native code uses; the last two are of wgrad


def matrices(m, r):
    """(A^T (m, n), G (n, r), B^T (n, n)) as lists of rows of Fractions.

    >>> AT, G, BT = matrices(2, 3)
    >>> [[int(v) for v in row] for row in BT]
    [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, -1, 0, 1]]
    """
    points = POINTS[m + r - 1]
    AT = [[p**i for p in points] + [F(i == m - 1)] for i in range(m)]
    G, BT = [], []
    for j, p in enumerate(points):
        others = points[:j] + points[j + 1 :]
        scale = F(1)
        for q in others:
            scale *= p - q
        G.append([p**k / abs(scale) for k in range(r)])
        BT.append([c if scale > 0 else -c for c in _polynomial(others)] + [F(0)])
    G.append([F(k == r - 1) for k in range(r)])
    BT.append(_polynomial(points))
    return AT, G, BT


def _polynomial(roots):
    """Coefficients of the product of (x - root), lowest power first."""
    coefficients = [F(1)]
    for root in roots:
        coefficients = [a - root * b for a, b in zip([F(0), *coefficients], [*coefficients, F(0)], strict=True)]
    return coefficients


def header():
    """The text of kernels/winograd_matrices.h."""
    lines = [
        "// Written by `python -m gpucnn.conv.winograd`; do not edit. Transform matrices of Winograd's F(m, r).",
        "// Rows (columns of AT) 1 and 2, 3 and 4, ... are of points p and -p: equal but for the sign of odd powers.",
        "#pragma once",
        "",
        "// clang-format off",
        "template <int m, int r> struct Winograd;",
    ]
    for m, r in FILTERS:
        lines.append(f"template <> struct Winograd<{m}, {r}> {{")
        for name, matrix in zip(("AT", "G", "BT"), matrices(m, r), strict=True):
            rows, columns = len(matrix), len(matrix[0])
            values = ", ".join("{" + ", ".join(_literal(v) for v in row) + "}" for row in matrix)
            lines.append(f"    struct {name} {{")
            lines.append(f"        static constexpr int rows = {rows}, cols = {columns};")
            lines.append(f"        static constexpr float at[{rows}][{columns}] = {{{values}}};")
            lines.append("    };")
        lines.append("};")
    return "\n".join([*lines, "// clang-format on", ""])


def _literal(value):
    return f"{float(value)!r}f"


if __name__ == "__main__":
    import sys

    sys.stdout.write(header())
