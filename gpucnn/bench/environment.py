"""What a reader of a result must know: the machine, how busy it was, and the source that was measured."""

import os
import platform
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np

import gpucnn
from gpucnn import native
from gpucnn.device import cuda_machine, cuda_problem, parse

CHECKOUT = Path(gpucnn.__file__).resolve().parents[1]
BUSY = 0.25  # of the CPUs, or of a GPU, by others: more disturbs a measurement


def source():
    """The version; of a checkout also the commit, and whether a tracked file differs from it."""
    found = {"version": gpucnn.__version__, "commit": None, "dirty": False}
    if (CHECKOUT / ".git").exists():
        found |= {
            "commit": _output("git", "rev-parse", "HEAD"),
            "dirty": bool(_output("git", "status", "--porcelain", "--untracked-files=no")),
        }
    return found


def _output(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, cwd=CHECKOUT).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def cpu():
    """The CPU by name and widest vectors, and the threads that gpucnn uses on it."""
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
    return {"device": cuda_machine()}


def about(device="cpu"):
    """All that describes a measurement on ``device`` ("cpu", "cuda"), for its JSON line."""
    kind, number = parse(device)
    if kind == "cuda" and cuda_problem():
        raise RuntimeError(cuda_problem())
    versions = {"python": platform.python_version(), "numpy": np.__version__}
    if kind == "cpu":
        machine = {**cpu(), "isa": native.cpu().isa(), "load": os.getloadavg()[0], "busy": _busy()}
    else:
        machine = {**gpu(), "cuda": native.cuda().runtime_version(), **gpu_state(number)}
    return {"kind": kind, **machine, **versions, **source()}


def _busy(seconds=0.2):
    """The share of the CPUs' time that others take while this process sleeps; None where the system does not tell.

    The load average cannot tell: a minute long it still counts what this process did itself.
    """
    try:
        before = _cpu_times()
        time.sleep(seconds)
        idle, total = (now - then for now, then in zip(_cpu_times(), before, strict=True))
    except (OSError, ValueError):
        return None
    return 1 - idle / total if total else None


def _cpu_times():
    """(idle, all) ticks of all CPUs since they started."""
    _, *ticks = Path("/proc/stat").read_text().splitlines()[0].split()
    user_to_steal = [int(tick) for tick in ticks[:8]]  # guests are in user and nice already
    return sum(user_to_steal[3:5]), sum(user_to_steal)


@contextmanager
def _nvml(number):
    """(pynvml, handle of a GPU), or (None, None) where the driver's management library is not to be had."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # no package, no driver, or its own error classes: figures of the GPU are an extra
        yield None, None
        return
    try:
        yield pynvml, pynvml.nvmlDeviceGetHandleByIndex(number)
    finally:
        pynvml.nvmlShutdown()


def gpu_state(number=0):
    """Power in watts, clocks in MHz and what limits them, now; {} where NVML is not to be had."""
    with _nvml(number) as (nvml, handle):
        if nvml is None:
            return {}
        reads = {
            "power_w": lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1000,
            "power_limit_w": lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000,
            "sm_mhz": lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM),
            "memory_mhz": lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM),
            "busy": lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100,
            "throttled": lambda: (
                nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)
                & (
                    nvml.nvmlClocksThrottleReasonSwPowerCap
                    | nvml.nvmlClocksThrottleReasonHwSlowdown
                    | nvml.nvmlClocksThrottleReasonSwThermalSlowdown
                )
            ),
        }
        found = {}
        for name, read in reads.items():
            try:
                found[name] = read()
            except nvml.NVMLError:  # not every GPU tells everything
                found[name] = None
        return found


def disturbance(found):
    """Why times measured in this ``about(...)`` may mean little, or None."""
    if (found.get("busy") or 0) > BUSY:
        what = "machine" if found["kind"] == "cpu" else "GPU"
        return f"the {what} is busy: others use {100 * found['busy']:.0f} % of it"
    return "the GPU is throttled (power or temperature)" if found.get("throttled") else None
