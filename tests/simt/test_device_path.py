"""Everything that gpucnn does on "cuda", run without a GPU: Python on a stand-in for CuPy, native code on the shim."""

from dataclasses import replace

import numpy as np
import pytest

import gpucnn as g
from gpucnn import config, device, native
from gpucnn.conv import ALGOS, ConvShape, choose, plan
from gpucnn.conv import run as run_conv
from gpucnn.conv.filters import drop_filters, kept_bytes
from tests.cases import operands
from tests.conv import test_algos
from tests.kernels.harness import DTYPES
from tests.ops import test_channels_last
from tests.ops.table import CASES
from tests.simt import fake_cupy
from tests.tolerance import check_conv

pytestmark = pytest.mark.usefixtures("stand_in")
OWN_TENSORS = {"batch_norm", "cross_entropy", "dropout", "where"}  # make tensors on the CPU, or other random numbers
ON_DEVICE = [case for case in CASES if case.name not in OWN_TENSORS]


def run(function, arrays, where, gy=None):
    """(result, gradients) as NumPy arrays; all of it is computed on the device `where`."""
    leaves = [g.tensor(a, device=where, requires_grad=True) for a in arrays]
    y = function(*leaves)
    gy = np.ones(y.shape, y.dtype) if gy is None else gy
    y.backward(g.tensor(gy, device=y.device))
    assert {leaf.grad.device for leaf in leaves} == {leaf.device for leaf in leaves}
    return [y.numpy(), *(leaf.grad.numpy() for leaf in leaves)]


@pytest.mark.parametrize("case", ON_DEVICE, ids=str)
def test_operation(case, dtype):
    """The law of tests/ops, on the device: a few roundings away from float64 on the CPU."""
    arrays = case.arrays(dtype)
    wide = [a.astype(np.float64) for a in arrays]
    gy = np.random.default_rng(1).standard_normal(run(case.function, wide, "cpu")[0].shape).astype(DTYPES[dtype])
    results = run(case.function, arrays, "cuda", gy)
    for result, ref in zip(results, run(case.function, wide, "cpu", gy.astype(np.float64)), strict=True):
        assert result.dtype == DTYPES[dtype]
        case.agree(result, ref, case.forward + case.gradient)


@pytest.mark.parametrize("case", test_channels_last.EVERY, ids=str)
def test_channels_last_on_the_device(case, dtype):
    """Where results are in C order whatever the order of the operands, too, operations keep the order of images."""
    test_channels_last.check(case, dtype, ["channels_last"] * len(case.inputs), "cuda")


@pytest.mark.parametrize("channels", [8, 3])
def test_images_at_addresses_of_no_vectors(channels):
    """An image that begins one element behind a multiple of 16 bytes."""
    size = (2, 4, 6, channels)
    memory = np.random.default_rng(0).standard_normal(1 + int(np.prod(size))).astype(np.float16)
    apart = device.to_device(memory, "cuda")[1:].reshape(size).transpose(0, 3, 1, 2)
    assert apart.data.ptr % 16 == 2 and g.Tensor(apart).layout == "channels_last"
    for function in (lambda x: g.max_pool2d(x, 2), lambda x: g.avg_pool2d(x, 2), lambda x: x.to("channels_first")):
        plain = function(g.tensor(memory[1:].reshape(size).transpose(0, 3, 1, 2)))
        assert np.array_equal(function(g.Tensor(apart)).numpy(), plain.numpy())
    x = memory[1:].reshape(-1, channels)
    zero, one = np.zeros(channels, np.float16), np.ones(channels, np.float16)

    def norm(where):
        stats = [g.tensor(a, device=where) for a in (zero, one)]
        pixels = g.Tensor(apart) if where == "cuda" else g.tensor(x.reshape(size).transpose(0, 3, 1, 2))
        return g.batch_norm(pixels, *stats, training=True).numpy()

    assert np.abs(norm("cuda") - norm("cpu")).max() <= 2**-9  # a unit in the last place of values up to 4


# The first case of every row, direction and dtype.
FIRST = {(direction, name, dtype): case for direction, name, case, dtype in reversed(test_algos.ON_CUDA)}


@pytest.mark.parametrize(("taken", "case"), FIRST.items(), ids=str)
def test_what_a_gpu_is_asked(taken, case):
    """The test of every row by way of Python, which else runs on a GPU only."""
    direction, name, dtype = taken
    test_algos.test_law_on_cuda(direction, name, case, dtype)


