"""The check on a machine with a GPU: `python -m bench.verify OUT [--quick] [--only STAGE ...] [--data DIR]`.

Builds gpucnn for this GPU, runs the tests that need one, trains LeNet in every dtype, runs the kernel tests under
compute-sanitizer, and runs every benchmark (suite.py). OUT/verify.json says what was run where and how it went; each
stage leaves a log beside it. A stage that fails, or hangs, does not stop the others. Exit code: 0 all passed, 1
something failed, 2 there is no GPU.
"""

import argparse
import csv
import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
DTYPES = ("float32", "float16", "bfloat16")
LEAST_ACCURACY = {"digits": 0.97, "mnist": 0.99}
LARGEST_GAP = 0.003  # of the 16-bit dtypes to float32, in test accuracy
STAGES = ("build", "info", "cuda-tests", "train", "racecheck", "memcheck", "bench")
STAGE_LIMIT = 3600  # seconds
QUICK_LIMIT, QUICK_TOTAL = 150, 540  # the same for --quick, and of all stages
# implicit_hopper alone waits for barriers in memory, and so may hang where another kernel would only be wrong.
PARTS = {"": "not hopper", "-hopper": "hopper"}
# What --quick takes of tests/kernels: few shapes of every row and direction. racecheck: of the kernels that share
# memory, not those of libraries.
SHAPES = "(never_square or groups_3x3 or (pointwise and not empty_batch) or wide_3x3 or depthwise)"
QUICK = {
    "memcheck": ["not test_conv", f"test_tolerance_law and {SHAPES}"],
    "racecheck": [
        f"test_conv and test_tolerance_law and (implicit or depthwise or _split or _fused) and {SHAPES}",
        "test_products_of_spectra",
        "test_norm and test_stats",
        "test_softmax and test_forward",
        "test_transpose_matrices",
        "test_implicit_hopper and test_tiles",
    ],
}
GPU_FIELDS = ("name", "driver_version", "compute_cap", "memory.total", "clocks.max.sm")


def output(*command):
    """What a command prints, or None where it is missing or fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def source():
    """The commit, and whether a tracked file differs from it; by itself, because gpucnn may not be built yet."""
    return {
        "commit": output("git", "rev-parse", "HEAD"),
        "dirty": bool(output("git", "status", "--porcelain", "--untracked-files=no")),
    }


def gpus():
    """One dict a GPU, from the driver's own tool."""
    listed = output("nvidia-smi", f"--query-gpu={','.join(GPU_FIELDS)}", "--format=csv,noheader")
    return [dict(zip(GPU_FIELDS, map(str.strip, line.split(",")), strict=True)) for line in (listed or "").splitlines()]


