"""SGD and Adam: closed forms, ten steps against PyTorch, half precision, state."""

import math

import numpy as np
import pytest

import gpucnn
from gpucnn.optim import SGD, Adam

SGD_CASES = [
    {"lr": 0.1},
    {"lr": 0.1, "momentum": 0.9},
    {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    {"lr": 0.05, "weight_decay": 0.1},
]
ADAM_CASES = [{}, {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-4, "weight_decay": 0.02}]


def parameter(values, dtype="float32"):
    return gpucnn.tensor(np.asarray(values, np.float64), dtype=dtype, requires_grad=True)


def give(p, gradient):
    p.grad = gpucnn.tensor(np.asarray(gradient, np.float64), dtype=p.dtype)


def test_sgd_by_hand():
    p = parameter([1.0, -2.0], "float64")
    optimizer = SGD([p], lr=0.5, momentum=0.5, weight_decay=0.1)
    give(p, [1.0, 0.0])
    optimizer.step()  # g = (1.1, -0.2), v = g
    np.testing.assert_allclose(p.data, [0.45, -1.9], rtol=1e-15)
    give(p, [0.0, 1.0])
    optimizer.step()  # g = (0.045, 0.81), v = (0.595, 0.71)
    np.testing.assert_allclose(p.data, [0.1525, -2.255], rtol=1e-14)


def test_nesterov_by_hand():
    p = parameter([0.0], "float64")
    optimizer = SGD([p], lr=1.0, momentum=0.5, nesterov=True)
    for expected in (-1.5, -3.25):  # v = 1, 1.5; each step moves by g + v / 2 = 1.5, 1.75
        give(p, [1.0])
        optimizer.step()
        np.testing.assert_allclose(p.data, [expected])


def test_adam_by_hand():
    p = parameter([1.0, 1.0], "float64")
    optimizer = Adam([p], lr=0.1, eps=0)
    give(p, [1e-3, -50.0])
    optimizer.step()  # the first step is lr sign(g), whatever the size of g
    np.testing.assert_allclose(p.data, [0.9, 1.1], rtol=1e-12)
    give(p, [0.0, 0.0])
    optimizer.step()
    m, v = 0.9 * 0.1 / (1 - 0.81), 0.999 * 0.001 / (1 - 0.999**2)
    np.testing.assert_allclose(p.data, [0.9 - 0.1 * m / math.sqrt(v), 1.1 + 0.1 * m / math.sqrt(v)], rtol=1e-12)


@pytest.mark.parametrize("make", [lambda p: SGD(p, 0.1, 0.9), lambda p: Adam(p, 0.1)], ids=["SGD", "Adam"])
def test_minimises_a_quadratic(make):
    p = parameter([3.0, -4.0])
    optimizer = make([p])
    for _ in range(300):
        optimizer.zero_grad()
        (p * p).sum().backward()
        optimizer.step()
    assert np.abs(p.numpy()).max() < 1e-2


@pytest.mark.torch
@pytest.mark.parametrize(
    ("ours", "name", "options"),
    [*((SGD, "SGD", case) for case in SGD_CASES), *((Adam, "Adam", case) for case in ADAM_CASES)],
)
def test_ten_steps_agree_with_torch(ours, name, options):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    start = [rng.standard_normal(shape) for shape in ((3, 4), (5,))]
    params = [parameter(value) for value in start]
    twins = [torch.nn.Parameter(torch.tensor(value, dtype=torch.float32)) for value in start]
    optimizer, reference = ours(params, **options), getattr(torch.optim, name)(twins, **options)
    for step in range(10):
        for i, (p, twin) in enumerate(zip(params, twins, strict=True)):
            gradient = rng.standard_normal(p.shape)
            if i == 1 and step in (0, 4):  # parameters without a gradient are left alone
                p.grad = twin.grad = None
                continue
            give(p, gradient)
            twin.grad = torch.tensor(gradient, dtype=torch.float32)
        optimizer.step()
        reference.step()
        for p, twin in zip(params, twins, strict=True):
            np.testing.assert_allclose(p.numpy(), twin.detach().numpy(), rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize(
    "make", [lambda p: SGD(p, 1e-4, 0.9, nesterov=True), lambda p: Adam(p, 1e-5)], ids=["SGD", "Adam"]
)
def test_half_parameters_follow_a_float32_master(dtype, make):
    rng = np.random.default_rng(0)
    half = parameter(rng.standard_normal(50), dtype)
    full = parameter(half.numpy().astype(np.float32))
    optimizer, reference = make([half]), make([full])
    for _ in range(100):  # each step is far below half the spacing of the dtype: without a master nothing moves
        gradient = rng.standard_normal(50).astype(half.dtype).astype(np.float32) + np.float32(1)
        give(half, gradient.astype(half.dtype))
        give(full, half.grad.numpy())
        optimizer.step()
        reference.step()
    assert optimizer.state[0]["master"].dtype == np.float32
    np.testing.assert_array_equal(optimizer.state[0]["master"], full.numpy())
    np.testing.assert_array_equal(half.numpy(), full.numpy().astype(half.dtype))


def test_a_parameter_that_somebody_changed_restarts_its_master():
    p = parameter([1.0], "bfloat16")
    optimizer = SGD([p], 0.5)
    give(p, [1.0])
    optimizer.step()
    with gpucnn.no_grad():
        p += 3.5
    give(p, [1.0])
    optimizer.step()
    assert p.item() == 3.5
    p.data = np.full(1, 8, p.dtype)
    give(p, [1.0])
    optimizer.step()
    assert p.item() == 7.5


def test_step_invalidates_a_graph_that_needs_the_old_values():
    p, q = parameter([2.0]), parameter([3.0])
    loss = (p * q).sum()
    give(p, [1.0])
    SGD([p], 0.1).step()
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


def test_gradients_are_not_changed():
    p = parameter([1.0, 2.0])
    for optimizer in (SGD([p], 0.1, 0.9, 0.1, nesterov=True), Adam([p], weight_decay=0.1)):
        for _ in range(2):
            give(p, [3.0, 4.0])
            optimizer.step()
            assert p.grad.numpy().tolist() == [3, 4]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("make", [lambda p: SGD(p, 0.1, 0.9), lambda p: Adam(p, 0.1)], ids=["SGD", "Adam"])
def test_state_round_trip_continues_bit_for_bit(make, dtype):
    rng = np.random.default_rng(0)
    gradients = rng.standard_normal((6, 4))

    def steps(p, optimizer, some):
        for gradient in some:
            give(p, gradient)
            optimizer.step()

    straight = parameter(np.ones(4), dtype)
    steps(straight, make([straight]), gradients)

    first = parameter(np.ones(4), dtype)
    optimizer = make([first])
    steps(first, optimizer, gradients[:3])
    state = optimizer.state_dict()
    second = parameter(first.numpy().astype(np.float64), dtype)
    continued = make([second])
    continued.lr = 99
    continued.load_state_dict(state)
    steps(second, continued, gradients[3:])
    np.testing.assert_array_equal(second.numpy(), straight.numpy())
    # The state was copied: the steps of one optimiser do not move the other.
    steps(first, optimizer, gradients[3:])
    np.testing.assert_array_equal(first.numpy(), straight.numpy())


def test_wrong_state():
    p = parameter([1.0, 2.0])
    optimizer = SGD([p], 0.1, 0.9)
    give(p, [1.0, 1.0])
    optimizer.step()
    state = optimizer.state_dict()
    for change, reason in (
        ({"steps": [1, 2]}, "has 1 parameters, but the state is of 2"),
        ({"options": {"lr": 1}}, r"but came \['lr'\]"),
        ({"arrays": {"0.velocity": np.zeros(3)}}, r"has the shape of its parameter, \(2,\), but came \(3,\)"),
        ({"arrays": {"1.velocity": np.zeros(2)}}, "but came 1.velocity"),
        ({"arrays": {"0.mean": np.zeros(2)}}, "but came 0.mean"),
    ):
        with pytest.raises(ValueError, match=reason):
            optimizer.load_state_dict({**state, **change})


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda p: SGD([], 0.1), "at least one parameter"),
        (lambda p: SGD([p, p], 0.1), "one came twice"),
        (lambda p: SGD([p * 2], 0.1), "leaves that require grad, but number 0 is not"),
        (lambda p: SGD([p.detach()], 0.1), "leaves that require grad"),
        (lambda p: SGD([p], -0.1), "lr is not negative, but came -0.1"),
        (lambda p: SGD([p], math.nan), "lr is not negative"),
        (lambda p: SGD([p], 0.1, momentum=1), "momentum is in"),
        (lambda p: SGD([p], 0.1, nesterov=True), "nesterov needs momentum"),
        (lambda p: SGD([p], 0.1, weight_decay=-1), "weight_decay is not negative"),
        (lambda p: Adam([p], betas=(0.9, 1)), "betas are in"),
        (lambda p: Adam([p], eps=-1), "eps is not negative"),
    ],
)
def test_bad_arguments(make, reason):
    with pytest.raises(ValueError, match=reason):
        make(parameter([1.0]))


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize(
    "make", [lambda p: SGD(p, 0.1, 0.9, 0.01, nesterov=True), lambda p: Adam(p, 0.1)], ids=["SGD", "Adam"]
)
def test_cuda_agrees_with_the_cpu(make, dtype):
    rng = np.random.default_rng(0)
    here = parameter(rng.standard_normal(50), dtype)
    there = gpucnn.tensor(here, device="cuda", requires_grad=True)
    optimizers = make([here]), make([there])
    for step in range(6):
        give(here, rng.standard_normal(50))
        there.grad = here.grad.to("cuda")
        for optimizer in optimizers:
            optimizer.step()
        if step == 2:  # through a state dict, onto the device of the parameter
            optimizers[1].load_state_dict(optimizers[1].state_dict())
    masters = [optimizer.state[0].get("master", p.data) for optimizer, p in zip(optimizers, (here, there), strict=True)]
    np.testing.assert_allclose(gpucnn.from_numpy(masters[1]).numpy(), masters[0], rtol=1e-5, atol=1e-6)
