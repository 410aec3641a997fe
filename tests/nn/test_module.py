"""Module: the tree, its state, moving and copying it."""

import numpy as np
import pytest

import gpucnn
from gpucnn import nn


class Net(nn.Module):
    def __init__(self):
        self.body = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU())
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(3, 4, bias=False)

    def forward(self, x):
        return self.head(self.drop(self.body(x)).mean(axis=(2, 3)))


NAMES = ["body.0.weight", "body.0.bias", "body.1.weight", "body.1.bias", "head.weight"]
BUFFERS = ["body.1.running_mean", "body.1.running_var"]


def test_names_in_order():
    net = Net()
    assert [name for name, _ in net.named_parameters()] == NAMES
    assert [name for name, _ in net.named_buffers()] == BUFFERS
    assert list(net.state_dict()) == NAMES + BUFFERS
    assert len(net.parameters()) == 5
    assert len(net.buffers()) == 2
    assert [type(m).__name__ for m in net.modules()][:3] == ["Net", "Sequential", "Conv2d"]


def test_paths_of_modules():
    net = Net()
    assert [path for path, _ in net.named_modules()] == ["", "body", "body.0", "body.1", "body.2", "drop", "head"]
    assert dict(net.named_modules())["body.1"] is net.body[1]


def test_freezing_the_tree():
    net = Net()
    assert net.requires_grad_(False) is net and not any(p.requires_grad for p in net.parameters())
    assert not net(gpucnn.randn(2, 2, 5, 4)).requires_grad
    net.head.requires_grad_()
    assert [p.requires_grad for p in net.parameters()] == [False] * 4 + [True]


def test_a_shared_parameter_counts_once():
    net = Net()
    net.tied = net.head
    assert [name for name, _ in net.named_parameters()] == NAMES
    assert "tied.weight" in net.state_dict()


def test_train_and_eval_reach_every_module():
    net = Net()
    assert net.training
    assert net.eval() is net
    assert not any(m.training for m in net.modules())
    assert net.train() is net
    assert all(m.training for m in net.modules())


def test_forward_is_required():
    class Empty(nn.Module):
        pass

    with pytest.raises(NotImplementedError, match="Empty: a Module defines forward"):
        Empty()(1)


def test_backward_and_zero_grad():
    net = Net()
    net(gpucnn.randn(2, 2, 5, 4)).sum().backward()
    assert all(p.grad is not None and p.grad.shape == p.shape for p in net.parameters())
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())


def test_state_round_trip_copies():
    a, b = Net(), Net()
    a.body[1].running_mean.data[...] = 5
    state = a.state_dict()
    b.load_state_dict(state)
    for name, array in b.state_dict().items():
        np.testing.assert_array_equal(array, state[name])
        assert not np.shares_memory(array, state[name])


def test_state_of_tensors_and_other_dtypes():
    net = Net()
    state = {name: gpucnn.tensor(array.astype(np.float64)) for name, array in net.state_dict().items()}
    net.load_state_dict(state)
    assert all(array.dtype == np.float32 for array in net.state_dict().values())


def test_wrong_state_is_refused_and_changes_nothing():
    net = Net()
    state = {name: array + 1 for name, array in net.state_dict().items()}
    before = {name: array.copy() for name, array in net.state_dict().items()}
    renamed = {**state, "tail.weight": state["head.weight"]}
    del renamed["head.weight"]
    with pytest.raises(ValueError, match=r"missing are \['head.weight'\], unknown \['tail.weight'\]"):
        net.load_state_dict(renamed)
    state["head.weight"] = state["head.weight"].T
    with pytest.raises(ValueError, match=r"head.weight has shape \(4, 3\), but the state has \(3, 4\)"):
        net.load_state_dict(state)
    with pytest.raises(ValueError, match=r"head.weight has shape"):
        net.load_state_dict(state, strict=False)
    for name, array in net.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    net.load_state_dict(renamed, strict=False)
    np.testing.assert_array_equal(net.body[0].bias.data, before["body.0.bias"] + 1)
    np.testing.assert_array_equal(net.head.weight.data, before["head.weight"])


@pytest.mark.parametrize(
    ("dtype", "buffers"), [("bfloat16", "float32"), ("float16", "float32"), ("float64", "float64")]
)
def test_to_dtype(dtype, buffers):
    net = Net()
    parameters = net.parameters()
    assert net.to(dtype) is net
    assert all(a is b for a, b in zip(net.parameters(), parameters, strict=True))
    assert {p.dtype.name for p in net.parameters()} == {dtype}
    assert {b.dtype.name for b in net.buffers()} == {buffers}
    y = net(gpucnn.randn(4, 2, 5, 4).astype(dtype))
    assert y.dtype.name == dtype
    y.sum().backward()
    assert {p.grad.dtype.name for p in parameters} == {dtype}


def test_to_device():
    net = Net()
    weight = net.head.weight.data
    net.to("cpu", "float32")
    assert net.head.weight.data is weight
    with pytest.raises(TypeError, match="parameters are floating point, but the dtype asked for is int64"):
        net.to("int64")


@pytest.mark.cuda
def test_to_cuda_and_back():
    net = Net()
    before = net.state_dict()
    net.to("cuda", "float32")
    assert {p.device for p in [*net.parameters(), *net.buffers()]} == {"cuda:0"}
    net.load_state_dict(before)
    for name, array in net.to("cpu").state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_repr():
    assert repr(Net()) == (
        "Net(\n"
        "  (body): Sequential(\n"
        "    (0): Conv2d(2, 3, kernel_size=(3, 3), padding=1)\n"
        "    (1): BatchNorm2d(3, eps=1e-05, momentum=0.1)\n"
        "    (2): ReLU()\n"
        "  )\n"
        "  (drop): Dropout(p=0.5)\n"
        "  (head): Linear(3, 4, bias=False)\n"
        ")"
    )


def test_parameters_and_buffers_of_tensors_and_lists():
    class Scale(nn.Module):
        def __init__(self, values):
            self.scale = nn.Parameter(values)
            self.count = nn.Buffer(gpucnn.zeros(1))

        def forward(self, x):
            return x * self.scale

    values = gpucnn.ones(3)
    net = Scale(values)
    net(gpucnn.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert net.scale.grad.numpy().tolist() == [1, 2, 3]
    assert np.shares_memory(net.scale.data, values.data)
    assert list(Scale([1.0, 2.0]).state_dict()) == ["scale", "count"]
