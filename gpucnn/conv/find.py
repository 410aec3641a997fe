"""Times of algorithms: measured once, remembered in memory and in one file per device and version of gpucnn."""

import hashlib
import itertools
import json
import os
import threading
import time
import warnings
from functools import cache
from pathlib import Path

from .. import config, native
from ..device import cuda_machine, synchronize

DIRECT_UP_TO = 1e8  # flops: beyond, the definition itself is no contender beside another row, and takes seconds to time
_lock, _states = threading.RLock(), itertools.count()


def machine(kind):
    """What times and sizes depend on beside the shape: CPU model, instruction set and threads; or GPU and driver."""
    if kind == "cpu":
        return f"{_cpu_model()} {native.cpu().isa()} {native.cpu().num_threads()} threads"
    return cuda_machine()


@cache
def _cpu_model():
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return "unknown CPU"


def known(kind, direction, shape, dtype):
    """{name: seconds} of whatever was measured, with any workspace."""
    times = _times(machine(kind)).get(_key(direction, shape, dtype), {})
    return {name: seconds for name, (seconds, _) in times.items() if seconds != float("inf")}


def remembered(kind, direction, shape, dtype, candidates):
    """{name: seconds} if every contender among the candidates was measured with the workspace it has now, else {}."""
    known = _times(machine(kind)).get(_key(direction, shape, dtype), {})
    times = {c.name: known[c.name][0] for c in _contenders(shape, candidates) if _valid(known, c)}
    return times if len(times) == len(_contenders(shape, candidates)) else {}


def measure(kind, direction, shape, dtype, candidates, seconds_of):
    """{name: seconds} of every contender; those not known yet are timed by seconds_of(candidate).

    A row that fails while it is timed is left out, with a warning, until the end of the process.
    """
    with _lock:
        times = _times(machine(kind))
        known = times.setdefault(_key(direction, shape, dtype), {})
        missing = [c for c in _contenders(shape, candidates) if not _valid(known, c)]
        for candidate in missing:
            try:
                seconds = seconds_of(candidate)
            except Exception as error:  # whatever a library or driver raises: the other rows still work
                warnings.warn(f"conv {direction}: {candidate.name} failed while it was timed ({error})", stacklevel=2)
                seconds = float("inf")
            known[candidate.name] = (seconds, candidate.workspace)
        if missing:
            times.state = next(_states)
            _save(machine(kind))
        found = {c.name: known[c.name][0] for c in _contenders(shape, candidates)}
        return {name: seconds for name, seconds in found.items() if seconds != float("inf")}


def state(machine):
    """A number that is another one whenever the times of a machine are: what was read off them may be kept so long."""
    return _times(machine).state


def seconds_of(call, kind):
    """The median time of a call: of 3 to 30, as many as 50 ms allow, after one that warms up."""
    times = []
    call()
    synchronize(kind)
    while len(times) < 3 or (len(times) < 30 and sum(times) < 0.05):
        start = time.perf_counter()
        call()
        synchronize(kind)
        times.append(time.perf_counter() - start)
    return sorted(times)[len(times) // 2]


def _contenders(shape, candidates):
    able = [c for c in candidates if c.name != "direct" or shape.flops <= DIRECT_UP_TO]
    return able or list(candidates)


def _valid(known, candidate):
    return candidate.name in known and known[candidate.name][1] == candidate.workspace


def _key(direction, shape, dtype):
    return f"{direction} {dtype} {' '.join(map(str, shape.ints))}"


# --- the file ---------------------------------------------------------------------------------------------------------
def path(machine):
    """Where the times of a machine are kept, or None: the setting ``cache`` is empty."""
    folder = config.get("cache")
    name = hashlib.sha256(f"{_version()} {machine}".encode()).hexdigest()[:16]
    return Path(folder).expanduser() / f"times-{name}.json" if folder else None


@cache
def _version():
    from .. import __version__  # gpucnn/__init__.py imports this module before it states the version

    return __version__


class _Times(dict):
    """{key: {name: (seconds, workspace)}} of a machine."""

    def __init__(self, content):
        super().__init__(content)
        self.state = next(_states)


@cache
def _times(machine):
    """From its file, if there is a sound one."""
    return _Times(_load(machine))


def _load(machine):
    file = path(machine)
    if file is None or not file.exists():
        return {}
    try:
        content = json.loads(file.read_text())
        if (content["machine"], content["version"]) != (machine, _version()):
            return {}
        return {key: dict(map(_entry, rows.items())) for key, rows in content["times"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        warnings.warn(f"conv: {file} is no file of times and is written anew ({error!r})", stacklevel=2)
        return {}


def _entry(item):
    name, (seconds, workspace) = item
    if not 0 < float(seconds) < float("inf"):
        raise ValueError(f"a time is positive, but came {seconds}")
    return name, (float(seconds), int(workspace))


def _save(machine):
    """Add the times to the file, keeping what other processes have written meanwhile; failing to is no error."""
    file = path(machine)
    if not file:
        return
    times = _load(machine)
    for key, rows in _times(machine).items():
        times.setdefault(key, {}).update({n: t for n, t in rows.items() if t[0] != float("inf")})
    part = file.with_suffix(f".{os.getpid()}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps({"machine": machine, "version": _version(), "times": times}))
        part.replace(file)
    except OSError as error:
        warnings.warn(f"conv: times are not kept, as {file} cannot be written ({error})", stacklevel=2)
