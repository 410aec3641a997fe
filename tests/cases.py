"""Shapes that every row is tested on; `gpucnn bench accuracy` measures the rows on the same ones."""

from gpucnn.bench.cases import CASES, operands

__all__ = ["CASES", "operands"]
