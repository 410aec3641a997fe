"""DLPack both ways, with NumPy and PyTorch, on the same memory."""

import numpy as np
import pytest

import gpucnn as g

DTYPES = ["float32", "float16", "float64", "int64", "int32", "uint8", "bool"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_numpy_both_ways_without_a_copy(dtype):
    x = g.tensor([[0, 1], [1, 0]], dtype=dtype)
    array = np.from_dlpack(x)
    assert array.dtype == dtype and np.shares_memory(array, x.data)
    back = g.from_dlpack(array)
    assert type(back) is g.Tensor and back.dtype == dtype and np.shares_memory(back.data, x.data)
    x[0, 0] = 1
    assert back[0, 0].item() == 1


def test_strides_travel():
    x = g.arange(6).reshape(2, 3).T[:, ::-1]
    assert np.array_equal(np.from_dlpack(x), x.numpy()) and g.from_dlpack(x).data.strides == x.data.strides


def test_device_is_the_cpu():
    assert g.zeros(1).__dlpack_device__() == (1, 0)


def test_memory_outlives_its_exporter():
    def make():
        return g.from_dlpack(np.full(100_000, 7.0, np.float32))

    x, _ = make(), np.zeros(100_000, np.float32)
    assert (x.numpy() == 7).all()


def test_what_cannot_travel_says_so():
    with pytest.raises(RuntimeError, match=r"dlpack: .*requires grad.*detach"):
        g.zeros(2, requires_grad=True).__dlpack__()
    with pytest.raises(TypeError, match=r"dlpack: .*bfloat16.*astype"):
        g.zeros(2, dtype="bfloat16").__dlpack__()


class OnAnotherDevice:
    def __dlpack_device__(self):
        return (10, 0)  # ROCm


def test_other_devices_are_refused():
    with pytest.raises(ValueError, match=r"from_dlpack: .*CPU \(1\) or of CUDA \(2\), but came device type 10"):
        g.from_dlpack(OnAnotherDevice())


@pytest.mark.torch
@pytest.mark.parametrize("dtype", DTYPES)
def test_pytorch_both_ways_without_a_copy(dtype):
    import torch

    theirs = torch.tensor([[0, 1], [1, 0]], dtype=getattr(torch, dtype))
    for x in (g.from_dlpack(theirs), g.from_numpy(theirs.numpy())):
        assert x.dtype == dtype and x.data.ctypes.data == theirs.data_ptr()
    back = torch.from_dlpack(x)
    assert back.dtype == theirs.dtype and back.data_ptr() == theirs.data_ptr()


@pytest.mark.torch
def test_changes_are_seen_on_both_sides():
    import torch

    theirs = torch.zeros(3)
    ours = g.from_dlpack(theirs)
    ours[0] = 5
    theirs[1] = 6
    assert theirs.tolist() == ours.numpy().tolist() == [5, 6, 0]


@pytest.mark.torch
def test_pytorch_tensors_are_taken_where_arrays_are():
    import torch

    copied = g.tensor(torch.ones(2))
    assert copied.numpy().tolist() == [1, 1]
    assert (g.ones(2) + torch.ones(2)).numpy().tolist() == [2, 2]
    y = g.ones(2, requires_grad=True) * 2
    y.backward(torch.ones(2))


@pytest.mark.torch
def test_pytorch_bfloat16_and_graphs_are_refused():
    import torch

    with pytest.raises(TypeError, match=r"from_dlpack: .*dtypes.*but"):
        g.from_dlpack(torch.zeros(2, dtype=torch.bfloat16))
    with pytest.raises(TypeError, match=r"from_dlpack: .*, but .*gradient"):
        g.from_dlpack(torch.zeros(2, requires_grad=True))
