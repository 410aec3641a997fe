"""The only import of the extensions _cpu and _cuda. Both offer the same functions on raw addresses."""

import ctypes
import importlib
import importlib.util
import os
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from . import config


def _preload(package, *patterns):
    """Load shared libraries that live in another wheel, so that an extension finds them wherever it lies itself."""
    spec = importlib.util.find_spec(package)
    for folder in spec.submodule_search_locations or () if spec else ():
        for pattern in patterns:
            for library in sorted(Path(folder).glob(pattern)):
                ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)


@contextmanager
def _short_spin():
    """Let GNU OpenMP, which reads the variable when it is loaded, put waiting threads to sleep after microseconds.

    By default they spin for milliseconds, which on a machine with other work takes the CPU from the very threads that
    are waited for.
    """
    if {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
        yield  # the user's choice
        return
    os.environ["GOMP_SPINCOUNT"] = "1000"
    try:
        yield
    finally:
        del os.environ["GOMP_SPINCOUNT"]


@cache
def cpu():
    """The CPU extension; always built."""
    with _short_spin():
        module = importlib.import_module("gpucnn._cpu")
    if config.get("num_threads"):
        module.set_num_threads(config.get("num_threads"))
    return module


@cache
def _load_cuda():
    """(module, None), or (None, why there is none)."""
    try:
        _preload("nvidia", "cu13/lib/libcublasLt.so.*", "cu13/lib/libcublas.so.*", "cu13/lib/libcufft.so.*")
        return importlib.import_module("gpucnn._cuda"), None
    except (ImportError, OSError) as error:
        try:
            from ._build_info import cuda_missing
        except ImportError:  # a checkout that was never built
            cuda_missing = ""
        return None, cuda_missing or str(error)


def cuda():
    """The CUDA extension; a RuntimeError with the command that builds it where there is none.

    Loading it needs neither a GPU nor a driver.
    """
    module, problem = _load_cuda()
    if module is None:
        raise RuntimeError(
            f"cuda: needs the extension gpucnn._cuda, but it did not load ({problem}); "
            "build it with: GPUCNN_CUDA=on pip install --force-reinstall --no-deps gpucnn (or . in a checkout)"
        )
    return module


def cuda_problem():
    """Why there is no CUDA extension, or None."""
    return _load_cuda()[1]
