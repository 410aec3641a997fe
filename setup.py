"""Builds the extensions: finds CUDA, then hands over to CMakeLists.txt. The rest of the packaging is in pyproject.toml.

GPUCNN_CUDA       auto (default): build _cuda where all its parts are found; on: a missing part is an error; off
GPUCNN_CUDA_ARCH  GPU architectures, such as "80;90a", or "native" for this machine's (default: ARCHITECTURES)
CMAKE_ARGS        further arguments of CMake
"""

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import NamedTuple

from setuptools import Extension, setup
from setuptools.command.build import build
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
CUDA_MAJOR = 13
ARCHITECTURES = "80;86;89;90a;100;120"  # machine code for each, and PTX of the last for what comes later
WHEELS = "nvidia-cuda-nvcc nvidia-cuda-cccl nvidia-cublas nvidia-cufft"

# What nvcc takes from its own toolkit and nowhere else: (the wheel that brings it, files).
COMPILER_PARTS = [
    ("nvidia-nvvm", ["nvvm/bin/cicc"]),
    ("nvidia-cuda-crt", ["include/crt/host_config.h"]),
    ("nvidia-cuda-runtime", ["include/cuda_runtime.h", "lib/libcudart_static.a"]),
    ("nvidia-cuda-cccl", ["include/nv/target"]),
]
LIBRARIES = [
    ("nvidia-cublas", ["include/cublas_v2.h", "lib/libcublas.so.13"]),
    ("nvidia-cublas", ["include/cublasLt.h", "lib/libcublasLt.so.13"]),
    ("nvidia-cufft", ["include/cufft.h", "lib/libcufft.so.12"]),
]
# Where a toolkit keeps what the lists above call include and lib; conda has targets/.
LAYOUTS = {
    "include": ["include", "include/cccl", "targets/*/include", "targets/*/include/cccl"],
    "lib": ["lib", "lib64", "targets/*/lib"],
    "nvvm": ["nvvm"],
}


class CudaMissing(Exception):
    """A part of CUDA is not there; the text names it and how to get it."""


class Cuda(NamedTuple):
    """What the build of _cuda needs, from one or several toolkits."""

    nvcc: Path
    include_dirs: list[Path]  # of host code; the compiler's own first, so that versions do not mix
    libraries: list[Path]
    rpath: list[str]


def cuda_folders(environment):
    """Yield the folders that may hold a toolkit or a part of one, the most deliberate choice first."""
    for variable in ("CUDA_HOME", "CUDA_PATH"):
        if environment.get(variable):
            yield Path(environment[variable])
    # pip's build isolation hides the installed packages from sys.path, but sysconfig still names their folder.
    # `python -m build` and uv work in an environment of their own: there the activated one is the user's.
    packages = [sysconfig.get_path("platlib"), sysconfig.get_path("purelib"), *sys.path]
    if environment.get("VIRTUAL_ENV"):
        packages += Path(environment["VIRTUAL_ENV"]).glob("lib/python3*/site-packages")
    for folder in packages:
        yield Path(folder, "nvidia", f"cu{CUDA_MAJOR}")
    nvcc = shutil.which("nvcc", path=environment.get("PATH", ""))
    if nvcc:
        yield toolkit_of(nvcc)
    yield from (Path("/usr/local/cuda"), Path(f"/usr/local/cuda-{CUDA_MAJOR}"))


def toolkit_of(nvcc):
    """The folder of the toolkit that this nvcc uses, which may itself be a link or a script elsewhere."""
    dry_run = subprocess.run([nvcc, "--dryrun", "-x", "cu", os.devnull], capture_output=True, text=True)
    for line in dry_run.stderr.splitlines():
        if line.startswith("#$ TOP="):
            return Path(line.removeprefix("#$ TOP="))
    return Path(nvcc).resolve().parent.parent


def version_of(nvcc):
    """The release of an nvcc, such as "13.0"; None where it does not run."""
    try:
        text = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return text.partition("release ")[2].partition(",")[0]


def look(folder, name):
    """The file `name` of COMPILER_PARTS or LIBRARIES in a toolkit's folder, or None."""
    kind, _, rest = name.partition("/")
    return next((file for layout in LAYOUTS[kind] for file in folder.glob(f"{layout}/{rest}")), None)


def find_compiler(folders):
    """(nvcc, its folder) from the first folder that has one of CUDA_MAJOR; CudaMissing where none has."""
    refused = ""
    for folder in folders:
        nvcc = folder / "bin" / "nvcc"
        version = version_of(nvcc) if nvcc.is_file() else None
        if version and version.split(".")[0] == str(CUDA_MAJOR):
            return nvcc, folder
        if version:
            refused = f" (that in {folder} is of CUDA {version})"
    raise CudaMissing(f"needs the compiler nvcc of CUDA {CUDA_MAJOR}, but found none{refused}: pip install {WHEELS}")


def find_cuda(folders):
    """Cuda from these folders; CudaMissing where a part is in none of them."""
    folders = list(dict.fromkeys(folder.resolve() for folder in folders if folder.is_dir()))
    nvcc, home = find_compiler(folders)
    for wheel, names in COMPILER_PARTS:
        for name in names:
            if look(home, name) is None:
                raise CudaMissing(f"needs {name} beside the compiler, but {home} has none: pip install {wheel}")
    headers = [look(home, "include/cuda_runtime.h"), look(home, "include/nv/target").parent]
    include_dirs = [file.parent for file in headers]
    libraries = []
    for wheel, (header, library) in LIBRARIES:
        owner = next((folder for folder in folders if look(folder, header) and look(folder, library)), None)
        if owner is None:
            raise CudaMissing(f"needs {header} and {library}, but no toolkit found has both: pip install {wheel}")
        include_dirs.append(look(owner, header).parent)
        libraries.append(look(owner, library))
    # NVIDIA's wheels lie beside gpucnn in site-packages; a toolkit of the system stays where it is.
    rpath = [f"$ORIGIN/../nvidia/cu{CUDA_MAJOR}/lib"]
    rpath += [str(file.parent) for file in libraries if file.parts[-4] != "nvidia"]
    return Cuda(nvcc, list(dict.fromkeys(include_dirs)), libraries, list(dict.fromkeys(rpath)))


