"""What the benchmarks share: their options, and a run that keeps each result as soon as it is there."""

import json
import sys
import time

from gpucnn import config
from gpucnn.cli import Parser
from gpucnn.device import use

from .environment import about, disturbance

DTYPES = ("float32", "float16", "bfloat16")


def arguments(name, description):
    """The parser of ``gpucnn bench NAME``, with the option that every measurement has."""
    parser = Parser(prog=f"gpucnn bench {name}", description=description)
    parser.add_argument("--out", metavar="FILE", help="append one JSON line a result to this file, as they come")
    return parser


def torch_or_refuse():
    """Load PyTorch, or a RuntimeError; before gpucnn's extension: both share OpenMP as the first one sets it up."""
    try:
        import torch
    except ImportError as error:
        raise RuntimeError(f"--compare torch needs PyTorch, but {error}; pip install torch") from error
    # float32 means float32 for both, unless gpucnn is told otherwise; and PyTorch may look for its fastest algorithm.
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = config.get("tf32")
    torch.backends.cudnn.benchmark = True


class Session:
    """One run of a benchmark: prints lines, says how long it will still take, keeps results; a context manager.

    bench     name of the benchmark, for the records
    total     results that it will have
    out       file to which each result is appended, or None
    device    for ``environment.about``, which every record gets
    """

    def __init__(self, bench, total, out=None, device="cpu"):
        self.bench, self.total, self.rows, self.refused = bench, total, [], 0
        # First: an output that cannot be written is told at once.
        self.file = open(out, "a") if out else None  # noqa: SIM115
        self.device, self.about, self.bar, self.done = device, about(device), None, 0
        self.start = time.perf_counter()

    def __enter__(self):
        use(self.device)  # for events and memory, too
        problem = disturbance(self.about)
        print(f"{self.about['device']}" + (f", {n} threads" if (n := self.about.get("threads")) else ""))
        if problem:
            print(f"gpucnn bench: {problem}; times may mean little", file=sys.stderr)
        if sys.stderr.isatty():
            from tqdm import tqdm

            self.bar = tqdm(total=self.total, unit=" results", dynamic_ncols=True, leave=False)
        return self

    def __exit__(self, *_):
        if self.bar is not None:
            self.bar.close()
        if self.file:
            self.file.close()

    def line(self, text):
        """Print a line, above the bar where there is one."""
        if self.bar is not None:
            self.bar.write(text, file=sys.stdout)
        else:
            print(text, flush=True)

    def refuse(self, what, why):
        """Say that a result is wrong, so that its time is not printed; it makes the exit code 1."""
        self.refused += 1
        self.line(f"{what}: refused, its result is wrong: {why}")

    def result(self, text, **row):
        """Print and keep one result: a line of text and the fields of its record."""
        self.done += 1
        row = {"bench": self.bench, **row, **self.about}
        self.rows.append(row)
        if self.file:
            self.file.write(json.dumps(row) + "\n")
            self.file.flush()
        left = (time.perf_counter() - self.start) / self.done * (self.total - self.done)
        self.line(
            text if self.bar is not None or not self.total else f"{text}  [{self.done}/{self.total}, {left:.0f} s left]"
        )
        if self.bar is not None:
            self.bar.update()

    @property
    def code(self):
        """The exit code: 1 where a result was refused."""
        return 1 if self.refused else 0
