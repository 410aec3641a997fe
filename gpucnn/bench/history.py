"""Figures of the past (CSV files in records/, each with its source) and today's beside them, as one Markdown table."""

import csv
from pathlib import Path

from . import net
from .session import DTYPES, Session, arguments, torch_or_refuse
from .tables import markdown, number, phases

RECORDS = Path(__file__).parent / "records"


def records(name):
    """The rows of a CSV file of the package, as dicts."""
    with open(RECORDS / f"{name}.csv", newline="") as file:
        return list(csv.DictReader(file))


def parser_of(name, description, quick):
    """The options that the reproductions share; ``quick`` says what --quick does."""
    parser = arguments(name, description)
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:1 (default: cpu)")
    parser.add_argument("--dtype", nargs="+", choices=DTYPES, default=["float32"])
    parser.add_argument("--compare", choices=["torch"], help="time PyTorch in turn with gpucnn")
    parser.add_argument("--seconds", type=float, help="for each measurement, at least")
    parser.add_argument("--quick", action="store_true", help=quick)
    return parser


def parsed(parser, argv):
    """The options, after PyTorch was loaded where it is asked for."""
    options = parser.parse_args(argv)
    if options.compare:
        torch_or_refuse()
    return options


def networks(name, runs, options):
    """Measure training steps of (network, batch) for each dtype; the Session, closed, with its rows."""
    session = Session(name, len(runs) * len(options.dtype), options.out, options.device)
    with session:
        for model, batch in runs:
            for dtype in options.dtype:
                seconds = options.seconds or (0.2 if options.quick else 2.0)
                net.one(session, model, batch, dtype, options.device, seconds, options.compare)
    return session


def network_table(title, past, batch, rows):
    """The lines of a table: past is [(who, total, forward, backward)] in ms a batch; rows are records of today.

    Where today's batch is another one, times a image are what compares; they are there for every line.
    """
    headings = [title, "batch", "total ms", "forward ms", "backward ms", "total ms an image"]
    lines = [[who, batch, *(number(ms, ".4g") for ms in times), f"{times[0] / batch:.4g}"] for who, *times in past]
    for r in rows:
        for who in ("gpucnn", "torch"):
            called = f"**{who} {r['dtype']}, {r['device']}**"
            if r.get("out_of_memory"):
                lines.append([called, r["batch"], "out of memory", "", "", ""])
                break
            if times := phases(r, who):
                forward, backward, _ = times
                total = forward + backward
                row = [number(ms, ".4g") for ms in (total, forward, backward, total / r["batch"])]
                lines.append([called, r["batch"], *row])
    return [*markdown(headings, lines), ""]