def test_find_and_plan_on_the_device(dtype):
    """find times every row that takes the shape through the device's own path; plan shows the times."""
    shape = ConvShape(1, 4, 6, 5, 3, 3, 2, (1, 0))
    x, w = operands(shape, "fwd", DTYPES[dtype])
    arrays = [device.to_device(array, "cuda") for array in (x, w)]
    check_conv("fwd", shape, x, w, device.to_device(run_conv("fwd", shape, *arrays, algorithm="find"), "cpu"))
    lines = plan(shape, dtype=dtype, device="cuda").lines
    timed = {line.name for line in lines if line.excluded is None}
    assert {"direct", "im2col", "implicit"} <= timed and ("implicit_hopper" in timed) == (dtype != "float32")
    assert all(line.seconds > 0 for line in lines if line.name in timed)


def test_a_row_for_another_device_is_left_out():
    """Of the plan with its reason, and by name with an error; where the device is right, it is there."""
    shape = ConvShape(1, 4, 6, 5, 3, 3, 2)

    def excluded():
        choose._candidates.cache_clear()
        lines = plan(shape, dtype="float16", device="cuda").lines
        return next(line.excluded for line in lines if line.name == "implicit_hopper")

    assert excluded() is None
    native.cuda().hopper(False)
    try:
        assert excluded() == "needs a GPU of compute capability 9.0, and code for sm_90a"
        x, w = (device.to_device(array, "cuda") for array in operands(shape, "fwd", np.float16))
        with pytest.raises(ValueError, match=r"implicit_hopper needs a GPU of compute capability 9.0"):
            run_conv("fwd", shape, x, w, algorithm="implicit_hopper")
    finally:
        native.cuda().hopper(True)
        choose._candidates.cache_clear()


def test_a_row_that_has_no_wgrad():
    """Its name is an error there; auto and find know nothing of it; beside the operands it has transformed filters."""
    shape = ConvShape(1, 5, 6, 7, 4, 3, 3)
    filters = native.cuda().conv_winograd2_fused_filters_bytes(shape, "float32", "fwd")
    lines = {line.name: line for line in plan(shape, device="cuda").lines}
    assert lines["winograd2_fused"].workspace == filters + choose.ALIGNMENT
    assert "winograd2_fused" not in {line.name for line in plan(shape, device="cuda", direction="wgrad").lines}
    x, dy = (device.to_device(array, "cuda") for array in operands(shape, "wgrad", np.float32))
    with pytest.raises(ValueError, match=r"conv wgrad: algorithm is auto, find or one of .*came 'winograd2_fused'"):
        run_conv("wgrad", shape, x, dy, algorithm="winograd2_fused")


def test_a_bias_at_any_address(dtype):
    """A part of an array need not begin at a multiple of 16 bytes, as cuBLASLt wants it."""
    shape, rng = ConvShape(2, 6, 5, 3, 8, 1, 1, channels_last=True), np.random.default_rng(0)
    sizes = (*shape.operands("fwd")[:2], shape.K + 1)
    x, w, bias = (device.to_device(rng.integers(-4, 5, size).astype(DTYPES[dtype]), "cuda") for size in sizes)
    results = [run_conv("fwd", shape, x, w, bias=b, algorithm="gemm").get() for b in (bias[1:], bias[1:].copy())]
    assert np.array_equal(*results)


@pytest.mark.parametrize("direction", ["fwd", "dgrad"])
def test_kept_filters_serve_both_orders_of_memory(direction):
    """Of every row that transforms filters: transformed once, and the same for images in either order."""
    first = ConvShape(1, 12, 6, 7, 9, 3, 3, pad=(1, 1))
    last = replace(first, channels_last=True)
    a, w = (device.to_device(array, "cuda") for array in operands(first, direction, np.float16))
    rows = [name for name, row in ALGOS["cuda", direction].items() if row.transform and row.takes(first, "float16")]
    assert "implicit_hopper" in rows
    for name in rows:
        drop_filters()
        run_conv(direction, first, a, w, algorithm=name, version=0)
        kept = kept_bytes()
        assert kept > 0
        results = [run_conv(direction, last, a, w, algorithm=name, version=version).get() for version in (0, None)]
        assert kept_bytes() == kept and np.array_equal(*results)
    drop_filters()


