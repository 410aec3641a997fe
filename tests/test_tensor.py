"""Tensors without gradients: creation, dtypes, conversion, views and in-place changes, printing."""

import copy

import numpy as np
import pytest

import gpucnn as g
from gpucnn.dtype import promote
from gpucnn.tensor import as_tensor

BF16 = g.bfloat16


# --- creation ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (1.5, "float32"),
        (3, "int64"),
        (True, "bool"),
        ([], "float32"),
        ([[1.0, 2.0]], "float32"),
        ([1, 2.5], "float32"),
        ([1, 2], "int64"),
        ([False], "bool"),
        (np.float64(2), "float64"),
        (np.zeros(2), "float64"),
        (np.zeros(2, np.float16), "float16"),
        (np.zeros(2, np.uint8), "uint8"),
        (np.zeros(2, BF16), "bfloat16"),
        ([np.float64(2)], "float32"),
        (range(3), "int64"),
    ],
)
def test_dtype_by_default(data, dtype):
    x = g.tensor(data)
    assert x.dtype == dtype
    assert np.array_equal(x.numpy(), np.asarray(data).astype(x.dtype))


def test_tensor_copies_and_from_numpy_shares():
    a = np.arange(6, dtype=np.float32).reshape(2, 3)
    copied, shared = g.tensor(a), g.from_numpy(a)
    a[0, 0] = 9
    assert copied[0, 0].item() == 0 and shared[0, 0].item() == 9
    shared[1, 2] = 7
    assert a[1, 2] == 7
    again = g.tensor(shared)
    again[0, 0] = 1
    assert a[0, 0] == 9


def test_digits_survive_the_way_to_float64():
    assert g.tensor(0.1, dtype="float64").item() == 0.1
    assert g.tensor([0.1, 0.2], dtype="float64").numpy().tolist() == [0.1, 0.2]
    assert g.tensor([16_777_217.0], dtype="int64").item() == 16_777_217
    assert g.arange(0, 1, 0.1, dtype="float64").numpy().tolist() == np.arange(0, 1, 0.1).tolist()
    assert g.full((), 0.1, dtype="float64").item() == 0.1


def test_foreign_byte_order_is_converted():
    """Native code would read the bytes of a big-endian array, such as one from an idx file, in the wrong order."""
    values = np.array([1.0, 258.0], ">f4")
    for x in (g.from_numpy(values), g.tensor(values), g.zeros(2, dtype=">f4") + values):
        assert x.dtype.isnative and x.numpy().tolist() == [1, 258]
    assert g.matmul(g.tensor(values), g.tensor(values)).item() == 1 + 258**2


def test_subclasses_of_arrays_become_plain_arrays(tmp_path):
    mapped = np.memmap(tmp_path / "values", np.float32, "w+", shape=(3,))
    mapped[:] = 1, 2, 3
    x = g.from_numpy(mapped)
    assert x.device == "cpu" and type(x.data) is np.ndarray and g.exp(x).shape == (3,)
    x[0] = 5
    assert mapped[0] == 5


@pytest.mark.parametrize("make", [g.zeros, g.ones, g.randn, g.rand])
def test_shapes_as_numbers_or_tuple(make):
    for shape in ((2, 3), [2, 3], (0,), ()):
        assert make(*shape).shape == make(shape).shape == tuple(shape)
    assert make(np.int64(4)).shape == (4,)
    x = make(2, 3, dtype="bfloat16", requires_grad=True)
    assert x.dtype == BF16 and x.requires_grad and x.is_leaf


def test_likes_and_ranges():
    x = g.zeros(2, 3, dtype="float16", requires_grad=True)
    for like, value in ((g.zeros_like(x), 0), (g.ones_like(x), 1)):
        assert like.dtype == "float16" and like.numpy().tolist() == [[value] * 3] * 2 and not like.requires_grad
    assert g.arange(4).numpy().tolist() == [0, 1, 2, 3] and g.arange(4).dtype == np.int64
    assert g.arange(1, 2, 0.5).numpy().tolist() == [1, 1.5] and g.arange(1, 2, 0.5).dtype == np.float32


def test_seeds():
    g.manual_seed(5)
    first = g.randn(100).numpy(), g.rand(100).numpy()
    g.manual_seed(5)
    assert np.array_equal(g.randn(100).numpy(), first[0]) and np.array_equal(g.rand(100).numpy(), first[1])
    assert not np.array_equal(g.rand(100).numpy(), first[1])
    assert abs(first[0].mean()) < 0.5 and 0.5 < first[0].std() < 1.5
    assert first[1].min() >= 0 and first[1].max() < 1


