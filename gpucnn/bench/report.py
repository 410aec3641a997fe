"""Results as Markdown tables and pictures: report.md and PNG files in a folder; the Markdown is printed, too."""

from pathlib import Path

from .results import read
from .session import Parser
from .tables import report


def main(argv):
    parser = Parser(prog="gpucnn bench report", description=__doc__.splitlines()[0])
    parser.add_argument("results", nargs="+", metavar="RESULTS", help="JSON lines of --out")
    parser.add_argument("--out", type=Path, default=Path("report"), metavar="DIR", help="folder (default: report)")
    options = parser.parse_args(argv)
    records = read(options.results)
    lines = report(records)
    options.out.mkdir(parents=True, exist_ok=True)
    from .plots import draw  # here, because Matplotlib takes a second to load

    pictures = draw(records, options.out)
    lines += [f"![{path.stem}]({path.name})" for path in pictures]
    (options.out / "report.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    return 0