def test_filters_are_kept_for_one_stream(monkeypatch):
    """Another stream, which would not wait until they are written, has its own."""
    shape = ConvShape(1, 12, 6, 7, 9, 3, 3, pad=(1, 1))
    x, w = (device.to_device(array, "cuda") for array in operands(shape, "fwd", np.float32))
    drop_filters()
    first = run_conv("fwd", shape, x, w, algorithm="winograd2", version=0)
    kept, other = kept_bytes(), fake_cupy.Stream()
    other.ptr = 1
    monkeypatch.setattr(fake_cupy.cuda, "get_current_stream", lambda: other)
    for _ in range(2):
        assert np.array_equal(run_conv("fwd", shape, x, w, algorithm="winograd2", version=0).get(), first.get())
        assert kept_bytes() == 2 * kept > 0
    drop_filters()
    other.capturing = True  # a graph would go on using what is freed when the weight changes
    assert np.array_equal(run_conv("fwd", shape, x, w, algorithm="winograd2", version=0).get(), first.get())
    assert kept_bytes() == 0


@pytest.mark.parametrize("training", [False, True])
def test_batch_norm(training, dtype):
    """Results, gradients and running statistics are those of float64 on the CPU, but for a few roundings."""
    (case,) = (case for case in CASES if case.name == "batch_norm" and case.variant == "training" * training)
    arrays = case.arrays(dtype)
    gy = np.random.default_rng(1).standard_normal(arrays[0].shape).astype(DTYPES[dtype])

    def call(arrays, gy, where):
        stats = g.zeros(3, device=where), g.ones(3, device=where)
        results = run(lambda x, *rest: g.batch_norm(x, *stats, *rest, training=training), arrays, where, gy)
        assert {s.device for s in stats} == {g.zeros(1, device=where).device}
        return results, [s.numpy() for s in stats]

    results, stats = call(arrays, gy, "cuda")
    wide, wide_stats = call([a.astype(np.float64) for a in arrays], gy.astype(np.float64), "cpu")
    for result, ref in zip(results, wide, strict=True):
        case.agree(result, ref, case.forward + case.gradient)
    for result, ref in zip(stats, wide_stats, strict=True):
        case.agree(result, ref.astype(np.float64), 2)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_cross_entropy(reduction, dtype):
    logits = np.random.default_rng(0).standard_normal((5, 7)).astype(DTYPES[dtype])
    labels = np.array([0, 6, 3, 3, 1])

    def call(array, where):
        return run(lambda x: g.cross_entropy(x, g.tensor(labels, device=where), reduction), [array], where)

    (case,) = (case for case in CASES if case.name == "cross_entropy" and not case.variant)
    for result, ref in zip(call(logits, "cuda"), call(logits.astype(np.float64), "cpu"), strict=True):
        case.agree(result, ref, case.forward + case.gradient)


def test_labels_are_checked_on_the_device():
    logits = g.zeros(2, 3, device="cuda")
    with pytest.raises(ValueError, match="labels lie in"):
        g.cross_entropy(logits, g.tensor([0, 3], device="cuda"))
    with pytest.raises(TypeError, match="one device"):
        g.cross_entropy(logits, g.tensor([0, 1]))


def test_dropout_repeats_with_its_seed(dtype):
    x = g.ones(40, 50, dtype=dtype, device="cuda")
    g.manual_seed(3)
    first = g.dropout(x, 0.25)
    g.manual_seed(3)
    assert (first.numpy() == g.dropout(x, 0.25).numpy()).all()
    kept = first.numpy() != 0
    assert first.device == "cuda:0" and 0.7 < kept.mean() < 0.8
    assert not (g.dropout(x, 0.25).numpy() == first.numpy()).all()


def test_where(dtype):
    mask = np.array([[True, False, True], [False, True, False]])
    arrays = [array.astype(DTYPES[dtype]) for array in (np.ones((2, 3)), np.zeros(3))]
    results = [run(lambda a, b: g.where(g.tensor(mask, device=a.device), a, b), arrays, where)
               for where in ("cpu", "cuda")]  # fmt: skip
    for a, b in zip(*results, strict=True):
        assert a.dtype == b.dtype == DTYPES[dtype] and np.array_equal(a, b)


