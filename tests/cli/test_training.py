"""Training: resumed runs equal straight ones bit for bit, in process and after kill -9."""

import dataclasses
import signal
import time
from pathlib import Path

import numpy as np
import pytest

import gpucnn
from gpucnn import models, nn, training
from gpucnn.checkpoint import read
from gpucnn.training import Options, Training


@pytest.fixture
def dropout_net(monkeypatch):
    """A network with dropout and batch norm: its state is more than weights."""

    def build():
        return nn.Sequential(
            *(nn.Conv2d(1, 4, 5, stride=2), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Dropout(0.3), nn.Linear(144, 10)),
        )

    monkeypatch.setitem(models.MODELS, "dropout", build)
    return "dropout"


def same(a, b):
    arrays, others = a.model.state_dict(), b.model.state_dict()
    arrays |= a.optimizer.state_dict()["arrays"]
    others |= b.optimizer.state_dict()["arrays"]
    assert arrays.keys() == others.keys()
    for name in arrays:
        np.testing.assert_array_equal(arrays[name], others[name], err_msg=name)


@pytest.mark.parametrize(
    "precision",
    [{}, {"dtype": "bfloat16"}, {"amp": "float16"}, {"amp": "bfloat16"}],
    ids=lambda p: "-".join(p.values()),
)
def test_resumed_equals_straight(tmp_path, small_mnist, dropout_net, precision):
    options = Options(model=dropout_net, data=str(small_mnist), epochs=3, batch=50, seed=7, **precision)
    straight = Training(options)
    for _ in range(3):
        straight.run_epoch()

    path = tmp_path / "c.safetensors"
    first = Training(options)
    first.run_epoch()
    first.save(path)
    gpucnn.manual_seed(99)
    second = Training.resume(path)
    assert second.options == options
    second.run_epoch()
    second.save(path)
    third = Training.resume(path)
    third.run_epoch()
    same(straight, third)
    if straight.scaler is not None:
        assert third.scaler.state_dict() == straight.scaler.state_dict() == {"factor": 65536, "good": 36}
    timeless = [{**row, "seconds": 0} for row in straight.history]
    assert [{**row, "seconds": 0} for row in third.history] == timeless


def test_the_same_seed_gives_the_same_run_and_another_another(small_mnist):
    def weights(seed):
        run = Training(Options(data=str(small_mnist), epochs=1, seed=seed))
        run.run_epoch()
        return run.model[0].weight.numpy().copy()

    np.testing.assert_array_equal(weights(1), weights(1))
    assert not np.array_equal(weights(1), weights(2))


def test_rate_rises_then_falls_to_nothing():
    run = Training(Options(epochs=2, lr=0.1))
    steps = 2 * len(run.train)
    rates = [run.rate(step) for step in range(steps)]
    assert rates[0] == pytest.approx(0.001)
    assert max(rates) == pytest.approx(0.1 * (1 - 84 / steps), rel=0.1)
    assert 0 < rates[-1] < 0.001
    assert rates.index(max(rates)) < training.WARM_UP


def test_a_diverging_run_says_so(small_mnist):
    run = Training(Options(data=str(small_mnist), epochs=1, batch=10, lr=1e6))
    with pytest.raises(ValueError, match="the loss stays finite, but in epoch 1"):
        run.run_epoch()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model": "vgg"}, "one of lenet, .* is known, but came vgg"),
        ({"epochs": 0}, "epochs and batch are positive"),
        ({"batch": 0}, "epochs and batch are positive"),
        ({"seed": -1}, "seed is not negative"),
        ({"amp": "float32"}, "amp: float16 or bfloat16 beside the dtype float32, but came float32 beside float32"),
        ({"amp": "float16", "dtype": "float16"}, "but came float16 beside float16"),
        ({"lr": 0.0}, "learning rate is positive, but came 0.0"),
        ({"lr": float("nan")}, "learning rate is positive"),
    ],
)
def test_bad_options(change, reason):
    with pytest.raises(ValueError, match=reason):
        Options(**change)


def test_a_model_for_other_images():
    with pytest.raises(ValueError, match="model: cifar-resnet-20 takes 3 channels, but the images have 1"):
        Training(Options(model="cifar-resnet-20"))


def test_a_checkpoint_without_a_run(tmp_path):
    path = tmp_path / "c.safetensors"
    gpucnn.checkpoint.save_checkpoint(path, nn.Linear(2, 2), epoch=1)
    with pytest.raises(ValueError, match=r"c.safetensors: a run has options"):
        Training.resume(path)


@pytest.fixture(scope="module")
def one_epoch():
    """The test accuracy after one tenth of the default run; the full recipe is under ``slow``."""
    return Training(Options(epochs=1)).run_epoch()["test_accuracy"]


def test_the_default_recipe_learns(one_epoch):
    assert one_epoch > 0.95


@pytest.mark.parametrize("amp", ["float16", "bfloat16"])
def test_mixed_precision_learns_as_well(one_epoch, amp):
    """Within one point of float32."""
    assert Training(Options(epochs=1, amp=amp)).run_epoch()["test_accuracy"] > one_epoch - 0.01


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_the_default_recipe(dtype):
    run = Training(Options(dtype=dtype))
    for _ in range(run.options.epochs):
        row = run.run_epoch()
    assert row["test_accuracy"] >= 0.98


@pytest.mark.slow
def test_full_mnist_in_five_epochs():
    folder = Path(__file__).parents[3] / "shared/data/mnist"
    if not folder.is_dir():
        pytest.skip("the full MNIST files are not beside this checkout")
    run = Training(Options(data=str(folder), epochs=5))
    for _ in range(5):
        row = run.run_epoch()
    assert row["test_accuracy"] >= 0.99


def test_kill_and_resume_gives_the_uninterrupted_weights(tmp_path, small_mnist, start, run):
    given = ("--epochs", 4, "--data", small_mnist, "--batch", 20, "--device", "cpu")
    assert run("train", *given, "--out", "straight")[0] == 0
    rng = np.random.default_rng(0)
    child = start("train", *given, "--out", "killed")
    killed = 0
    while True:
        # After each start line the run is alive; then it gets between nothing and an epoch or so.
        child.stdout.readline()
        time.sleep(rng.random() * 0.4)
        child.send_signal(signal.SIGKILL)
        child.communicate()
        if child.returncode == 0:
            break
        killed += 1
        if killed == 4:
            assert run("train", "--resume", "killed")[0] == 0
            break
        child = start("train", "--resume", "killed")
    arrays, info = read(tmp_path / "straight/checkpoint.safetensors")
    others, other_info = read(tmp_path / "killed/checkpoint.safetensors")
    assert killed
    assert arrays.keys() == others.keys()
    for name in arrays:
        np.testing.assert_array_equal(arrays[name], others[name], err_msg=name)
    assert info["rng"] == other_info["rng"]
    rows = [(tmp_path / f"{name}/metrics.csv").read_text().splitlines() for name in ("straight", "killed")]
    assert len(rows[0]) == len(rows[1]) == 5
    assert [row.split(",")[:5] for row in rows[0]] == [row.split(",")[:5] for row in rows[1]]


def test_options_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Options().lr = 1