def choose_cuda(environment):
    """(Cuda or None, why None) as GPUCNN_CUDA says."""
    choice = environment.get("GPUCNN_CUDA") or "auto"
    if choice not in ("auto", "on", "off"):
        raise SystemExit(f"GPUCNN_CUDA: takes auto, on or off, but came {choice!r}")
    if choice == "off":
        return None, "GPUCNN_CUDA was off"
    try:
        return find_cuda(cuda_folders(environment)), ""
    except CudaMissing as missing:
        if choice == "on":
            raise SystemExit(f"GPUCNN_CUDA=on: {missing}") from None
        return None, str(missing)


class Build(build):
    """Starts from an empty folder: setuptools would pack whatever an earlier build left there."""

    def run(self):
        shutil.rmtree(self.build_lib, ignore_errors=True)
        super().run()


class BuildExtensions(build_ext):
    """Runs CMake, which writes the extensions and _build_info.py into the package (editable: into the checkout)."""

    def run(self):
        cuda, reason = choose_cuda(os.environ)
        if reason:
            print(f"gpucnn: _cuda is not built: {reason}", file=sys.stderr)
        package = (ROOT if self.inplace else Path(self.build_lib).resolve()) / "gpucnn"
        for old in package.glob(f"_c*{sysconfig.get_config_var('EXT_SUFFIX')}"):
            old.unlink()
        self.run_cmake(self.definitions(package, cuda, reason), "GPUCNN_CUDA=off builds without CUDA" if cuda else "")

    def run_cmake(self, definitions, way_out):
        """Configure and build in build/<Python's version>; a second run with equal arguments builds what changed."""
        cmake, ninja = shutil.which("cmake"), shutil.which("ninja")
        if not cmake or not ninja:
            raise SystemExit("gpucnn: needs cmake and ninja, but they are not on the PATH: pip install cmake ninja")
        folder = ROOT / "build" / sys.implementation.cache_tag
        configure = [cmake, f"-S{ROOT}", f"-B{folder}", "-GNinja", f"-DCMAKE_MAKE_PROGRAM={ninja}"]
        configure += [f"-D{name}={value}" for name, value in definitions.items()]
        configure += shlex.split(os.environ.get("CMAKE_ARGS", ""))
        # Other arguments (with build isolation: other temporary folders) make what CMake remembers stale.
        arguments = folder / "arguments.txt"
        known = arguments.exists() and arguments.read_text() == "\n".join(configure)
        jobs = os.environ.get("CMAKE_BUILD_PARALLEL_LEVEL", "2")
        try:
            subprocess.run(configure + ([] if known else ["--fresh"]), check=True)
            arguments.write_text("\n".join(configure))
            subprocess.run([cmake, "--build", folder, "--parallel", jobs], check=True)
        except subprocess.CalledProcessError:
            raise SystemExit(f"gpucnn: cmake failed, see above {way_out and f'({way_out})'}") from None

    def definitions(self, package, cuda, reason):
        import pybind11

        values = {
            "CMAKE_BUILD_TYPE": "Release",
            "CMAKE_LIBRARY_OUTPUT_DIRECTORY": package,
            "Python_EXECUTABLE": sys.executable,
            "pybind11_DIR": pybind11.get_cmake_dir(),
            "GPUCNN_VERSION": self.distribution.get_version(),
            "GPUCNN_CUDA_MISSING": reason,
        }
        if cuda:
            values |= {
                "CMAKE_CUDA_COMPILER": cuda.nvcc,
                "CMAKE_CUDA_ARCHITECTURES": architectures(os.environ.get("GPUCNN_CUDA_ARCH") or ARCHITECTURES),
                "CUDA_INCLUDE_DIRS": ";".join(map(str, cuda.include_dirs)),
                "CUDA_LIBRARIES": ";".join(map(str, cuda.libraries)),
                "CUDA_RPATH": ";".join(cuda.rpath),
            }
        return values


def native_architectures():
    """The architectures of this machine's GPUs; CMake's own "native" leaves out the a of 90a, and with it wgmma."""
    query = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
    try:
        text = subprocess.run(query, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise SystemExit(f"GPUCNN_CUDA_ARCH=native: needs a GPU that nvidia-smi shows, but {error}") from None
    names = sorted({line.strip().replace(".", "") for line in text.splitlines()}, key=int)
    return ";".join("90a" if name == "90" else name for name in names)


def architectures(text):
    """CMake's form of "80;90a": machine code (-real) for each, and for the last PTX too."""
    names = (native_architectures() if text == "native" else text).replace(",", ";").split(";")
    return ";".join([f"{name}-real" for name in names[:-1]] + names[-1:])


if __name__ == "__main__":
    setup(
        ext_modules=[Extension("gpucnn._cpu", []), Extension("gpucnn._cuda", [], optional=True)],
        cmdclass={"build": Build, "build_ext": BuildExtensions},
    )
