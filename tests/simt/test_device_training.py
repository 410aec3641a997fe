"""Training on "cuda", without a GPU: networks learn as on the CPU, and runs are saved and resumed."""

import numpy as np
import pytest

import gpucnn as g
from gpucnn import device
from gpucnn.training import Run, load_recipe

pytestmark = pytest.mark.usefixtures("stand_in")


def lenet_steps(where, dtype, images, labels, optimizer, amp=None):
    """The losses of three steps from the same weights, and the weights after them."""
    g.manual_seed(0)
    model = g.models.lenet().to(where).to(dtype)
    optimizer = optimizer(model.parameters())
    scaler, losses = g.GradScaler(factor=1024), []  # at 65536 the first steps would be left out
    for _ in range(3):
        optimizer.zero_grad()
        with g.autocast(amp):
            loss = g.cross_entropy(model(g.tensor(images, device=where).astype(dtype)), g.tensor(labels, device=where))
        if amp:
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            g.optim.clip_grad_norm(model.parameters(), 5)
            assert scaler.step(optimizer)
            scaler.update()
        else:
            loss.backward()
            optimizer.step()
        losses.append(loss.item())
    return np.concatenate([losses, *(p.numpy().astype(np.float64).ravel() for p in model.parameters())])


OPTIMIZERS = {
    "sgd": lambda p: g.optim.SGD(p, 0.05, momentum=0.9, weight_decay=1e-3, nesterov=True),
    "adam": lambda p: g.optim.Adam(p, 1e-3),
    "rmsprop": lambda p: g.optim.RMSprop(p, 1e-3, eps=1e-3, momentum=0.5),
}


def distances(dtype, optimizer, amp=None):
    """How far three steps on the CPU and on the device end from the same steps in float64."""
    images, labels = next(iter(g.data.DataLoader(g.data.digits()[0], 6)))
    inputs = images.numpy(), labels.numpy(), OPTIMIZERS[optimizer]
    ref = lenet_steps("cpu", "float64", *inputs)
    return [np.linalg.norm(lenet_steps(where, dtype, *inputs, amp) - ref) for where in ("cpu", "cuda")]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_lenet_learns_as_on_the_cpu(optimizer, dtype):
    """Three steps differ from float64 by no more than a few times what the same steps on the CPU do."""
    on_cpu, on_cuda = distances(dtype, optimizer)
    assert on_cuda <= 4 * on_cpu


@pytest.mark.parametrize("amp", ["float16", "bfloat16"])
def test_lenet_learns_in_mixed_precision_as_on_the_cpu(amp):
    on_cpu, on_cuda = distances("float32", "sgd", amp)
    assert on_cuda <= 4 * on_cpu


@pytest.mark.parametrize("gpu", ["cuda", "cuda:1"])
def test_a_run_is_saved_and_resumed_on_the_device(tmp_path, gpu, first_gpu_again):
    def small(run):
        run.training.loader.data, run.training.test.data = run.training.loader.data[:24], run.training.test.data[:10]
        return run

    whole = small(Run(load_recipe("lenet", dtype="bfloat16", epochs=2, batch=12), device=gpu))
    whole.training.fit(1)
    whole.save(tmp_path / "checkpoint.safetensors")
    row = whole.training.fit(2)[-1]
    device.use("cuda")
    resumed = small(Run.resume(tmp_path / "checkpoint.safetensors"))
    again = resumed.training.fit(2)[-1]
    assert {key: row[key] for key in row if key != "seconds"} == {key: again[key] for key in row if key != "seconds"}