# --- dtypes -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("a", "b", "result"),
    [
        ("float16", "bfloat16", "float32"),
        ("float16", "float32", "float32"),
        ("bfloat16", "float32", "float32"),
        ("bfloat16", "float64", "float64"),
        ("bfloat16", "int64", "bfloat16"),
        ("int32", "float16", "float16"),
        ("bool", "bfloat16", "bfloat16"),
        ("uint8", "int8", "int16"),
        ("bool", "int32", "int32"),
        ("int64", "int32", "int64"),
    ],
)
def test_promotion(a, b, result):
    for first, second in ((a, b), (b, a)):
        assert promote(g.dtype.as_dtype(first), g.dtype.as_dtype(second)) == result
        assert (g.ones(2, dtype=first) + g.ones(2, dtype=second)).dtype == result


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_numbers_take_the_dtype_of_a_float_tensor(dtype):
    x = g.ones(2, dtype=dtype)
    for y in (x + 1, 1 + x, x - 0.5, 0.5 - x, x * 2, 2.0 * x, x / 3, 3 / x, x**2, 2**x, x * True, g.maximum(x, 0)):
        assert y.dtype == dtype
    assert (x * np.float64(0.5)).dtype == dtype


def test_numbers_beside_integers_and_bools():
    assert (g.tensor([1]) + 1).dtype == np.int64 and (g.tensor([1]) * 0.5).dtype == np.float32
    assert (g.tensor([1], dtype="uint8") + 1).dtype == np.uint8
    assert (g.tensor([1], dtype="uint8") - 300).item() == -299
    assert (g.tensor([True, False]) * 3).numpy().tolist() == [3, 0]
    assert (g.tensor([True, False]) + True).dtype == bool


def test_astype_and_to():
    x = g.tensor([1.5, -2.5])
    assert x.to("float32") is x and x.to("cpu") is x and x.astype(np.float32) is x
    assert x.to("bfloat16").dtype == BF16 and x.astype("int64").numpy().tolist() == [1, -2]


# --- NumPy beside tensors ---------------------------------------------------------------------------------------------
def test_operators_with_arrays_and_lists():
    a, x = np.array([1.0, 2.0], np.float32), g.tensor([3.0, 5.0])
    for y, values in ((a + x, [4, 7]), (x - a, [2, 3]), (a - x, [-2, -3]), (a * x, [3, 10]), (a / x, a / x.numpy())):
        assert type(y) is g.Tensor and y.numpy().tolist() == list(values)
    assert type(a < x) is g.Tensor and type(a @ x) is g.Tensor and (a @ x).item() == 13
    assert (np.float32(2) * x).numpy().tolist() == [6, 10]
    assert g.add([1.0, 2.0], x).numpy().tolist() == [4, 7] and (x - [1, 2]).numpy().tolist() == [2, 3]


def test_array_protocol():
    x = g.tensor([[1.0, 2.0]])
    assert np.shares_memory(np.asarray(x), x.data)
    assert np.array(x).dtype == np.float32 and not np.shares_memory(np.array(x), x.data)
    assert np.asarray(x, dtype=np.float64).dtype == np.float64
    with pytest.raises(ValueError, match="copy"):
        np.array(x, dtype=np.float64, copy=False)
    assert np.stack([g.tensor(1.0), g.tensor(2.0)]).tolist() == [1, 2]
    assert g.tensor([g.tensor(1.0), g.tensor(2.0)]).numpy().tolist() == [1, 2]


