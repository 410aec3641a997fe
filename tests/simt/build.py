"""Compiles kernels/ and csrc/cuda for the host, against the stand-in headers of tests/simt/include.

``load()`` gives the module _simt, with the functions of gpucnn._cuda, ``seed(n)`` for the order of its fibers, and
``hopper(yes)`` for whether the device that it plays is of compute capability 9.0 (as it is at first).
Objects are kept under build/simt by a hash of everything that goes into them; two processes may build at once.
"""

import ctypes
import hashlib
import importlib.util
import os
import re
import shlex
import subprocess
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pybind11

ROOT = Path(__file__).parents[2]
SIMT = Path(__file__).parent
CACHE = ROOT / "build" / "simt"
SHIM = [SIMT / f"{name}.cpp" for name in ("simt", "runtime", "tma", "wgmma", "cublas", "cublaslt", "cufft")]
FLAGS = [  # CXXFLAGS of the environment come on top: CI adds -Werror
    *("-std=c++17", "-O1", "-fPIC", "-fvisibility=hidden", "-ffp-contract=off", "-Wall", "-Wextra"),
    "-Wno-unknown-pragmas",  # unroll
    "-fno-gnu-unique",  # several builds (mutants) live in one process, each with its own variables
    "-U_FORTIFY_SOURCE",  # longjmp switches stacks, which the fortified one takes for an error
    *shlex.split(os.environ.get("CXXFLAGS", "")),
]


def compiler():
    return os.environ.get("CXX", "g++")


@cache
def compiler_version():
    return subprocess.run([compiler(), "--version"], capture_output=True, text=True, check=True).stdout


def run(command):
    result = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}\n{result.stdout}{result.stderr}")


def with_includes(source, folders, seen):
    """The text of a source file and of every header of this repository that it includes, once each."""
    text = source.read_text()
    for name in re.findall(r'^#include ["<]([^">]+)[">]', text, re.M):
        found = next((f / name for f in (source.parent, *folders) if (f / name).is_file()), None)
        if found and found not in seen:
            seen.add(found)
            text += with_includes(found, folders, seen)
    return text


def write_by(path, make):
    """Call make(temporary path), then rename: another process sees the whole file or none."""
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=path.suffix)
    os.close(handle)
    try:
        make(temporary)
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)
    return path


def compile_one(source, folders, system, defines):
    flags = [*FLAGS, *defines]
    key = [compiler_version(), *flags, *map(str, system), with_includes(source, folders, set())]
    digest = hashlib.sha256("\0".join(key).encode()).hexdigest()[:20]
    includes = [*(f"-I{f}" for f in folders), *(word for f in system for word in ("-isystem", f))]
    return write_by(
        CACHE / f"{source.stem}-{digest}.o",
        lambda out: run([compiler(), *flags, *includes, "-x", "c++", "-c", source, "-o", out]),
    )


def link(name, sources, folders, system=(), defines=()):
    """The shared library made of the sources, compiled two at a time."""
    with ThreadPoolExecutor(2) as pool:
        objects = list(pool.map(lambda s: compile_one(s, folders, system, defines), sources))
    digest = hashlib.sha256("\0".join(o.name for o in objects).encode()).hexdigest()[:20]
    return write_by(CACHE / f"{name}-{digest}.so", lambda out: run([compiler(), "-shared", *objects, "-o", out]))


def build(root=ROOT):
    """The path of the extension _simt, from the kernels and csrc of this tree (a mutant has its own)."""
    kernels, csrc = root / "kernels", root / "csrc"
    sources = [csrc / "bind_cuda.cpp", *SHIM, csrc / "handles.cpp"]
    sources += [*sorted(csrc.glob("cuda/*.cpp")), *sorted(kernels.glob("*.cu"))]
    system = (pybind11.get_include(), sysconfig.get_path("include"))
    return link("_simt", sources, (SIMT / "include", kernels, csrc), system, ("-DMODULE_NAME=_simt",))


@cache
def load(path=None):
    """The module at path, by default the one that build() makes."""
    path = path or build()
    # pybind11 keeps one module a name: a package of its own tells a mutant from the rest.
    spec = importlib.util.spec_from_file_location(f"{path.stem}._simt", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    library = ctypes.CDLL(str(path))
    library.simt_seed.argtypes, library.simt_hopper.argtypes = [ctypes.c_uint64], [ctypes.c_bool]
    module.seed, module.hopper = library.simt_seed, library.simt_hopper
    return module


@cache
def selftest():
    """The library of selftest*.cu: each of its functions run_* returns the message of an error, or None."""
    sources = sorted(SIMT.glob("selftest*.cu"))
    path = link("selftest", [*sources, *SHIM], (SIMT / "include", ROOT / "kernels"))
    library = ctypes.CDLL(str(path))
    for source in sources:
        for name in re.findall(r"^EXPORT const char\* (\w+)", source.read_text(), re.M):
            getattr(library, name).restype = ctypes.c_char_p
    library.simt_seed(ctypes.c_uint64(0))
    return library


if __name__ == "__main__":
    print(build())
