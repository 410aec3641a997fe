"""``gpucnn info``: what is installed, built and found; each missing thing with its reason."""

import importlib.metadata
import os
import platform

from .. import __version__, config, native

PACKAGES = ("numpy", "ml_dtypes", "safetensors", "pillow", "cupy-cuda13x", "nvidia-ml-py")


def info():
    """Print the report; returns the exit code."""
    print(f"gpucnn {__version__}, Python {platform.python_version()}, {platform.platform()}")
    for name in PACKAGES:
        print(f"  {name} {_version(name)}")
    print(f"extension _cpu: {_cpu()}")
    print(f"extension _cuda: {_cuda()}")
    for line in _gpus():
        print(line)
    print("settings:")
    for name, setting in config.SETTINGS.items():
        variable = f"GPUCNN_{name.upper()}"
        origin = "set" if variable in os.environ else "default"
        print(f"  {variable} = {config.get(name)} ({origin})  {setting.meaning}")
    for variable, meaning in config.BUILD_SETTINGS.items():
        print(f"  {variable} = {os.environ.get(variable, 'not set')}  {meaning}")
    return 0


def _version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _cpu():
    try:
        return f"built; {native.cpu().num_threads()} threads"
    except (ImportError, OSError) as error:
        return f"not usable ({error})"


def _cuda():
    if native.cuda_problem():
        return f"not built or not loadable ({native.cuda_problem()})"
    module = native.cuda()
    return (
        f"built for {module.built_architectures()}; "
        f"CUDA runtime {module.runtime_version()}, cuBLAS {module.cublas_version()}"
    )


def _gpus():
    """One line a GPU, from the driver's management library: works where CuPy or _cuda is missing."""
    try:
        import pynvml
    except ImportError:
        return ["GPUs: not known (nvidia-ml-py is not installed; pip install nvidia-ml-py)"]
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return [f"GPUs: none (NVML: {error})"]
    try:
        driver = _text(pynvml.nvmlSystemGetDriverVersion())
        lines = [f"driver: {driver}"]
        for number in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(number)
            major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
            memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
            lines.append(
                f"GPU {number}: {_text(pynvml.nvmlDeviceGetName(handle))}, "
                f"{memory.total / 2**30:.1f} GiB ({memory.free / 2**30:.1f} free), "
                f"compute capability {major}.{minor}"
            )
        return lines
    except pynvml.NVMLError as error:
        return [f"GPUs: not readable (NVML: {error})"]
    finally:
        pynvml.nvmlShutdown()


def _text(value):
    return value.decode() if isinstance(value, bytes) else value
