"""What a reader of a result must know: the machine, and the source that was measured."""

import platform
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def output(*command):
    """What a command prints, or None where it is missing or fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def source():
    """The commit, and whether a tracked file differs from it."""
    return {
        "commit": output("git", "rev-parse", "HEAD"),
        "dirty": bool(output("git", "status", "--porcelain", "--untracked-files=no")),
    }


def cpu():
    """The CPU by name and widest vectors, and the threads that gpucnn uses on it."""
    from gpucnn import native  # here, because bench.verify runs before gpucnn is built

    names, flags = [platform.processor()], set()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text().splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")] or names
        flags = set(next((line.split() for line in lines if line.startswith("flags")), []))
    widest = next((name for name in ("avx512f", "avx2") if name in flags), "")
    return {"device": f"{names[0]} {widest}".strip(), "threads": native.cpu().num_threads()}


def gpu():
    """The current GPU and its driver."""
    from gpucnn.device import cuda_machine

    return {"device": cuda_machine()}
