"""``gpucnn train`` killed with kill -9 at random moments and resumed."""

import signal
import time

import numpy as np
import pytest

from gpucnn.checkpoint import read
from tests.data.pictures import write_cifar

RECIPE = """
model = "cifar-resnet-20"
batch = 5
epochs = 4
average = 0.9
amp = "float16"

[optimizer]
name = "sgd"
lr = 0.01
momentum = 0.9

[schedule]
name = "cosine"
warm_up = 5

[train]
padded_crop = { padding = 4 }
flip = {}
"""


@pytest.mark.parametrize("which", ["lenet", "augmented"])
def test_kill_and_resume_gives_the_uninterrupted_weights(tmp_path, small_mnist, start, run, which):
    """The augmented run has threads that read ahead, a schedule, loss scaling and an average of the weights."""
    given = ("--epochs", 4, "--data", small_mnist, "--batch", 20, "--device", "cpu")
    if which == "augmented":
        (tmp_path / "mine.toml").write_text(RECIPE)
        (tmp_path / "cifar").mkdir()
        data = write_cifar(tmp_path / "cifar", 20, 5)
        given = ("--recipe", "mine.toml", "--data", data, "--workers", 2, "--device", "cpu")
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
    assert [row.rpartition(",")[0] for row in rows[0]] == [row.rpartition(",")[0] for row in rows[1]]
