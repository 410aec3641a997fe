"""What a graph holds: in-place changes that it must notice, arrays that it must not keep."""

import gc
import weakref

import numpy as np
import pytest

import gpucnn as g


def leaf(*values, dtype="float32"):
    return g.tensor(list(values), dtype=dtype, requires_grad=True)


def values(tensor):
    return tensor.grad.numpy().tolist()


# --- in-place changes -------------------------------------------------------------------------------------------------
def change(x):
    with g.no_grad():
        x += 1


def through_a_view(x):
    with g.no_grad():
        view = x.reshape(2, 1)[1]
        view *= 2


def through_detach(x):
    other = x.detach()
    other[0] = 5


def through_an_element(x):
    with g.no_grad():
        element = x[0]
        element -= 1


CHANGES = pytest.mark.parametrize("change", [change, through_a_view, through_detach, through_an_element])


@CHANGES
@pytest.mark.parametrize("function", [lambda x: x * x, g.exp, lambda x: x.reshape(2, 1) ** 2, lambda x: g.matmul(x, x)])
def test_a_saved_array_that_changed_is_an_error(change, function):
    x = leaf(1.0, 2.0)
    y = function(x)
    change(y.detach().reshape(2) if function is g.exp else x)  # exp saves its result
    with pytest.raises(RuntimeError, match=r"backward: \w+ needs an array that was changed in place after forward"):
        y.sum().backward()


@CHANGES
def test_what_is_not_saved_may_change(change):
    """x + 1 and relu need no array, 2 * x only the number."""
    x = leaf(1.0, 2.0)
    y = (2 * x + 1).sum() + g.relu(x).sum() + x.mean()
    change(x)
    y.backward()
    assert values(x) == [3.5, 3.5]


def test_frozen_parameters_may_change_where_nobody_needs_them():
    weight, x = g.ones(2, 3), g.ones(4, 3, requires_grad=True)
    y = g.linear(x, weight)
    change(x)  # dx needs the weight only
    y.sum().backward()
    y = g.linear(x, weight)
    weight += 1
    with pytest.raises(RuntimeError, match="backward: linear needs an array that was changed"):
        y.sum().backward()


def test_indices_and_labels_that_change_after_forward():
    """An index is copied, labels are done with or watched: none gives a wrong gradient."""
    for index in (np.array([0, 2]), g.tensor([0, 2])):
        x = leaf(1.0, 2.0, 3.0)
        y = x[index]
        index += -index
        y.sum().backward()
        assert values(x) == [1, 0, 1]
    x, labels = g.zeros(2, 3, requires_grad=True), g.tensor([0, 1])
    losses = g.cross_entropy(x, labels, "sum"), g.hinge_loss(x, labels)
    labels[0] = 2
    losses[0].backward()  # its gradient was made with the loss
    assert np.allclose(x.grad.numpy(), 1 / 3 - np.eye(2, 3), atol=1e-6)
    with pytest.raises(RuntimeError, match="needs an array that was changed in place"):
        losses[1].backward()


@pytest.mark.parametrize("order", ["channels_last", "channels_first"])
def test_a_change_of_layout_that_copies_nothing_is_a_view(order):
    """Images of one channel lie in memory alike in both orders."""
    x = g.zeros(2, 1, 3, 4) if order == "channels_last" else g.Tensor(np.zeros((2, 3, 4, 1)).transpose(0, 3, 1, 2))
    y = x.to(order)
    assert y.layout == order != x.layout and np.shares_memory(x.numpy(), y.numpy())
    loss = (g.ones(2, 1, 3, 4, requires_grad=True) * y).sum()
    x += 1
    with pytest.raises(RuntimeError, match="needs an array that was changed in place"):
        loss.backward()


def test_in_place_changes_of_a_graph_are_refused():
    x, other = leaf(1.0, 2.0), g.zeros(2)
    for bad in (
        lambda: x.__iadd__(1),
        lambda: x.__setitem__(0, 5.0),
        lambda: (x * 2).__imul__(2),
        lambda: x[0].__iadd__(1),
        lambda: other.__iadd__(x),
        lambda: other.__setitem__(0, x[0]),
    ):
        with pytest.raises(RuntimeError, match=r"in-place changes are not differentiated.*no_grad\(\)"):
            bad()
    assert x.numpy().tolist() == [1, 2] and other.numpy().tolist() == [0, 0]


def test_parameters_change_under_no_grad():
    x = leaf(1.0, 2.0)
    (x * x).sum().backward()
    with g.no_grad():
        x -= 0.5 * x.grad
    assert x.numpy().tolist() == [0, 0] and x.requires_grad and x.is_leaf


def test_numpy_of_a_graph_is_read_only():
    x = leaf(1.0)
    for y in (x, x * 2):
        with pytest.raises(ValueError, match="read-only"):
            y.numpy()[0] = 5
        with pytest.raises(ValueError, match="read-only"):
            np.asarray(y)[0] = 5
    assert g.zeros(1).numpy().flags.writeable


# --- memory -----------------------------------------------------------------------------------------------------------
def die(*references):
    return [reference() is None for reference in references] == [True] * len(references)


@pytest.fixture
def no_gc():
    """Reference counts alone free what is dropped: there are no cycles."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_arrays_that_are_not_saved_are_freed(no_gc):
    x = g.ones(4, requires_grad=True)
    h = x + 1
    k = h * 2
    array = weakref.ref(h.data)
    y = g.relu(k)
    mask = weakref.ref(y.node.saved[0])
    result = weakref.ref(k.data)
    del h, k
    assert die(array, result)
    y.sum().backward()
    assert die(mask)


def test_saved_arrays_are_freed_by_backward(no_gc):
    x = g.ones(4, requires_grad=True)
    h = g.exp(x)
    saved = weakref.ref(h.data)
    y = (h + 1).sum()
    del h
    assert not die(saved)
    y.backward()
    assert die(saved)


@pytest.mark.parametrize("trained", ["x", "weight"])
def test_only_what_the_wanted_gradients_need_is_kept(trained):
    for function in (g.conv2d, g.matmul, g.mul, lambda a, b: g.linear(a[0, 0], b[0, 0])):
        x = g.ones(1, 1, 3, 3, requires_grad=trained == "x")
        weight = g.ones(1, 1, 3, 3, requires_grad=trained == "weight")
        y = function(x, weight)
        (saved,) = (array for array in y.node.saved if array is not None)
        kept = weight if trained == "x" else x
        assert (saved if saved.base is None else saved.base) is kept.data


def test_a_dropped_graph_is_freed(no_gc):
    x = g.ones(4, requires_grad=True)
    y = g.exp(x * 2)
    y.retain_grad()
    node, array = weakref.ref(y.node), weakref.ref(y.data)
    z = y.sum()
    del y
    assert not die(node)
    z.backward()
    del z
    assert die(node, array)


def test_no_grad_keeps_nothing(no_gc):
    x = g.ones(4, requires_grad=True)
    with g.no_grad():
        h = g.exp(x)
        array = weakref.ref(h.data)
        y = h * 2
        del h
    assert die(array) and y.node is None