def test_a_broadcast_view_is_not_written(dtype):
    """CuPy would write it: one element changed would be several."""
    x = g.zeros(3, dtype=dtype, device="cuda")
    view = g.broadcast_to(x, (2, 3))
    with pytest.raises(ValueError, match=r"\+=: .* broadcast view"):
        view += 1
    with pytest.raises(ValueError, match=r"setitem: .* broadcast view"):
        view[0] = 1
    assert not x.numpy().any()
    empty = g.broadcast_to(g.zeros(1, 0, dtype=dtype, device="cuda"), (2, 0))
    empty += 1  # has no element that another one shares


@pytest.mark.parametrize("workspace", [10_000, 100_000])
def test_conv2d_in_little_workspace(workspace, dtype):
    (case,) = (case for case in CASES if str(case) == "conv2d")
    arrays = case.arrays(dtype)
    ref = run(case.function, [a.astype(np.float64) for a in arrays], "cpu")
    with config.using(workspace=workspace):
        results = run(case.function, arrays, "cuda")
    for result, wide in zip(results, ref, strict=True):
        case.agree(result, wide, case.forward + case.gradient)


@pytest.fixture
def pool():
    """The stand-in's memory pool, with nothing kept and no limit."""
    fake_cupy.pool.free_all_blocks()
    yield fake_cupy.pool
    fake_cupy.pool.set_limit(0)


def large_conv():
    shape = ConvShape(1, 16, 9, 8, 12, 3, 3)
    x, w = operands(shape, "fwd", np.float32)
    return shape, x, w, [device.to_device(array, "cuda") for array in (x, w)]


def test_out_of_memory_frees_the_pool_and_tries_again(pool):
    shape, _, _, arrays = large_conv()
    whole = run_conv("fwd", shape, *arrays, algorithm="winograd4")
    fake_cupy.empty(10**6, "uint8")  # its memory stays in the pool
    assert pool.kept >= 10**6
    pool.set_limit(pool.used + 10**6)
    again = run_conv("fwd", shape, *arrays, algorithm="winograd4")
    assert pool.kept < 10**6 and np.array_equal(again.get(), whole.get())


def test_out_of_memory_falls_to_a_row_that_needs_less(pool):
    shape, x, w, arrays = large_conv()
    table = plan(shape, device="cuda")
    (wanted,) = (line.workspace for line in table.lines if line.name == table.choice)
    pool.set_limit(pool.used + 4 * int(np.prod(shape.y)) + wanted // 3)
    needs = f"conv fwd: {table.choice} needs {wanted} bytes .* Out of memory"
    with pytest.raises(MemoryError, match=needs):
        run_conv("fwd", shape, *arrays, algorithm=table.choice)
    with pytest.warns(UserWarning, match=f"{needs} .*; .* ran with"):
        y = run_conv("fwd", shape, *arrays)
    check_conv("fwd", shape, x, w, y.get())


def test_a_row_that_runs_out_of_memory_while_it_is_timed_is_left_out(pool):
    shape, x, w, arrays = large_conv()
    pool.set_limit(pool.used + 4 * int(np.prod(shape.y)))
    with pytest.warns(UserWarning, match="failed while it was timed .Out of memory"):
        y = run_conv("fwd", shape, *arrays, algorithm="find")
    check_conv("fwd", shape, x, w, y.get())
    timed = {line.name for line in plan(shape, device="cuda").lines if line.seconds}
    assert "direct" in timed and not timed & {"im2col", "winograd4"}


def test_float64_is_refused_by_name():
    x, w = g.ones(1, 1, 3, 3, dtype="float64", device="cuda"), g.ones(1, 1, 2, 2, dtype="float64", device="cuda")
    with pytest.raises(TypeError, match="float64"):
        g.conv2d(x, w)


def test_mixed_devices_are_refused():
    with pytest.raises(TypeError, match="device"):
        g.add(g.ones(3), g.ones(3, device="cuda"))
    with pytest.raises(TypeError, match="device"):
        g.conv2d(g.ones(1, 1, 3, 3), g.ones(1, 1, 2, 2, device="cuda"))


def test_arrays_on_two_gpus_are_refused(first_gpu_again):
    """CuPy makes a result on the current GPU, where a kernel of the GPU of the operands cannot write."""
    x = g.ones(2, 3, device="cuda:1")
    with pytest.raises(TypeError, match=r"leaky_relu_fwd: all arrays are on .* but came cuda:1 and cuda:0"):
        g.relu(x)
    device.use("cuda:1")
    assert g.relu(x).device == "cuda:1"