def test_python_protocols():
    x = g.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert len(x) == 2 and [row.numpy().tolist() for row in x] == [[1, 2], [3, 4]]
    assert float(x[0, 1]) == 2 and int(x[1, 0]) == 3 and bool(x[0, 0]) and [5, 6, 7][g.tensor(1)] == 6
    assert f"{x[1, 1]:.2f}" == "4.00" and f"{x[1, 1]}" == "tensor(4.)"
    assert x[1, 0].item() == 3 and type(x[1, 0].item()) is float and type(g.tensor([2]).item()) is int
    assert type(g.tensor(1.0, dtype="bfloat16").item()) is float
    assert len({x, x, g.tensor(1.0)}) == 2  # hashed by identity
    other = copy.deepcopy(x)
    other[0, 0] = 9
    assert x[0, 0].item() == 1


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: g.tensor([1.0, 2.5]), "tensor([1. , 2.5])"),
        (lambda: g.tensor(3), "tensor(3)"),
        (lambda: g.tensor([1.0], dtype="bfloat16"), "tensor([1.], dtype=bfloat16)"),
        (lambda: g.tensor([True]), "tensor([ True], dtype=bool)"),
        (lambda: g.zeros(1, requires_grad=True), "tensor([0.], requires_grad=True)"),
        (lambda: g.zeros(0, 3), "tensor([], shape=(0, 3))"),
        (lambda: g.tensor([[1.0], [2.0]]), "tensor([[1.],\n        [2.]])"),
    ],
)
def test_repr(make, text):
    assert repr(make()) == text


def test_repr_of_many_values_is_short():
    assert len(repr(g.zeros(1000, 1000))) < 1000 and "..." in repr(g.zeros(1000, 1000))


# --- views and in-place changes ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "view",
    [
        lambda x: x[1],
        lambda x: x[1, 2],
        lambda x: x[..., ::-1],
        lambda x: x[None, 1:],
        lambda x: x.reshape(6),
        lambda x: x.reshape(-1, 2),
        lambda x: x.T,
        lambda x: x.permute(1, 0),
        lambda x: x.unsqueeze(0),
        lambda x: x.flatten(),
        lambda x: x.detach(),
        lambda x: x.detach()[0].unsqueeze(0).T,
    ],
)
def test_views_share_memory_both_ways(view):
    x = g.zeros(2, 3)
    v = view(x)
    v += 1
    assert x.numpy().sum() == v.size
    x += 1
    assert (v.numpy() == 2).all()


def test_one_element_of_a_vector_is_a_view():
    x = g.zeros(3)
    first = x[0]
    first += 5
    assert first.shape == () and x.numpy().tolist() == [5, 0, 0]


@pytest.mark.parametrize(
    "index", [[0, 1], np.array([0, 1]), g.tensor([0, 1]), np.array([True, True]), g.tensor([1]) > 0]
)
def test_advanced_indices_copy(index):
    x = g.zeros(2, 3) if len(index) == 2 else g.zeros(1, 3)
    v = x[index]
    v += 1
    assert not x.numpy().any()


def test_reshape_copies_only_where_it_must():
    x = g.zeros(2, 3)
    assert np.shares_memory(x.reshape(3, 2).data, x.data) and not np.shares_memory(x.T.reshape(6).data, x.data)


def test_setitem():
    x = g.zeros(3, 4)
    x[1] = 2
    x[:, 0] = g.tensor([7.0, 8.0, 9.0])
    x[g.tensor([0, 2]), 3] = [5, 6]
    x[x > 8.5] = -1.0
    assert x.numpy().tolist() == [[7, 0, 0, 5], [8, 2, 2, 2], [-1, 0, 0, 6]]
    x[1:] = x[:-1]  # overlapping memory
    assert x.numpy().tolist() == [[7, 0, 0, 5], [7, 0, 0, 5], [8, 2, 2, 2]]


def test_augmented_assignment_keeps_memory_and_dtype():
    for dtype in ("float32", "float16", "bfloat16", "int64"):
        x = g.ones(2, dtype=dtype)
        memory = x.data
        x += 3
        x *= g.tensor([2, 3])
        x -= 1
        assert x.data is memory and x.dtype == dtype and x.numpy().tolist() == [7, 11]
    x = g.ones(2, dtype="bfloat16")
    x += g.ones(2, dtype="float16")
    x /= 4
    assert x.dtype == BF16 and x.numpy().tolist() == [0.5, 0.5]


def test_a_refused_change_changes_nothing():
    x = g.zeros(2, 3)
    for bad in (
        lambda: x.__iadd__(g.zeros(4)),
        lambda: x.__setitem__(0, [1.0, 2.0]),
        lambda: x.__imul__(g.zeros(2, 2, 3)),
    ):
        with pytest.raises(ValueError):
            bad()
    assert not x.numpy().any() and x.version == [0]


def test_as_tensor_shares_what_it_can():
    x, a = g.zeros(2), np.zeros(2)
    assert as_tensor(x) is x and np.shares_memory(as_tensor(a).data, a)
