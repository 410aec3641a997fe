"""Every GPUCNN_* variable, in one table; ``using(...)`` overrides settings for a block of code."""

import os
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import NamedTuple


class Setting(NamedTuple):
    """One setting: its value when the variable is not set, how text becomes a value, what it means."""

    default: object
    parse: object
    meaning: str


def _switch(text):
    if text not in ("0", "1"):
        raise ValueError("takes 0 or 1")
    return text == "1"


def _at_least(least):
    def parse(text):
        if int(text) < least:
            raise ValueError(f"takes a whole number from {least} on")
        return int(text)

    return parse


def _positive(text):
    if not float(text) > 0:
        raise ValueError("takes a positive number")
    return float(text)


SETTINGS = {
    "cache": Setting(
        os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "gpucnn"),
        str,
        "folder for the times of convolution algorithms; empty: keep none",
    ),
    "debug": Setting(
        0, _at_least(0), "1: algorithm choices; 2: and time and bytes of each operation; 3: and check finite"
    ),
    "deterministic": Setting(False, _switch, "1: no convolution algorithm that may give other bits in another run"),
    "find": Setting(False, _switch, "1: convolutions time the algorithms for each new shape, and take the fastest"),
    "max_error": Setting(
        float("inf"), _positive, "largest error factor of a convolution algorithm, see gpucnn.conv.plan"
    ),
    "num_threads": Setting(None, _at_least(1), "CPU threads of the native kernels (default: the CPUs it may use)"),
    "tf32": Setting(False, _switch, "1: float32 products on CUDA may use TF32 tensor cores (11-bit mantissa)"),
    "workspace": Setting(2**28, _at_least(0), "bytes that a convolution may use beside its operands"),
}
BUILD_SETTINGS = {  # read by setup.py only
    "GPUCNN_CUDA": "auto, on or off: build the CUDA extension",
    "GPUCNN_CUDA_ARCH": "architectures of the CUDA extension, such as 80;90a, or native",
}

_overrides = ContextVar("gpucnn_settings", default=None)


@cache
def _from_environment(name):
    setting = SETTINGS[name]
    variable = f"GPUCNN_{name.upper()}"
    text = os.environ.get(variable)
    if text is None:
        return setting.default
    try:
        return setting.parse(text)
    except ValueError as error:
        raise ValueError(f"{variable}: {setting.meaning}, but came {text!r} ({error})") from None


def get(name):
    """The value of a setting now: the innermost ``using``, else the environment at first use, else the default."""
    overrides = _overrides.get() or {}
    return overrides[name] if name in overrides else _from_environment(name)


OF_THE_PROCESS = {"cache", "num_threads"}  # read once


def _may_be(name, value):
    try:
        return SETTINGS[name].parse(str(int(value) if isinstance(value, bool) else value)) == value
    except ValueError:
        return False


@contextmanager
def using(**settings):
    """Override settings inside a ``with`` block, for this thread only.

    >>> with using(workspace=1 << 20):
    ...     get("workspace")
    1048576
    """
    known = SETTINGS.keys() - OF_THE_PROCESS
    if unknown := settings.keys() - known:
        raise ValueError(f"using: takes {', '.join(sorted(known))}, but came {', '.join(unknown)}")
    for name, value in settings.items():
        if not _may_be(name, value):
            raise ValueError(f"using: {name} is set as by its variable ({SETTINGS[name].meaning}), but came {value!r}")
    token = _overrides.set({**(_overrides.get() or {}), **settings})
    try:
        yield
    finally:
        _overrides.reset(token)
