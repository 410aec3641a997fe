"""The graph: what is accumulated where, what is freed when, what is refused. Slopes are tested in tests/ops."""

import gc
import threading

import numpy as np
import pytest

import gpucnn as g


def leaf(*values, dtype="float32"):
    return g.tensor(list(values), dtype=dtype, requires_grad=True)


def values(tensor):
    return tensor.grad.numpy().tolist()


# --- accumulation -----------------------------------------------------------------------------------------------------
def test_gradients_add_up_over_uses_and_calls():
    x = leaf(1.0, 2.0)
    (x * x + x).sum().backward()
    assert values(x) == [3, 5]
    (2 * x).sum().backward()
    assert values(x) == [5, 7]
    x.grad = None
    x.sum().backward()
    assert values(x) == [1, 1]


def test_scalars_all_the_way():
    """NumPy makes scalars of its 0-d results; gradients of shape () are arrays all the same."""
    x = g.tensor(0.5, requires_grad=True)
    for _ in range(2):
        g.exp(g.tanh(x * 2) + x.reshape(1).sum() + g.max(x) + x.mean()).backward()
    assert type(x.grad.data) is np.ndarray and x.grad.shape == () and x.grad.device == "cpu"
    y = np.exp(np.tanh(1) + 1.5)
    assert np.isclose(x.grad.item(), 2 * y * (2 * (1 - np.tanh(1) ** 2) + 3), rtol=1e-5)


def test_diamonds():
    """Every node runs once, after all that it feeds: 2**40 paths lead from y to x."""
    x = y = leaf(1.0)
    for _ in range(40):
        y = y + y
    y.backward()
    assert values(x) == [2.0**40]


@pytest.mark.parametrize("multiply", [lambda a, b: a * b, lambda a, b: b * a])
def test_branches_of_different_depth(multiply):
    """A node waits for the longest branch, whichever branch comes first."""
    x = leaf(3.0)
    a = b = x * x
    for _ in range(5):
        b = b + 1
    multiply(a, b).backward()  # d (x**2 (x**2 + 5)) = 4 x**3 + 10 x
    assert values(x) == [138]


def test_a_chain_of_20000_operations():
    """Forward, backward and the death of the graph take no recursion."""
    x = y = leaf(1.0)
    for _ in range(20_000):
        y = y + 1
    y.backward()
    assert values(x) == [1] and y.item() == 20_001
    del y
    gc.collect()


def test_gradient_argument():
    x = leaf(1.0, 2.0)
    y = x * 3
    y.backward([1.0, 10.0], retain_graph=True)
    y.backward(np.array([1, 1]), retain_graph=True)
    assert values(x) == [6, 33]
    with pytest.raises(ValueError, match=r"backward: gradient has the shape .* came \(3,\) \(\(2,\)\)"):
        y.backward(np.ones(3))
    with pytest.raises(ValueError, match=r"backward: needs a gradient unless .* \(\(2,\)\)"):
        y.backward()


def test_gradients_have_the_dtype_of_their_tensor():
    x, w = leaf(1.0, 2.0, dtype="float16"), leaf(3.0, 4.0, dtype="float64")
    y = x * w
    assert y.dtype == "float64"
    y.backward(np.ones(2, np.float32))
    assert x.grad.dtype == "float16" and w.grad.dtype == "float64"


def test_a_leaf_is_its_own_root():
    x = leaf(1.0)
    x.backward()
    assert values(x) == [1]


# --- memory that gradients share with nothing -------------------------------------------------------------------------
@pytest.mark.parametrize(
    "function",
    [
        lambda a, b: a + b,
        lambda a, b: a - b,
        lambda a, b: g.cat([a, b]),
        lambda a, b: g.stack([a, b]),
        lambda a, b: a.reshape(2, 1) + b.T,
        lambda a, b: g.where(np.array([True, False]), a, b),
        lambda a, b: a.sum() + b.sum(),
        lambda a, b: g.maximum(a, b),
        lambda a, b: a.astype("float64").astype("float32") + b[::-1],
    ],
)
def test_gradients_own_their_memory(function):
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    y = function(a, b)
    y.retain_grad()
    gy = np.ones(y.shape, np.float32)
    y.backward(gy)
    arrays = [a.grad.data, b.grad.data, y.grad.data, gy, a.data, b.data]
    for i, first in enumerate(arrays):
        assert first.flags.writeable
        for second in arrays[:i]:
            assert not np.shares_memory(first, second)
    a.grad += 1  # and so it may be changed


# --- retain_grad, no_grad, detach -------------------------------------------------------------------------------------
def test_retain_grad():
    x = leaf(1.0, 2.0)
    h = x * 2
    h.retain_grad()
    x.retain_grad()
    y = (h * h).sum()
    y.retain_grad()
    y.backward()
    assert values(h) == [4, 8] and values(x) == [8, 16] and y.grad.item() == 1
    other = x * 2
    other.sum().backward()
    assert other.grad is None
    with pytest.raises(RuntimeError, match="retain_grad: needs a tensor that requires grad"):
        g.zeros(1).retain_grad()


