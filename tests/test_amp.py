"""Mixed precision: what runs in which dtype, casts in the graph, the scale of the loss, training."""

import inspect
import threading

import numpy as np
import pytest

import gpucnn as g
from gpucnn import amp, nn, ops
from gpucnn.amp import GradScaler, autocast
from gpucnn.checkpoint import load_checkpoint, save_checkpoint
from gpucnn.optim import SGD, clip_grad_norm

HALVES = pytest.mark.parametrize("half", ["float16", "bfloat16"])


def leaf(*shape, dtype="float32"):
    return g.randn(*shape).astype(dtype).detach().requires_grad_()


# --- the table --------------------------------------------------------------------------------------------------------
CALLS = {
    "conv2d": lambda x: g.conv2d(x[None], g.ones(4, 3, 1, 1), bias=g.ones(4)),
    "conv_transpose2d": lambda x: g.conv_transpose2d(x[None], g.ones(3, 4, 1, 1), bias=g.ones(4)),
    "linear": lambda x: g.linear(x, np.ones((3, 5), np.float32), g.ones(3)),
    "matmul": lambda x: x @ g.ones(3, 5, 2),
    "softmax": g.softmax,
    "log_softmax": g.log_softmax,
    "cross_entropy": lambda x: g.cross_entropy(x[0], np.array([0, 1, 2, 3])),
    "mse_loss": lambda x: g.mse_loss(x, g.ones(3, 4, 5)),
    "l1_loss": lambda x: g.l1_loss(x, g.ones(3, 4, 5)),
    "hinge_loss": lambda x: g.hinge_loss(x[0], np.array([0, 1, 2, 3])),
    "binary_cross_entropy_with_logits": lambda x: g.binary_cross_entropy_with_logits(x, g.ones(3, 4, 5)),
    "kl_div": lambda x: g.kl_div(x, g.ones(3, 4, 5)),
    "exp": lambda x: x.exp(),
    "log": g.log,
    "pow": lambda x: x**2,
    "sum": lambda x: x.sum(axis=(0, 1)),
    "mean": lambda x: x.mean(),
    "var": lambda x: g.var(x, axis=1),
    "cat": lambda x: g.cat([x, g.ones(3, 4, 5)]),
    "prelu": lambda x: g.prelu(x, g.full((4,), 0.25)),
    "stack": lambda x: g.stack((g.ones(3, 4, 5), x), axis=1),
}
AS_THEY_ARE = {
    "relu": g.relu,
    "add": lambda x: x + 1,
    "max_pool2d": lambda x: g.max_pool2d(x[None], 2),
    "batch_norm": lambda x: g.batch_norm(x[None], g.zeros(3), g.ones(3), g.ones(3), g.ones(3), training=True),
    "dropout": g.dropout,
}


def test_the_calls_of_this_file_are_those_of_the_table():
    assert CALLS.keys() == amp.POLICY.keys()
    assert all(inspect.signature(getattr(ops, name)).parameters for name in CALLS)


@HALVES
@pytest.mark.parametrize("name", [*CALLS, *AS_THEY_ARE])
def test_dtypes(name, half):
    """In and out of autocast, for operands of either dtype."""
    wide = leaf(3, 4, 5)
    wide.data[...] = np.abs(wide.data) + np.float32(0.5)
    narrow = wide.astype(half)
    call = (CALLS | AS_THEY_ARE)[name]
    outside = call(wide)
    assert outside.dtype == np.float32
    with autocast(half):
        for x in (wide, narrow):
            y = call(x)
            wanted = {amp.HALF: half, amp.WIDE: "float32", amp.WIDEST: "float32"}.get(amp.POLICY.get(name), x.dtype)
            assert y.dtype == wanted
            if name != "dropout":
                np.testing.assert_allclose(y.numpy().astype(np.float32), outside.numpy(), rtol=0.03, atol=0.03)
            y.sum().backward()
        assert wide.grad.dtype == np.float32
        both = g.cat([narrow, narrow])
        assert both.dtype == half


def test_arithmetic_promotes():
    with autocast("float16"):
        y = leaf(2, 3) @ leaf(3, 2)
        assert (y + g.ones(2, 2)).dtype == np.float32
        assert (y + y).dtype == np.float16


def test_float64_and_integers_are_left_alone():
    with autocast("bfloat16"):
        assert (leaf(2, 2, dtype="float64") @ leaf(2, 2, dtype="float64")).dtype == np.float64
        assert g.exp(leaf(2, dtype="float64")).dtype == np.float64
        assert g.sum(np.arange(3)).item() == 3
        assert g.arange(3).sum().dtype == np.int64
        with pytest.raises(TypeError, match="linear: takes floats of one dtype, but came float32, float64"):
            g.linear(leaf(2, 2), leaf(2, 2, dtype="float64"))