def environment():
    """What a reader of the results must know about the machine and the source."""
    return {
        "gpus": gpus(),
        **source(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": dict(sorted((package.name, package.version) for package in importlib.metadata.distributions())),
    }


class Report:
    """verify.json, written anew after every stage, so that a run that is cut off leaves what it found."""

    def __init__(self, folder, limit=STAGE_LIMIT, total=float("inf")):
        self.folder, self.limit, self.end = folder, limit, time.monotonic() + total
        self.content = {"environment": environment(), "stages": [], "passed": False}

    def write(self):
        (self.folder / "verify.json").write_text(json.dumps(self.content, indent=1) + "\n")

    def stage(self, name, command, judge=None, variables=None, limit=None):
        """Run a command into OUT/NAME.log; judge() -> (passed, facts) where its exit code does not say all.

        variables    of the environment, on top of ours        limit    in seconds (default: the report's)
        """
        print(f"{name} ...", end=" ", flush=True)
        start = time.monotonic()
        facts = {}
        with open(self.folder / f"{name}.log", "w") as log:
            try:
                # In OUT: in the checkout's root, the folder gpucnn/ would hide the installed package.
                process = subprocess.Popen(
                    command,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=self.folder,
                    env={**os.environ, **(variables or {})},
                    start_new_session=True,
                )
                try:
                    passed = not process.wait(max(1, min(limit or self.limit, self.end - start)))
                finally:  # a process that is left over would keep the GPU from the next stage
                    with suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                    process.wait(30)
                if judge:
                    fits, facts = judge()
                    passed = passed and fits
            except (OSError, subprocess.TimeoutExpired, LookupError, ValueError, ElementTree.ParseError) as error:
                passed, facts = False, {"problem": f"{type(error).__name__}: {error}"}
        self.record(name, passed, seconds=round(time.monotonic() - start, 1), **facts)

    def record(self, name, passed, **facts):
        """passed is True, False, or None for a stage that could not be run here."""
        self.content["stages"].append({"name": name, "passed": passed, **facts})
        self.write()
        said = {True: "passed", False: f"FAILED (see {name}.log)", None: f"{name} not run"}[passed]
        print(f"{said}:", ", ".join(f"{key} {value}" for key, value in facts.items()), flush=True)

    def close(self):
        self.content["passed"] = all(stage["passed"] is not False for stage in self.content["stages"])
        self.write()
        return self.content["passed"]


def build(report):
    """Install this checkout for this machine's GPU; where the build tools are installed, without downloads."""
    isolation = []
    if all(map(importlib.util.find_spec, ("setuptools", "pybind11"))) and shutil.which("ninja"):
        isolation = ["--no-build-isolation"]
    architectures = os.environ.get("GPUCNN_CUDA_ARCH", "native")
    report.stage(
        "build",
        [sys.executable, "-m", "pip", "install", "-v", "--no-deps", "--force-reinstall", *isolation, ROOT],
        variables={
            "GPUCNN_CUDA": "on",
            "GPUCNN_CUDA_ARCH": architectures,
            "CMAKE_BUILD_PARALLEL_LEVEL": os.environ.get("CMAKE_BUILD_PARALLEL_LEVEL", str(os.cpu_count())),
        },
        limit=STAGE_LIMIT,  # without it all the rest is lost
    )


def test(report, name, tests, chosen, runner=(), options=()):
    """Run the tests that need a GPU; a stage without one executed test has shown nothing."""
    result = report.folder / f"{name}.xml"
    result.unlink(missing_ok=True)

    def judge():
        suite = ElementTree.parse(result).getroot().find("testsuite")
        counts = {key: int(suite.attrib[key]) for key in ("tests", "failures", "errors", "skipped")}
        return counts["tests"] > counts["skipped"], counts

    pytest = [sys.executable, "-m", "pytest", "-c", ROOT / "pyproject.toml", "-m", "cuda", f"--junitxml={result}"]
    report.stage(name, [*runner, *pytest, "--tb=short", "-v", "-k", chosen, *options, ROOT / tests], judge)


def side_by_side():
    """Options for plugins of pytest, where they are installed: several processes, of which one that hangs is ended."""
    options = []
    if importlib.util.find_spec("xdist"):
        options += ["-n", str(min(8, os.cpu_count()))]
        options += ["-p", "no:benchmark"]  # which warns of it, and a warning is an error
        if importlib.util.find_spec("pytest_timeout"):
            options += ["--timeout=60", "--timeout-method=thread"]
    return options


def sanitize(report, tool, quick):
    """The kernel tests under compute-sanitizer, where it is found on the PATH or in a toolkit."""
    homes = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda"]
    folders = [f"{home}/{part}" for home in homes if home for part in ("bin", "compute-sanitizer")]
    sanitizer = shutil.which("compute-sanitizer", path=os.pathsep.join([os.environ.get("PATH", ""), *folders]))
    if not sanitizer:
        return report.record(tool, None, reason="compute-sanitizer was not found")
    # Errors that CUDA returns are exceptions already, or are meant: what libraries ask the driver for and do without.
    runner = [sanitizer, "--tool", tool, "--error-exitcode", "99", "--report-api-errors", "no"]
    for part, chosen in PARTS.items():
        if quick:
            chosen = f"({chosen}) and (({') or ('.join(QUICK[tool])}))"
        test(report, f"{tool}{part}", "tests/kernels", chosen, runner)


def train(report, data):
    """Train LeNet in each dtype; the 16-bit ones must come close to float32."""
    least = LEAST_ACCURACY["digits" if data is None else "mnist"]
    given = [] if data is None else ["--data", data, "--epochs", "5"]
    reached = {}
    for dtype in DTYPES:
        folder = report.folder / f"train-{dtype}"
        shutil.rmtree(folder, ignore_errors=True)

        def judge(folder=folder, dtype=dtype):
            with open(folder / "metrics.csv", newline="") as file:
                last = list(csv.DictReader(file))[-1]
            accuracy = reached[dtype] = float(last["test_accuracy"])
            close = abs(accuracy - reached.get("float32", accuracy)) <= LARGEST_GAP
            return close and accuracy >= least, {"test_accuracy": accuracy, "epochs": int(last["epoch"])}

        command = [sys.executable, "-m", "gpucnn", "train", "--device", "cuda", "--dtype", dtype, "--out", folder]
        report.stage(f"train-{dtype}", command + given, judge)


def main():
    parser = argparse.ArgumentParser(prog="python -m bench.verify", description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder for verify.json and the logs")
    parser.add_argument(
        "--quick", action="store_true", help="few shapes under compute-sanitizer; few benchmarks, and --only when asked"
    )
    parser.add_argument("--only", nargs="+", choices=STAGES, metavar="STAGE", help=f"of {', '.join(STAGES)}")
    parser.add_argument("--data", type=Path, help="train 5 epochs on the MNIST files in this folder, not on the digits")
    options = parser.parse_args()
    if not gpus():
        print("bench.verify: needs an NVIDIA GPU, but nvidia-smi shows none on this machine", file=sys.stderr)
        return 2
    options.out.mkdir(parents=True, exist_ok=True)
    report = Report(options.out.resolve(), *((QUICK_LIMIT, QUICK_TOTAL) if options.quick else ()))
    suite = [sys.executable, ROOT / "bench" / "suite.py", report.folder / "bench", "--device", "cuda"]
    suite += ["--quick"] if options.quick else []
    for stage in options.only or (STAGES[:-1] if options.quick else STAGES):
        if stage == "build":
            build(report)
        elif stage == "info":
            report.stage("info", [sys.executable, "-m", "gpucnn", "info"])
        elif stage == "cuda-tests":
            for part, chosen in PARTS.items():
                test(report, f"cuda-tests{part}", "tests", chosen, options=side_by_side())
        elif stage == "train":
            train(report, options.data and options.data.resolve())
        elif stage == "bench":
            report.stage("bench", suite, limit=STAGE_LIMIT)
        else:
            sanitize(report, stage, options.quick)
    passed = report.close()
    print(f"{'all passed' if passed else 'FAILED'}: {report.folder / 'verify.json'}")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
