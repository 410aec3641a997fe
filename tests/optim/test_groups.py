"""Groups of parameters: rates and options of their own, freezing, fine-tuning, state, moved and odd parameters."""

import numpy as np
import pytest

import gpucnn
from gpucnn import nn
from gpucnn.checkpoint import load_checkpoint, save_checkpoint
from gpucnn.optim import SGD, Adagrad, Adam


def parameter(*values, dtype="float32"):
    return nn.Parameter(gpucnn.tensor(list(values), dtype=dtype))


def give(*params):
    for p in params:
        p.grad = gpucnn.ones(*p.shape, dtype=p.dtype)


def test_the_rules_of_fine_tuning():
    """1/100 of the rate in the body, 1/10 in the top layer, the whole rate in the new head, nothing where frozen."""
    body, top, head, frozen = (parameter(0.0) for _ in range(4))
    frozen.requires_grad_(False)
    groups = [{"params": [body], "lr_scale": 0.01}, {"params": [top], "lr_scale": 0.1}, {"params": [head, frozen]}]
    optimizer = SGD(groups, lr=1.0)
    give(body, top, head, frozen)
    optimizer.step()
    np.testing.assert_allclose([p.item() for p in (body, top, head, frozen)], [-0.01, -0.1, -1, 0], rtol=1e-6)
    optimizer.lr = 2.0  # all rates follow
    optimizer.groups[0]["lr_scale"] = 0
    frozen.requires_grad_()
    optimizer.step()
    np.testing.assert_allclose([p.item() for p in (body, top, head, frozen)], [-0.01, -0.3, -3, -2], rtol=1e-6)


@pytest.mark.parametrize("optimizer", [SGD, Adam, Adagrad])
def test_a_frozen_part_of_a_network_stays_bit_for_bit(optimizer):
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    net[0].requires_grad_(False)
    before = {name: array.copy() for name, array in net.state_dict().items()}
    trained = optimizer(net.parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(2):
        trained.zero_grad()
        net(gpucnn.randn(5, 3)).sum().backward()
        trained.step()
    after = net.state_dict()
    assert all(np.array_equal(after[f"0.{name}"], before[f"0.{name}"]) for name in ("weight", "bias"))
    assert not any(np.array_equal(after[f"2.{name}"], before[f"2.{name}"]) for name in ("weight", "bias"))
    net.requires_grad_()
    net(gpucnn.randn(5, 3)).sum().backward()
    trained.step()
    assert not np.array_equal(net[0].weight.numpy(), before["0.weight"])


@pytest.mark.torch
def test_groups_agree_with_torch():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    params = [parameter(*rng.standard_normal(5)) for _ in range(3)]
    twins = [torch.nn.Parameter(torch.tensor(p.numpy().copy())) for p in params]
    ours = [{"params": params[:2], "lr_scale": 0.5, "betas": (0.5, 0.9)}, {"params": params[2:], "weight_decay": 0.1}]
    theirs = [{"params": twins[:2], "lr": 0.05, "betas": (0.5, 0.9)}, {"params": twins[2:], "weight_decay": 0.1}]
    optimizer, reference = Adam(ours, lr=0.1), torch.optim.Adam(theirs, lr=0.1)
    for _ in range(10):
        for p, twin in zip(params, twins, strict=True):
            p.grad = gpucnn.tensor(rng.standard_normal(5).astype(np.float32))
            twin.grad = torch.tensor(p.grad.numpy())
        optimizer.step()
        reference.step()
    for p, twin in zip(params, twins, strict=True):
        np.testing.assert_allclose(p.numpy(), twin.detach().numpy(), rtol=2e-6, atol=2e-6)


def test_groups_come_back_from_a_checkpoint(tmp_path):
    def make():
        gpucnn.manual_seed(0)
        net = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
        return net, Adam([{"params": net[0].parameters(), "lr_scale": 0.1}, {"params": net[1].parameters()}])

    def step(net, optimizer):
        optimizer.zero_grad()
        net(gpucnn.ones(2, 3)).sum().backward()
        optimizer.step()

    net, optimizer = make()
    step(net, optimizer)
    optimizer.groups[0]["lr_scale"], optimizer.groups[1]["betas"] = 0.25, (0.5, 0.6)
    save_checkpoint(tmp_path / "c.safetensors", net, optimizer)
    other, continued = make()
    load_checkpoint(tmp_path / "c.safetensors", other, continued)
    for pair in ((net, optimizer), (other, continued)):
        step(*pair)
    for ours, theirs in zip(net.parameters(), other.parameters(), strict=True):
        assert np.array_equal(ours.numpy(), theirs.numpy())
    flat = Adam(other.parameters())
    with pytest.raises(ValueError, match="has 1 groups, but the state is of 2"):
        load_checkpoint(tmp_path / "c.safetensors", other, flat)


@pytest.mark.parametrize(
    ("group", "reason"),
    [
        ({"lr": 0.1}, "a group takes params, lr_scale, momentum, nesterov, weight_decay, but came lr"),
        ({"betas": (0, 0)}, "but came betas"),
        ({"lr_scale": -1}, "lr_scale is not negative, but came -1"),
        ({"weight_decay": -1}, "weight_decay is not negative, but came -1"),
        ({"params": []}, "needs at least one parameter"),
    ],
)
def test_bad_groups(group, reason):
    with pytest.raises(ValueError, match=f"SGD: .*{reason}"):
        SGD([{"params": [parameter(1.0)], **group}], lr=0.1)


def test_a_gradient_that_does_not_fit():
    p = parameter(1.0, 2.0)
    p.grad = gpucnn.ones(3)
    with pytest.raises(ValueError, match=r"SGD.step: a gradient has shape .* came \(3,\) on cpu \(\(2,\) on cpu\)"):
        SGD([p], 0.1).step()
    assert p.numpy().tolist() == [1, 2]


@pytest.mark.parametrize("optimizer", [lambda p: SGD(p, 0.5, 0.5), lambda p: Adam(p, 0.5), lambda p: Adagrad(p, 0.5)])
def test_a_parameter_that_changes_dtype_or_shape(optimizer):
    p = parameter(1.0, 2.0)
    trained = optimizer([p])
    give(p)
    trained.step()
    for dtype in ("float64", "bfloat16"):  # the state goes along
        before = p.numpy().astype(np.float64)
        p.data = p.data.astype(gpucnn.dtype.as_dtype(dtype))
        give(p)
        trained.step()
        assert p.dtype == dtype
        assert (p.numpy().astype(np.float64) < before).all()
    p.data = np.ones(3, np.float32)
    give(p)
    with pytest.raises(ValueError, match=r"step: a parameter keeps its shape, but came \(3,\) \(\(2,\) before\)"):
        trained.step()


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_parameters_and_gradients_that_are_not_contiguous(dtype):
    memory = np.arange(12, dtype=dtype).reshape(3, 4)
    p, twin = nn.Parameter(memory.T), nn.Parameter(memory.T.copy())
    for tensor in (p, twin):
        tensor.grad = gpucnn.tensor(np.arange(12, dtype=dtype).reshape(3, 4)).T
        trained = SGD([tensor], 0.5, 0.9)
        trained.step()
        trained.step()
    assert np.array_equal(p.numpy(), twin.numpy())
    assert np.shares_memory(p.data, memory)
    assert memory[2, 3] < 11
