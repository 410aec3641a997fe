"""Kill -9 at random moments of a run with an average of weights, loss scaling, a schedule, dropout, packed data and
workers, and resumption from its checkpoint in the middle of an epoch: the same bits as without."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import gpucnn
from gpucnn.checkpoint import read
from gpucnn.data import digits, pack

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(gpucnn.__file__).parents[1])}
STEPS = 40

CHILD = """
import sys
import numpy as np
from pathlib import Path
import gpucnn
from gpucnn import nn, optim
from gpucnn.data import DataLoader, Packed, RandomCrop, RandomFlip

class Run(nn.Module):
    def __init__(self):
        self.net = nn.Sequential(
            *(nn.Conv2d(1, 4, 5, stride=2), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten()),
            *(nn.Dropout(0.3), nn.Linear(4 * 12 * 12, 10)),
        )
        self.average = optim.MovingAverage(self.net, 0.9)

data, path, total = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
gpucnn.manual_seed(0)
run = Run()
optimizer = optim.SGD(run.net.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
schedule = optim.Schedule(optimizer, optim.schedule.warm_up(5, optim.schedule.cosine(total)))
scaler = gpucnn.GradScaler(2.0**18, interval=4)  # some steps overflow, others double it
states = {"schedule": schedule, "scaler": scaler}
states["loader"] = loader = DataLoader(
    Packed(data), 16, shuffle=True, augment=(RandomCrop(padding=2), RandomFlip()), workers=2
)
done = 0
if path.exists():
    saved = gpucnn.load_checkpoint(path, run, optimizer, rng=True)
    done = saved.pop("done")
    for name, state in saved.items():
        states[name].load_state_dict(state)
print("ready", flush=True)
np.seterr(over="ignore", invalid="ignore")
while done < total:
    for images, labels in loader:
        with gpucnn.autocast("float16"):
            loss = gpucnn.cross_entropy(run.net(images), labels)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        schedule.step()
        run.average.update(run.net)
        done += 1
        now = {name: part.state_dict() for name, part in states.items()}
        gpucnn.save_checkpoint(path, run, optimizer, done=done, **now)
        if done == total:
            break
"""


def test_a_killed_run_ends_with_the_uninterrupted_bits(tmp_path):
    pack(digits()[0][:200], tmp_path / "digits.pack")  # 13 batches, the last one smaller

    def start(name):
        given = [sys.executable, "-c", CHILD, tmp_path / "digits.pack", tmp_path / name, str(STEPS)]
        return subprocess.Popen(given, env=ENVIRONMENT, cwd=tmp_path, stdout=subprocess.PIPE, text=True)

    child = start("straight.safetensors")
    begin = child.stdout.readline() and time.perf_counter()
    child.communicate(timeout=100)
    seconds = time.perf_counter() - begin
    assert child.returncode == 0

    rng, reached = np.random.default_rng(0), []
    for kill in (True, True, True, True, True, False):
        child = start("killed.safetensors")
        assert child.stdout.readline() == "ready\n"
        if kill:
            time.sleep(rng.random() * 0.5 * seconds)
            child.send_signal(signal.SIGKILL)
        child.communicate(timeout=100)
        if child.returncode == 0:
            break
        if (tmp_path / "killed.safetensors").exists():
            reached.append(read(tmp_path / "killed.safetensors")[1]["extra"]["done"])
    assert child.returncode == 0 and len({done for done in reached if done < STEPS}) > 1

    (arrays, info), (others, other_info) = (read(tmp_path / f"{name}.safetensors") for name in ("straight", "killed"))
    assert info == other_info and info["extra"]["done"] == STEPS
    assert info["extra"]["scaler"]["factor"] != 2.0**18
    assert arrays.keys() == others.keys() and {name.split(".")[1] for name in arrays} >= {"net", "average"}
    for name in arrays:
        assert np.array_equal(arrays[name], others[name]), name