# --- the context ------------------------------------------------------------------------------------------------------
def test_contexts_nest_and_end():
    a = leaf(2, 2)
    with autocast("float16"):
        with autocast("bfloat16"):
            assert (a @ a).dtype == g.bfloat16
            with autocast(None):
                assert (a @ a).dtype == np.float32
        assert (a @ a).dtype == np.float16
    with pytest.raises(ZeroDivisionError), autocast("float16"):
        raise ZeroDivisionError
    assert (a @ a).dtype == np.float32

    @autocast("float16")
    def function():
        return a @ a

    assert function().dtype == function().dtype == np.float16
    for bad in ("float32", "int8", "half-ish"):
        with pytest.raises(TypeError, match=r"takes .*, but came"), autocast(bad):
            pass


def test_autocast_is_of_one_thread():
    seen = []
    with autocast("float16"):
        thread = threading.Thread(target=lambda: seen.append((leaf(2, 2) @ leaf(2, 2)).dtype))
        thread.start()
        thread.join()
    assert seen == [np.float32]


@HALVES
def test_gradients_are_those_of_casts_by_hand(half):
    x, weight, bias = leaf(2, 3, 8, 8), leaf(4, 3, 3, 3), leaf(4)
    with autocast(half):
        loss = g.relu(g.conv2d(x, weight, bias, padding=1)).sum()
    loss.backward()
    twins = [g.tensor(t, requires_grad=True) for t in (x, weight, bias)]
    g.relu(g.conv2d(*(t.astype(half) for t in twins), padding=1)).astype("float32").sum().backward()
    for ours, theirs in zip((x, weight, bias), twins, strict=True):
        assert ours.grad.dtype == np.float32
        assert np.array_equal(ours.grad.numpy(), theirs.grad.numpy())


# --- one cast a weight ------------------------------------------------------------------------------------------------
@pytest.fixture
def casts(monkeypatch):
    """The tensors that are cast, in order."""
    seen = []
    original = amp.astype
    monkeypatch.setattr(amp, "astype", lambda x, dtype: (seen.append(x), original(x, dtype))[1])
    return seen


def test_a_weight_is_cast_once(casts):
    weight, x = leaf(3, 3), g.ones(2, 3).astype("float16")
    with autocast("float16"):
        y = g.linear(g.linear(x, weight), weight) @ weight
        y.astype("float32").sum().backward()
    assert len(casts) == 1
    twin = g.tensor(weight, requires_grad=True)
    half = twin.astype("float16")
    (g.linear(g.linear(x, half), half) @ half).astype("float32").sum().backward()
    assert np.array_equal(weight.grad.numpy(), twin.grad.numpy())


def test_a_weight_that_changed_is_cast_again(casts):
    weight, x = leaf(3, 3), g.ones(2, 3).astype("float16")
    optimizer = SGD([weight], 0.5)

    def run():
        y = g.linear(x, weight)
        np.testing.assert_array_equal(y.numpy(), g.linear(x, weight.detach().astype("float16")).numpy())
        return y

    with autocast("float16"):
        run().sum().backward()
        optimizer.step()
        run()
        with g.no_grad():
            weight *= 2
        run()
        weight.data = np.ones((3, 3), np.float32)
        run()
    assert len([t for t in casts if t is weight]) == 4


def test_a_cast_without_a_graph_is_not_trained_with():
    """Nor is one whose graph an earlier backward has freed."""
    weight, x = leaf(3, 3), g.ones(2, 3)
    with autocast("bfloat16"):
        with g.no_grad():
            assert not g.linear(x, weight).requires_grad
        for _ in range(2):
            g.linear(x, weight).sum().backward()
    assert np.array_equal(weight.grad.numpy(), np.full((3, 3), 4))


# --- the scale --------------------------------------------------------------------------------------------------------
def scaled_step(scaler, optimizer, p, gradient):
    p.grad = None
    scaler.scale((p * gradient).sum()).backward()
    return scaler.step(optimizer)


def test_the_factor_doubles_halves_and_leaves_out_steps():
    p = g.zeros(2, requires_grad=True)
    optimizer, scaler = SGD([p], lr=1.0), GradScaler(factor=4, interval=3)
    factors, taken = [], []
    gradients = [1, 1, 1, np.inf, 1, 1, np.nan, 1, 1, 1]
    for gradient in gradients:
        taken.append(scaled_step(scaler, optimizer, p, g.tensor([1.0, gradient])))
        scaler.update()
        factors.append(scaler.factor)
    assert factors == [4, 4, 8, 4, 4, 4, 2, 2, 2, 4]
    assert taken == [np.isfinite(gradient) for gradient in gradients]
    assert p.numpy().tolist() == [-8, -8]


def test_defaults():
    assert GradScaler().state_dict() == {"factor": 65536, "good": 0}
    assert GradScaler().interval == 2000


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_largest_values_are_finite(dtype):
    """The check adds values up, in a dtype where that does not overflow."""
    p = g.zeros(100, dtype=dtype, requires_grad=True)
    largest = {"float32": 3e38, "float64": 1e300, "float16": 65504, "bfloat16": 3e38}[dtype]
    p.grad = g.full((100,), largest, dtype=dtype)
    scaler = GradScaler(factor=1)
    assert scaler.step(SGD([p], lr=1e-3))
    p.grad = g.tensor(np.array([1, np.inf, -np.inf] + [0] * 97), dtype=dtype)
    scaler.update()
    assert not scaler.step(SGD([p], lr=1e-3))


