"""Devices: names, what happens without a GPU, native calls on addresses; and with a GPU, the way there and back."""

import sys

import numpy as np
import pytest

import gpucnn as g
from gpucnn import device, native


@pytest.mark.parametrize(("name", "parsed"), [("cpu", ("cpu", 0)), ("cuda", ("cuda", 0)), ("cuda:12", ("cuda", 12))])
def test_parse(name, parsed):
    assert device.parse(name) == parsed


@pytest.mark.parametrize("name", ["", "CPU", "cpu:0", "cuda:", "cuda:-1", "cuda:1 ", "gpu", None, 0])
def test_parse_refuses(name):
    with pytest.raises(ValueError, match=r'^device: takes "cpu", "cuda" or "cuda:1", but came'):
        device.parse(name)


def test_the_cpu_is_where_tensors_are():
    x = g.zeros(2, device="cpu")
    assert x.device == "cpu" and x.to("cpu") is x
    assert not hasattr(x, "__cuda_array_interface__")


def ways_to_cuda():
    return [
        lambda: g.zeros(2).to("cuda"),
        lambda: g.zeros(2).to("cuda:1"),
        lambda: g.tensor([1.0], device="cuda"),
        lambda: g.randn(2, device="cuda:0"),
        lambda: g.arange(3, device="cuda"),
    ]


@pytest.mark.skipif(native.cuda_problem() is None, reason="the extension _cuda is built")
@pytest.mark.parametrize("way", ways_to_cuda())
def test_without_the_extension_the_error_tells_how_to_build_it(way):
    with pytest.raises(
        RuntimeError, match=r"^cuda: needs the extension gpucnn\._cuda, but .*GPUCNN_CUDA=on pip install"
    ):
        way()


@pytest.mark.parametrize("way", ways_to_cuda())
def test_without_cupy_the_error_tells_how_to_get_it(way, monkeypatch):
    monkeypatch.setattr(native, "cuda", lambda: None)
    monkeypatch.setitem(sys.modules, "cupy", None)  # import cupy: ImportError
    with pytest.raises(RuntimeError, match=r"^cuda: needs CuPy, but .*pip install cupy-cuda13x"):
        way()


class NoDriver:
    """CuPy on a machine without a driver."""

    ndarray = type("ndarray", (), {})

    def __init__(self, count):
        self.cuda = self.runtime = self
        self.count = count

    def getDeviceCount(self):
        if self.count is None:
            raise OSError("CUDA driver version is insufficient")
        return self.count


@pytest.mark.parametrize(("count", "text"), [(None, "driver"), (0, "driver shows none")])
@pytest.mark.parametrize("way", ways_to_cuda())
def test_without_a_driver_the_error_says_so(way, monkeypatch, count, text):
    monkeypatch.setattr(native, "cuda", lambda: None)
    monkeypatch.setattr(device, "_cupy", lambda: NoDriver(count))
    with pytest.raises(RuntimeError, match=rf"^cuda: needs .*, but .*{text}"):
        way()


def test_launch_refuses_strides():
    with pytest.raises(ValueError, match=r"gemm: arrays are C-contiguous, but came strides \(4, 8\) \(\(2, 3\)\)"):
        device.launch("gemm", np.zeros((3, 2), np.float32).T)
    with pytest.raises(ValueError, match=r"sgd_step: arrays are C-contiguous"):
        device.launch("sgd_step", [np.zeros(2), np.zeros(4)[::2]])


def test_launch_passes_addresses_then_the_stream(monkeypatch):
    calls = []

    class Extension:
        address = staticmethod(native.cpu().address)

        @staticmethod
        def work(*args):
            calls.append(args)

    monkeypatch.setattr(native, "cpu", lambda: Extension)
    array, empty = np.zeros(3), np.zeros((0, 2))
    addresses = [a.__array_interface__["data"][0] for a in (array, empty)]
    device.launch("work", "float64", array, 5, empty)
    device.launch("work", [array, 0, empty], [])
    assert calls == [("float64", addresses[0], 5, addresses[1], 0), ([addresses[0], 0, addresses[1]], [], 0)]


def test_native_errors_are_python_errors():
    """What Python does not check, C++ does, where it would corrupt memory."""
    with pytest.raises(ValueError):
        device.launch("gemm", "float32", False, False, -1, 1, 1, 1, np.zeros(1), 1, 1, np.zeros(1), 1, 1, np.zeros(1))
    with pytest.raises(ValueError, match="float8"):
        device.launch("softmax_fwd", "float8", False, 1, 1, np.zeros(1), np.zeros(1))


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int64"])
def test_to_the_gpu_and_back(dtype):
    x = g.tensor([[0.0, 1.0], [2.0, 3.0]], dtype=dtype)
    there = x.to("cuda")
    assert there.device == "cuda:0" and there.dtype == dtype and there.to("cuda:0") is there
    assert there.to("cpu").numpy().tolist() == there.numpy().tolist() == [[0, 1], [2, 3]]


@pytest.mark.cuda
def test_gradients_come_back_to_the_device_of_their_leaf():
    x = g.tensor([1.0, 2.0], requires_grad=True)
    (x.to("cuda") * 2).sum().to("cpu").backward()
    assert x.grad.device == "cpu" and x.grad.numpy().tolist() == [2, 2]


@pytest.mark.cuda
def test_mixed_devices_are_named():
    with pytest.raises(TypeError, match="add: all tensors are on one device, but came cpu and cuda:0"):
        g.ones(2) + g.ones(2, device="cuda")
    with pytest.raises(TypeError, match=r"numpy: needs a tensor on the CPU.*\.numpy\(\)"):
        np.asarray(g.ones(2, device="cuda"))


def test_memory_in_use():
    ballast = np.ones(1 << 24)  # 128 MiB
    assert ballast.nbytes < device.memory_in_use("cpu") < 2**40
