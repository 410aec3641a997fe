"""Registers, shared memory and spills of every kernel: `python -m bench.registers LOG [--check]`.

LOG is the output of a build with -Xptxas=-v, such as
CMAKE_ARGS=-DCMAKE_CUDA_FLAGS=-Xptxas=-v GPUCNN_CUDA_ARCH="80;90a" python setup.py build_ext --inplace
Writes bench/results/registers.txt. --check writes nothing; it fails where a kernel spills, and where the table names
other kernels than the log: counts differ between compilers, names do not. Shared memory, in bytes, is what ptxas sees,
without what a launch adds (implicit GEMM, products of spectra).
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

TABLE = Path(__file__).resolve().parent / "results" / "registers.txt"

ENTRY = re.compile(r"Compiling entry function '(\w+)' for 'sm_(\w+)'")
SPILLS = re.compile(r"(\d+) bytes spill stores, (\d+) bytes spill loads")
USED = re.compile(r"Used (\d+) registers(?:.*?(\d+) bytes smem)?")
SOURCE = re.compile(r"_GLOBAL__N__[0-9a-f]+_\d+_(\w+)_cu_[0-9a-f]+")  # how nvcc names the namespace of a file


class Usage(NamedTuple):
    """A kernel on one architecture, as ptxas reports it; shared memory and spills in bytes."""

    kernel: str
    architecture: str
    registers: int
    shared: int
    spills: int


def usages(log):
    """A Usage for each kernel and architecture in a log, sorted; none is an error."""
    found, entry, spills = {}, None, 0
    for line in log.splitlines():
        if match := ENTRY.search(line):
            entry, spills = match.groups(), 0
        elif match := SPILLS.search(line):
            spills = sum(map(int, match.groups()))
        elif (match := USED.search(line)) and entry:
            found[entry] = int(match[1]), int(match[2] or 0), spills
            entry = None
    if not found:
        raise SystemExit("bench.registers: the log holds the output of ptxas -v, but no kernel is in it")
    names = names_of(sorted({mangled for mangled, _ in found}))
    return sorted(Usage(names[mangled], architecture, *numbers) for (mangled, architecture), numbers in found.items())


def names_of(mangled):
    """{mangled: the file and the kernel with its template's arguments}, such as "im2col: im2col_kernel<float>"."""
    text = subprocess.run(["c++filt"], input="\n".join(mangled), capture_output=True, text=True, check=True).stdout
    names = {}
    for symbol, name in zip(mangled, text.splitlines(), strict=True):
        name = name.replace("(anonymous namespace)::", "").removeprefix("void ").rpartition("(")[0]
        names[symbol] = f"{SOURCE.search(symbol)[1]}: {re.sub('> (?=>)', '>', name)}"
    return names


def table(found):
    lines = [f"{'sm':>4} {'registers':>9} {'shared':>6} {'spills':>6}  kernel"]
    lines += [f"{u.architecture:>4} {u.registers:9} {u.shared:6} {u.spills:6}  {u.kernel}" for u in found]
    return "\n".join(lines) + "\n"


def problems(found, committed):
    """What --check refuses, a line each."""
    known = {tuple(line.split(maxsplit=4)[::4]) for line in committed.splitlines()[1:]}
    here = {(u.architecture, u.kernel) for u in found}
    lines = [f"{u.kernel} spills {u.spills} bytes on sm_{u.architecture}" for u in found if u.spills]
    lines += [f"{kernel} on sm_{sm} is in the build, but not in the table" for sm, kernel in sorted(here - known)]
    return lines + [f"{kernel} on sm_{sm} is in the table, but not in the build" for sm, kernel in sorted(known - here)]


def main(argv):
    parser = argparse.ArgumentParser("bench.registers", description=__doc__.splitlines()[0])
    parser.add_argument("log", type=Path)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args(argv)
    found = usages(options.log.read_text(errors="replace"))
    print(table(found), end="")
    if not options.check:
        TABLE.write_text(table(found))
        return 0
    refused = problems(found, TABLE.read_text())
    if refused:
        print(*refused, "`python -m bench.registers LOG` writes the table", sep="\n", file=sys.stderr)
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