def test_small_gradients_survive_in_float16():
    """1e-8 underflows in float16; scaled it does not, and unscaled it is float32."""
    for parameter_dtype in ("float32", "float16"):
        p = g.ones(3, dtype=parameter_dtype, requires_grad=True)
        for scaler, found in ((GradScaler(), 1e-8), (None, 0)):
            p.grad = None
            loss = (p.astype("float16") * g.ones(3, dtype="float16")).astype("float32").sum() * 1e-8
            (scaler.scale(loss) if scaler else loss).backward()
            if scaler:
                scaler.unscale_(SGD([p], 1.0))
                assert p.grad.dtype == np.float32
            np.testing.assert_allclose(p.grad.numpy(), found, rtol=1e-3)


def test_clipping_sees_unscaled_gradients():
    p = g.zeros(1, requires_grad=True)
    optimizer, scaler = SGD([p], lr=1.0), GradScaler()
    scaler.scale((p * 3).sum()).backward()
    scaler.unscale_(optimizer)
    assert clip_grad_norm([p], 0.5) == 3
    scaler.step(optimizer)
    scaler.update()
    assert p.item() == -0.5


def test_wrong_order_and_arguments():
    p = g.zeros(1, requires_grad=True)
    optimizer, scaler = SGD([p], lr=1.0), GradScaler()
    with pytest.raises(RuntimeError, match="update follows a step, but there was none"):
        scaler.update()
    scaler.unscale_(optimizer)
    with pytest.raises(RuntimeError, match="unscaled once between updates"):
        scaler.unscale_(optimizer)
    for bad in ({"factor": 0}, {"factor": np.inf}, {"interval": 0}):
        with pytest.raises(ValueError, match="GradScaler: factor and interval are positive, but came"):
            GradScaler(**bad)


def test_state_continues_in_a_checkpoint(tmp_path):
    net, scaler = nn.Linear(2, 2), GradScaler(factor=8, interval=2)
    scaled_step(scaler, SGD([net.bias], 1.0), net.bias, g.ones(2))
    scaler.update()
    save_checkpoint(tmp_path / "c.safetensors", net, scaler=scaler.state_dict())
    other = GradScaler(interval=2)
    other.load_state_dict(load_checkpoint(tmp_path / "c.safetensors", net)["scaler"])
    for one in (scaler, other):
        scaled_step(one, SGD([net.bias], 1.0), net.bias, g.ones(2))
        one.update()
        assert one.state_dict() == {"factor": 16, "good": 0}


# --- training ---------------------------------------------------------------------------------------------------------
@pytest.mark.torch
def test_an_autocast_network_agrees_with_that_of_torch():
    torch = pytest.importorskip("torch")
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 5))
    twin = torch.nn.Sequential(
        *(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.MaxPool2d(2), torch.nn.Flatten(), torch.nn.Linear(36, 5))
    )
    with torch.no_grad():
        for ours, theirs in zip(net.parameters(), twin.parameters(), strict=True):
            theirs.copy_(torch.from_numpy(ours.numpy().copy()))
    x, labels = g.randn(6, 3, 8, 8), np.array([0, 1, 2, 3, 4, 0])
    with autocast("bfloat16"):
        loss = g.cross_entropy(net(x), labels)
    loss.backward()
    with torch.autocast("cpu", torch.bfloat16):
        reference = torch.nn.functional.cross_entropy(twin(torch.from_numpy(x.numpy())), torch.from_numpy(labels))
    reference.backward()
    assert loss.dtype == np.float32
    assert loss.item() == pytest.approx(reference.item(), rel=0.02)
    for ours, theirs in zip(net.parameters(), twin.parameters(), strict=True):
        largest = np.abs(theirs.grad.numpy()).max()
        np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), atol=0.03 * largest)


@HALVES
def test_all_in_16_bits_with_masters_and_a_scaler(half):
    """The pure mode: a network in 16 bits follows the same one in float32 down to a small loss."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 10)).astype(np.float32)
    labels = (x[:, 0] > 0).astype(np.int64)
    losses = {}
    for dtype in ("float32", half):
        g.manual_seed(0)
        net = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 2)).to(dtype)
        optimizer, scaler = SGD(net.parameters(), 0.1, 0.9), GradScaler()
        for _ in range(60):
            loss = g.cross_entropy(net(g.tensor(x).astype(dtype)).astype("float32"), labels)
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        losses[dtype] = loss.item()
        assert scaler.good == 60
    assert losses["float32"] < 0.05
    assert losses[half] == pytest.approx(losses["float32"], abs=0.01)
