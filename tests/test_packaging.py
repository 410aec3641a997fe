"""What an installation holds, and how setup.py finds CUDA, on made-up trees."""

import importlib.metadata
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import gpucnn
from gpucnn import native

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def build():
    """The names of setup.py, which builds nothing when it is not the main script."""
    pytest.importorskip("setuptools")
    return runpy.run_path(str(ROOT / "setup.py"))


def python(code):
    """What a fresh interpreter prints, away from the checkout."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=os.sep, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_import_is_light():
    heavy = "cupy matplotlib PIL tensorboardX tqdm safetensors argparse asyncio multiprocessing subprocess".split()
    heavy += ["gpucnn._cuda", "gpucnn.bench", "gpucnn.cli"]
    assert python(f"import sys, gpucnn; print([name for name in {heavy} if name in sys.modules])") == "[]"


def test_version_has_one_source():
    assert gpucnn.__version__ == importlib.metadata.version("gpucnn")
    assert gpucnn.__version__ not in (ROOT / "pyproject.toml").read_text()


def test_build_info():
    from gpucnn import _build_info as info

    assert info.version == gpucnn.__version__
    assert re.fullmatch(r"\w+ \d+\.\d+.*", info.cxx_compiler)
    built = bool(list(Path(gpucnn.__file__).parent.glob("_cuda*.so")))
    assert built == (not info.cuda_missing) == bool(info.cuda_version) == bool(info.cuda_architectures)


def test_cuda_extension_loads_without_gpu():
    if not list(Path(gpucnn.__file__).parent.glob("_cuda*.so")):
        pytest.skip("_cuda is not built")
    assert native.cuda_problem() is None
    loaded = python("from gpucnn import native; native.cuda(); print(open('/proc/self/maps').read())")
    assert "_cuda" in loaded
    assert "libcuda.so" not in loaded  # the driver's library is asked for at the first call of CUDA


def tree(folder, *names, nvcc=None):
    """A made-up toolkit; nvcc is a script that gives the release."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")
    if nvcc:
        (folder / "bin").mkdir(parents=True, exist_ok=True)
        (folder / "bin/nvcc").write_text(f"#!/bin/sh\necho 'Cuda compilation tools, release {nvcc}, V{nvcc}.1'\n")
        (folder / "bin/nvcc").chmod(0o755)
    return folder


COMPILER = (
    "nvvm/bin/cicc",
    "include/crt/host_config.h",
    "include/cuda_runtime.h",
    "include/nv/target",
    "lib/libcudart_static.a",
)
CUBLAS = ("include/cublas_v2.h", "lib/libcublas.so.13", "include/cublasLt.h", "lib/libcublasLt.so.13")
CUFFT = ("include/cufft.h", "lib/libcufft.so.12")


def test_wheels_only(build, tmp_path):
    home = tree(tmp_path / "nvidia/cu13", *COMPILER, *CUBLAS, *CUFFT, nvcc="13.5")
    cuda = build["find_cuda"]([home])
    assert cuda.nvcc == home / "bin/nvcc"
    assert cuda.include_dirs == [home / "include"]
    assert cuda.libraries == [home / f"lib/lib{name}" for name in ("cublas.so.13", "cublasLt.so.13", "cufft.so.12")]
    assert cuda.rpath == ["$ORIGIN/../nvidia/cu13/lib"]


def test_compiler_of_the_system_and_libraries_of_wheels(build, tmp_path):
    system = tree(tmp_path / "cuda-13.0", *COMPILER, nvcc="13.0")
    wheels = tree(tmp_path / "nvidia/cu13", *CUBLAS, *CUFFT, "include/cuda_runtime.h")
    cuda = build["find_cuda"]([wheels, system])
    assert cuda.nvcc == system / "bin/nvcc"
    assert cuda.include_dirs == [system / "include", wheels / "include"]  # the compiler's own headers win
    assert cuda.rpath == ["$ORIGIN/../nvidia/cu13/lib"]


def test_toolkit_with_targets_folder(build, tmp_path):
    place = "targets/x86_64-linux/"
    names = [name if name.startswith("nvvm") else place + name for name in (*COMPILER, *CUBLAS, *CUFFT)]
    home = tree(tmp_path / "toolkit", *names, nvcc="13.2")
    cuda = build["find_cuda"]([home])
    assert cuda.include_dirs == [home / place / "include"]
    assert cuda.rpath == ["$ORIGIN/../nvidia/cu13/lib", str(home / place / "lib")]