def test_no_grad():
    x = leaf(1.0)
    with g.no_grad():
        assert not g.is_grad_enabled()
        y = x * 2
        with g.no_grad():
            pass
        assert not g.is_grad_enabled()
    assert g.is_grad_enabled() and not y.requires_grad and y.is_leaf

    @g.no_grad()
    def function():
        return x * 2

    assert not function().requires_grad and not function().requires_grad and (x * 2).requires_grad
    with pytest.raises(ZeroDivisionError), g.no_grad():
        raise ZeroDivisionError
    assert g.is_grad_enabled()


def test_no_grad_is_of_one_thread():
    seen, inside, done = [], threading.Event(), threading.Event()

    def work():
        with g.no_grad():
            inside.set()
            done.wait(10)
            seen.append(g.is_grad_enabled())

    thread = threading.Thread(target=work)
    thread.start()
    assert inside.wait(10)
    assert g.is_grad_enabled() and (leaf(1.0) * 2).requires_grad
    done.set()
    thread.join()
    assert seen == [False]


def test_threads_have_graphs_of_their_own():
    results = [None] * 4

    def work(i):
        x = leaf(*range(100))
        for _ in range(20):
            g.conv2d((x * float(i)).reshape(1, 1, 10, 10), g.ones(1, 1, 3, 3)).sum().backward()
        results[i] = x.grad.numpy()[55]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [0, 9 * 20, 2 * 9 * 20, 3 * 9 * 20]


def test_detach_stops_the_gradient():
    x = leaf(2.0)
    (x * x.detach()).backward()
    assert values(x) == [2] and not x.detach().requires_grad and np.shares_memory(x.detach().data, x.data)


def test_only_floats_carry_a_graph():
    x = leaf(1.0, 2.0)
    for y in (x.astype("int64"), x > 1, g.argmax(x), x.astype("bool")):
        assert not y.requires_grad and y.is_leaf
    (x * x.astype("int64")).sum().backward()
    assert values(x) == [1, 2]


def test_requires_grad_is_for_leaves():
    x = g.zeros(2)
    assert x.requires_grad_() is x and x.requires_grad
    y = x * 2
    with pytest.raises(RuntimeError, match="requires_grad_: changes leaves only"):
        y.requires_grad_(False)
    assert not x.requires_grad_(False).requires_grad


# --- one graph, one backward ------------------------------------------------------------------------------------------
def test_a_graph_is_differentiated_once_unless_kept():
    x = leaf(2.0)
    y = x * x
    y.backward(retain_graph=True)
    y.backward()
    assert values(x) == [8]
    with pytest.raises(RuntimeError, match=r"backward: mul was differentiated and freed before; .*retain_graph=True"):
        y.backward()


def test_second_order_is_refused():
    x = leaf(2.0)
    y = x * x
    with pytest.raises(NotImplementedError, match="first-order gradients only, but came create_graph=True"):
        y.backward(create_graph=True)
    y.backward()
    with pytest.raises(RuntimeError, match="first-order gradients only"):
        (x.grad * 2).backward()


def test_a_tensor_without_graph_has_no_backward():
    with pytest.raises(RuntimeError, match="backward: starts from a tensor that requires grad"):
        g.zeros(()).backward()


# --- a new operation --------------------------------------------------------------------------------------------------
class Wrong(g.Function):
    def forward(self, x):
        return x * 2

    def backward(self, gy):
        return gy[:1]


def test_a_backward_of_the_wrong_shape_is_caught():
    with pytest.raises(RuntimeError, match=r"wrong: backward gave \(1,\) for input 0 of shape \(2,\)"):
        Wrong.apply(leaf(1.0, 2.0)).sum().backward()


class Twin(g.Function):
    def forward(self, a, b):
        return a + b

    def backward(self, gy):
        grad = gy * 2
        return grad, grad


def test_a_gradient_returned_twice_is_no_shared_memory():
    a, b = leaf(1.0), leaf(1.0)
    Twin.apply(a, b).backward()
    assert values(a) == values(b) == [2] and not np.shares_memory(a.grad.data, b.grad.data)


class TwoOfThree(g.Function):
    def forward(self, a, b, c):
        return a + b + c

    def backward(self, gy):
        assert self.needs == (True, False, True)
        return gy, None, None


def test_none_is_no_gradient():
    a, b, c = leaf(1.0), g.tensor([1.0]), leaf(1.0)
    (TwoOfThree.apply(a, b, c * 2) * 3).backward()
    assert values(a) == [3] and b.grad is None and c.grad is None
