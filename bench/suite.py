"""Every benchmark of the README and of the lectures on one device: `python -m bench.suite FOLDER [--device cuda]`.

Leaves NAME_cpu.jsonl or NAME_cuda.jsonl of each, and its output beside it; `bench/results` keeps such files. A
benchmark that fails does not stop the others. Exit code: 0 all went well, 1 something failed.
"""

import argparse
import importlib.util
import subprocess
import sys
import time
from pathlib import Path

DTYPES = ("--dtype", "float32", "float16", "bfloat16")
LAYOUTS = ("--layout", "channels_first", "channels_last")
SETS = ("friendly", "edges", "depthwise", "alexnet-owt", "overfeat", "vgg-e", "googlenet", "resnet-50")
# What a CPU does in half an hour: few images, and no gradient of large filters, which PyTorch takes minutes for.
CPU = (
    ("conv", "--compare", "--seconds", "0.2", "--layers", *SETS),
    ("conv", "--compare", "--seconds", "0.2", "--layers", "large", "--direction", "fwd", "dgrad"),
    ("net", "--compare", "lenet", "--batch", "64"),
    ("net", "--compare", "cifar-resnet-20", "--batch", "128", "--seconds", "10"),
    ("net", "--compare", "vgg-a", "--batch", "8", "--seconds", "20"),
    ("net", "--compare", "alexnet-owt", "overfeat", "googlenet", "resnet-50", "--batch", "8", "--seconds", "10"),
    ("gemm", "--compare"),
    ("copy",),
    ("accuracy",),
    ("stacks", "--compare"),
    ("im2col-memory",),
    ("convnet-benchmarks", "--quick"),
    ("cnn-benchmarks", "--quick"),
    ("lavin-gray", "--quick"),
)
# By the arithmetic a GPU does this in eight minutes; data, float64 oracle and copies take the CPU longer.
CUDA = (
    ("conv", "--compare", "--seconds", "0.05", *DTYPES, "--layers", "vgg-e", "resnet-50", "--batch", "64"),
    ("conv", "--compare", "--seconds", "0.05", "--layers", "alexnet-owt", "overfeat", "googlenet", "--batch", "128"),
    ("net", "--compare", "--batch", "64", *DTYPES, *LAYOUTS),
    ("gemm", "--compare", *DTYPES),
    ("copy",),
    ("accuracy",),
    ("stacks", "--compare", *DTYPES),
    ("im2col-memory",),
    ("convnet-benchmarks", "--compare", *DTYPES),
    ("cnn-benchmarks", "--compare", *DTYPES),
    ("lavin-gray", "--compare", "--seconds", "0.05", *DTYPES),
)
# For a GPU that is there for nine minutes; what matters most comes first, and each result is kept as it comes.
CUDA_QUICK = (
    ("conv", "--compare", "--seconds", "0.05", *DTYPES, "--layers", "friendly", "--batch", "32"),
    ("net", "--compare", "resnet-50", "vgg-a", "--batch", "32", "--seconds", "1", *DTYPES, *LAYOUTS),
    ("gemm", "--compare", "--quick", *DTYPES),
    ("copy", "--quick"),
)


def command(benchmark, device, out):
    """The command line of a row of CPU or CUDA; without ``--compare`` where there is no PyTorch."""
    name, *options = benchmark
    if "--compare" in options:
        at = options.index("--compare")
        options[at : at + 1] = ["--compare", "torch"] if importlib.util.find_spec("torch") else []
    return [sys.executable, "-m", "gpucnn", "bench", name, *options, "--device", device, "--out", str(out)]


def main():
    parser = argparse.ArgumentParser(prog="python -m bench.suite", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="for results; those of an earlier run are replaced")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--quick", action="store_true", help="on a GPU: what nine minutes allow")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these benchmarks (default: all)")
    options = parser.parse_args()
    if options.quick and options.device == "cpu":
        parser.error("--quick is for --device cuda")
    rows = CPU if options.device == "cpu" else CUDA_QUICK if options.quick else CUDA
    chosen = [row for row in rows if not options.only or row[0] in options.only]
    options.folder.mkdir(parents=True, exist_ok=True)
    outs = {row[0]: options.folder.resolve() / f"{row[0]}_{options.device}.jsonl" for row in chosen}
    for out in outs.values():
        out.unlink(missing_ok=True)
        out.with_suffix(".txt").unlink(missing_ok=True)
    failed, began = 0, time.monotonic()
    for row in chosen:
        print(f"{time.monotonic() - began:5.0f} s  {' '.join(row)}", flush=True)
        with open(outs[row[0]].with_suffix(".txt"), "a") as said:
            failed += bool(subprocess.run(command(row, options.device, outs[row[0]]), stdout=said).returncode)
    print(f"{time.monotonic() - began:5.0f} s in all, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
