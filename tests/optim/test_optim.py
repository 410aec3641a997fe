"""The optimisers: closed forms, ten steps against PyTorch, native steps against arrays, half precision, state."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gpucnn
from gpucnn import native
from gpucnn.dtype import accumulate
from gpucnn.optim import SGD, Adadelta, Adagrad, Adam, AdamW, RMSprop
from tests.optim.rules import ArrayAdam, ArrayAdamW, ArraySGD
from tests.tolerance import U_OUT

TORCH_CASES = [
    (SGD, {"lr": 0.1}),
    (SGD, {"lr": 0.1, "momentum": 0.9}),
    (SGD, {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    (SGD, {"lr": 0.05, "weight_decay": 0.1}),
    (Adam, {}),
    (Adam, {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-4, "weight_decay": 0.02}),
    (AdamW, {}),
    (AdamW, {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-4, "weight_decay": 0.2}),
    (Adagrad, {}),
    (Adagrad, {"lr": 0.1, "eps": 1e-3, "weight_decay": 0.02}),
    (RMSprop, {}),
    (RMSprop, {"lr": 0.02, "alpha": 0.9, "eps": 1e-3, "weight_decay": 0.02, "momentum": 0.8}),
    (Adadelta, {}),
    (Adadelta, {"lr": 0.5, "rho": 0.8, "eps": 1e-3, "weight_decay": 0.02}),
]
ARRAY = {SGD: ArraySGD, Adam: ArrayAdam, AdamW: ArrayAdamW}
MAKERS = [
    lambda p: SGD(p, 0.1, 0.9),
    lambda p: Adam(p, 0.1),
    lambda p: AdamW(p, 0.1),
    lambda p: Adagrad(p, 1.0),
    lambda p: RMSprop(p, 0.01, momentum=0.6),
    lambda p: Adadelta(p, eps=0.01),
]
EVERY = pytest.mark.parametrize("make", MAKERS, ids=["SGD", "Adam", "AdamW", "Adagrad", "RMSprop", "Adadelta"])


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


@EVERY
def test_minimises_a_quadratic(make):
    p = parameter([3.0, -4.0])
    optimizer = make([p])
    for _ in range(300):
        optimizer.zero_grad()
        (p * p).sum().backward()
        optimizer.step()
    assert np.abs(p.numpy()).max() < 1e-2


@pytest.mark.torch
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("ours", "options"), TORCH_CASES)
def test_ten_steps_agree_with_torch(ours, options, dtype):
    """Both round each operation, not always in the same order: a few units in the last place a step."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    start = [rng.standard_normal(shape).astype(dtype) for shape in ((3, 4), (5,))]
    params = [parameter(value, dtype) for value in start]
    twins = [torch.nn.Parameter(torch.tensor(value)) for value in start]
    optimizer, reference = ours(params, **options), getattr(torch.optim, ours.__name__)(twins, **options)
    for step in range(10):
        for i, (p, twin) in enumerate(zip(params, twins, strict=True)):
            gradient = rng.standard_normal(p.shape).astype(dtype)
            if i == 1 and step in (0, 4):  # parameters without a gradient are left alone
                p.grad = twin.grad = None
                continue
            give(p, gradient)
            twin.grad = torch.tensor(gradient)
        optimizer.step()
        reference.step()
        for p, twin in zip(params, twins, strict=True):
            few = 4 * (step + 1) * U_OUT[dtype]
            np.testing.assert_allclose(p.numpy(), twin.detach().numpy(), rtol=few, atol=few)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize(("ours", "options"), [case for case in TORCH_CASES if case[0] in ARRAY])
def test_native_steps_equal_array_steps_bit_for_bit(ours, options, dtype):
    rng = np.random.default_rng(0)
    shapes = ((), (7, 5), (40_000,), (0, 3), (17,))  # a scalar, more than one chunk, nothing
    params, twins = ([parameter(np.ones(shape), dtype) for shape in shapes] for _ in range(2))
    fused, array = ours(params, **options), ARRAY[ours](twins, **options)
    for step in range(4):
        for i, (p, twin) in enumerate(zip(params, twins, strict=True)):
            wide = i == 1 and step > 1  # an unscaled gradient of a 16-bit parameter is in float32
            gradient = gpucnn.tensor(rng.standard_normal(p.shape), dtype=accumulate(p.dtype) if wide else dtype)
            p.grad = twin.grad = None if i == 4 and step == 1 else gradient
        fused.step()
        array.step()
        for p, twin, state, other in zip(params, twins, fused.state, array.state, strict=True):
            assert np.array_equal(p.numpy(), twin.numpy())
            assert state.keys() == other.keys()
            assert all(np.array_equal(state[name], other[name]) for name in state)
    assert not np.array_equal(params[1].numpy(), np.ones((7, 5)))


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=8), st.integers(1, 3), st.sampled_from([SGD, Adam]))
def test_any_list_of_sizes_on_any_threads(sizes, threads, ours):
    """The bits depend neither on how parameters are cut into chunks nor on the threads that take them."""
    lib = native.cpu()
    before = lib.num_threads()
    options = {"lr": 0.1, "momentum": 0.9} if ours is SGD else {}
    rng = np.random.default_rng(0)
    params = [parameter(rng.standard_normal(size)) for size in sizes]
    twins = [parameter(p.numpy()) for p in params]
    for p, twin in zip(params, twins, strict=True):
        give(p, rng.standard_normal(p.shape))
        twin.grad = p.grad
    try:
        lib.set_num_threads(threads)
        ours(params, **options).step()
    finally:
        lib.set_num_threads(before)
    for p, twin in zip(params, twins, strict=True):
        ARRAY[ours]([twin], **options).step()
        assert np.array_equal(p.numpy(), twin.numpy())


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize(
    "make",
    [lambda p: SGD(p, 1e-4, 0.9, nesterov=True), lambda p: Adam(p, 1e-5), lambda p: RMSprop(p, 1e-5)],
    ids=["SGD", "Adam", "RMSprop"],
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
@EVERY
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
        (lambda p: AdamW([p], weight_decay=-1), "AdamW: weight_decay is not negative, but came -1"),
        (lambda p: Adagrad([p], lr=-1), "lr is not negative"),
        (lambda p: RMSprop([p], alpha=1), "alpha is in"),
        (lambda p: RMSprop([p], momentum=-0.1), "momentum is in"),
        (lambda p: Adadelta([p], rho=1.5), "rho is in"),
        (lambda p: Adadelta([p], eps=-1), "eps is not negative"),
    ],
)
def test_bad_arguments(make, reason):
    with pytest.raises(ValueError, match=reason):
        make(parameter([1.0]))


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize(
    "make",
    [lambda p: SGD(p, 0.1, 0.9, 0.01, nesterov=True), lambda p: Adam(p, 0.1), lambda p: Adadelta(p)],
    ids=["SGD", "Adam", "Adadelta"],
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
