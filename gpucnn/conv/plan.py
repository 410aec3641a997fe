"""What each row of ALGOS costs for one convolution: a table that prints well."""

from typing import NamedTuple

from . import find
from .choose import candidates


class Line(NamedTuple):
    """One row of ALGOS: its time if it was measured, and why it is left out, or None."""

    name: str
    seconds: float | None
    workspace: int  # bytes beside the operands; the least, if that is too many
    error: float
    bound: str
    excluded: str | None


class Plan(NamedTuple):
    """The lines of a convolution, and the name of the one that would run."""

    title: str
    choice: str
    lines: tuple[Line, ...]

    def __str__(self):
        table = [("", "algorithm", "ms", "workspace MiB", "error", "bound", "")]
        for line in self.lines:
            table.append(
                (
                    "*" if line.name == self.choice else "",
                    line.name,
                    "" if line.seconds is None else f"{1e3 * line.seconds:.3g}",
                    f"{line.workspace / 2**20:.2f}",
                    f"{line.error:g}",
                    line.bound,
                    line.excluded or "",
                )
            )
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        texts = (
            "  ".join(
                cell.rjust(width) if 2 <= i <= 4 else cell.ljust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in table
        )
        return "\n".join([f"{self.title} -> {self.choice}", *(f"  {text}" for text in texts)])


def survey(kind, direction, shape, dtype, choice):
    """The Plan of a convolution under the limits of now, of which the Candidate ``choice`` runs."""
    rows = candidates(kind, direction, shape, dtype)
    times = find.known(kind, direction, shape, dtype)
    lines = (
        Line(c.name, times.get(c.name), c.beside, c.error, c.bound, c.excluded)
        for c in rows  # in the order of ALGOS
    )
    return Plan(f"conv {direction} {dtype} on {kind}, {shape}", choice.name, tuple(lines))


_shown = set()


def report(kind, direction, shape, dtype, choice):
    """What GPUCNN_DEBUG=1 prints: one line, and below it the table where it was not shown before."""
    text = str(survey(kind, direction, shape, dtype, choice))
    if text in _shown:
        return "gpucnn: " + text.partition("\n")[0]
    _shown.add(text)
    return "gpucnn: " + text
