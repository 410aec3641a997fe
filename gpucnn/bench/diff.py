"""Two files of results against each other: the ratio of the medians B / A of each time, with its spread.

The spread is what the quartiles allow: from Q1 of B / Q3 of A to Q3 of B / Q1 of A. A time is slower where the ratio
is above the threshold and the whole spread is above 1; then the exit code is 1. PyTorch's times show how far the
machine itself changed, and never count as slower.
"""

from .results import key, latest, read, title
from .session import Parser


def compare(before, after, threshold):
    """[(what, who, ratio, low, high, slower)] of the times that both have; low and high None without quartiles."""
    old = {key(r): r for r in latest(before) if r.get("median_ms")}
    found = []
    for record in latest(after):
        other = old.get(key(record))
        for who, ms in record.get("median_ms", {}).items():
            if other is None or who not in other["median_ms"]:
                continue
            ratio, low, high = ms / other["median_ms"][who], None, None
            quartiles = [r.get("quartiles_ms", {}).get(who) for r in (other, record)]
            if all(quartiles):
                (a1, a3), (b1, b3) = ((q[0], q[-1]) for q in quartiles)
                low, high = b1 / a3, b3 / a1
            slower = ratio > threshold and (low is None or low > 1) and not who.startswith("torch")
            found.append((title(record), who, ratio, low, high, slower))
    return found


def main(argv):
    parser = Parser(prog="gpucnn bench diff", description=__doc__.splitlines()[0])
    parser.add_argument("before", metavar="A", help="JSON lines of --out")
    parser.add_argument("after", metavar="B", help="JSON lines of --out")
    parser.add_argument("--threshold", type=float, default=1.1, help="ratio that is too slow (default: 1.1)")
    options = parser.parse_args(argv)
    if not options.threshold > 0:
        raise ValueError(f"diff: the threshold is a positive number, but came {options.threshold}")
    found = compare(read([options.before]), read([options.after]), options.threshold)
    if not found:
        raise ValueError(
            f"diff: both files have a time of one measurement, but {options.before} and {options.after} share none"
        )
    for what, who, ratio, low, high, slower in found:
        spread = "" if low is None else f" ({low:.2f} to {high:.2f})"
        print(f"{what}  {who}: {ratio:.2f}{spread}{'  SLOWER' if slower else ''}")
    count = sum(slower for *_, slower in found)
    print(f"{len(found)} times compared, {count} slower by more than {options.threshold:g}")
    return 1 if count else 0
