"""A network in channels_last order on "cuda", without a GPU: what is copied, who measures, and the same results."""

import inspect

import numpy as np
import pytest

import gpucnn as g
from gpucnn import config, device, layout, native, nn
from gpucnn.conv import ConvShape, run
from gpucnn.models.resnet import BasicBlock, Bottleneck
from tests.cases import operands

pytestmark = pytest.mark.usefixtures("stand_in")


def network():
    g.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
        *(BasicBlock(16, 24, stride=2), Bottleneck(24, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 4)),
    )


def step(order, dtype="float16"):
    """Loss, gradient of the images and of all parameters."""
    model = network().to("cuda", dtype).to(order)
    rng = np.random.default_rng(1)
    images = g.tensor(rng.standard_normal((2, 3, 12, 10), np.float32).astype(dtype), device="cuda", requires_grad=True)
    loss = g.cross_entropy(model(images), g.tensor(np.array([1, 3]), device="cuda"))
    loss.backward()
    return [t.numpy().astype(np.float64) for t in (loss, images.grad, *(p.grad for p in model.parameters()))]


def test_a_step_is_the_same_in_either_order():
    for first, last in zip(*map(step, layout.LAYOUTS), strict=True):
        assert np.linalg.norm(first - last) <= 2e-2 * max(np.linalg.norm(first), 1e-3)


def test_images_are_copied_at_the_border_only(monkeypatch):
    """Every convolution takes a row that needs no copies; batch norm gets statistics from those that measure."""
    said, moved, called = [], [], []
    report, real = run.__globals__["report"], layout.in_memory

    def counted(array, last, out=None):
        if array.ndim == 4 and not (layout.channels_last(array) if last else array).flags.c_contiguous:
            moved.append((array.shape, last))
        return real(array, last, out)

    monkeypatch.setattr(layout, "in_memory", counted)
    for function in map(inspect.unwrap, (g.conv2d, g.batch_norm, g.max_pool2d, g.to_layout)):
        monkeypatch.setitem(function.__globals__, "in_memory", counted)
    monkeypatch.setitem(run.__globals__, "report", lambda *args: said.append(args[-1]) or report(*args))
    native_cuda = native.cuda()

    class Told:
        def __getattr__(self, name):
            called.append(name)
            return getattr(native_cuda, name)

    monkeypatch.setattr(native, "_load_cuda", lambda: (Told(), None))
    monkeypatch.setattr(native, "cuda", lambda: Told())
    with config.using(debug=1):
        step("channels_last")
    assert {choice.copies for choice in said} == {0}
    assert {choice.name for choice in said} == {"implicit_hopper", "gemm"}
    border, pooled = (
        ((2, 3, 12, 10), True),
        ((2, 32, 3, 3), True),
    )  # the images; a gradient that has one value a channel
    assert set(moved) <= {border, pooled, ((2, 3, 12, 10), False)}, moved
    # Four convolutions of 3x3 and one of stride 2 measure for their batch norm; three of 1x1, by gemm, do not.
    assert (called.count("conv_implicit_hopper_fwd_statistics"), called.count("batch_norm_stats")) == (5, 3)


@pytest.mark.parametrize("algorithm", ["implicit_hopper", "im2col"])
def test_statistics_for_batch_norm(algorithm):
    """Of the rounded result; of a row that does not measure, none."""
    shape = ConvShape(2, 8, 7, 6, 12, 3, 3, channels_last=True)
    x, w = (device.to_device(array, "cuda") for array in operands(shape, "fwd", np.float16))
    statistics = []
    y = device.to_device(run("fwd", shape, x, w, algorithm=algorithm, statistics=statistics), "cpu").astype(np.float64)
    assert len(statistics) == 2 * (algorithm == "implicit_hopper")
    for found, expected in zip(statistics, (y.mean((0, 2, 3)), y.var((0, 2, 3))), strict=False):
        np.testing.assert_allclose(device.to_device(found, "cpu"), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("options", [{"relu": True}, {"bias": True}, {"workspace": 1000}])
def test_no_statistics_of_another_result_or_without_room(options):
    shape, statistics = ConvShape(2, 8, 30, 30, 12, 3, 3, channels_last=True), []
    x, w = (device.to_device(array, "cuda") for array in operands(shape, "fwd", np.float16))
    bias = device.to_device(np.ones(12, np.float16), "cuda") if options.get("bias") else None
    limit = options.get("workspace", 2**28)
    with config.using(workspace=limit + native.cuda().conv_implicit_hopper_filters_bytes(shape, "float16", "fwd")):
        run("fwd", shape, x, w, bias=bias, relu="relu" in options, algorithm="implicit_hopper", statistics=statistics)
    assert not statistics