@pytest.mark.parametrize(
    ("absent", "wheel"),
    [
        ("nvvm/bin/cicc", "nvidia-nvvm"),
        ("include/crt/host_config.h", "nvidia-cuda-crt"),
        ("include/cuda_runtime.h", "nvidia-cuda-runtime"),
        ("include/nv/target", "nvidia-cuda-cccl"),
        ("lib/libcudart_static.a", "nvidia-cuda-runtime"),
        ("include/cublas_v2.h", "nvidia-cublas"),
        ("lib/libcublas.so.13", "nvidia-cublas"),
        ("include/cublasLt.h", "nvidia-cublas"),
        ("lib/libcublasLt.so.13", "nvidia-cublas"),
        ("include/cufft.h", "nvidia-cufft"),
        ("lib/libcufft.so.12", "nvidia-cufft"),
    ],
)
def test_missing_part_is_named_with_its_wheel(build, tmp_path, absent, wheel):
    names = [name for name in (*COMPILER, *CUBLAS, *CUFFT) if name != absent]
    with pytest.raises(build["CudaMissing"], match=f"needs .*{re.escape(absent)}.*pip install {wheel}$"):
        build["find_cuda"]([tree(tmp_path / "cuda", *names, nvcc="13.0")])


def test_no_compiler(build, tmp_path):
    with pytest.raises(
        build["CudaMissing"], match=r"needs the compiler nvcc .* found none: pip install nvidia-cuda-nvcc"
    ):
        build["find_cuda"]([tmp_path, tmp_path / "absent"])


def test_compiler_of_another_cuda_is_passed_over(build, tmp_path):
    old = tree(tmp_path / "old", *COMPILER, *CUBLAS, *CUFFT, nvcc="12.4")
    with pytest.raises(build["CudaMissing"], match=r"that in .*old is of CUDA 12\.4"):
        build["find_cuda"]([old])
    new = tree(tmp_path / "new", *COMPILER, *CUBLAS, *CUFFT, nvcc="13.0")
    assert build["find_cuda"]([old, new]).nvcc == new / "bin/nvcc"


def test_order_of_folders(build, tmp_path):
    packages = tmp_path / "venv/lib/python3.11/site-packages"
    packages.mkdir(parents=True)
    environment = {"CUDA_HOME": "/made/up", "VIRTUAL_ENV": str(tmp_path / "venv"), "PATH": ""}
    folders = list(build["cuda_folders"](environment))
    assert folders[0] == Path("/made/up")
    assert packages / "nvidia/cu13" in folders
    assert folders[-1].parent == Path("/usr/local")


def test_script_in_place_of_nvcc(build, tmp_path):
    script = tmp_path / "nvcc"
    script.write_text("#!/bin/sh\necho '#$ TOP=/opt/toolkit/bin/..' >&2\n")
    script.chmod(0o755)
    assert build["toolkit_of"](script) == Path("/opt/toolkit/bin/..")


def test_switch(build, monkeypatch, tmp_path):
    choose = build["choose_cuda"]
    assert choose({"GPUCNN_CUDA": "off"}) == (None, "GPUCNN_CUDA was off")
    with pytest.raises(SystemExit, match="takes auto, on or off, but came 'yes'"):
        choose({"GPUCNN_CUDA": "yes"})
    monkeypatch.setitem(choose.__globals__, "cuda_folders", lambda environment: [tmp_path])
    cuda, reason = choose({})
    assert cuda is None
    assert "pip install nvidia-cuda-nvcc" in reason
    with pytest.raises(SystemExit, match="GPUCNN_CUDA=on: needs the compiler"):
        choose({"GPUCNN_CUDA": "on"})


def test_architectures(build):
    assert build["architectures"]("80;90a") == "80-real;90a"
    assert build["architectures"]("80,120") == "80-real;120"


def test_architectures_of_this_machine(build, monkeypatch, tmp_path):
    """With the a that wgmma needs, which CMake's own "native" leaves out."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match=r"^GPUCNN_CUDA_ARCH=native: needs a GPU that nvidia-smi shows, but "):
        build["architectures"]("native")
    script = tmp_path / "nvidia-smi"
    script.write_text("#!/bin/sh\necho 12.0; echo 9.0; echo 8.9; echo 9.0\n")
    script.chmod(0o755)
    assert build["architectures"]("native") == "89-real;90a-real;120"
