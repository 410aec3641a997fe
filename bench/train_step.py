"""One LeNet training step beside PyTorch's: `python -m bench.train_step [--batch 64] [--out FILE.jsonl]`.

Both run in one process on the same number of threads, on the same images and labels, ten steps a turn; printed are
medians and quartiles in milliseconds and the ratio of the medians. Before any time is printed, both networks
start from the same weights and must show the same loss for the first steps.
"""

import argparse
import json
import time

import numpy as np

import gpucnn
from gpucnn import config, native
from gpucnn.bench.environment import cpu, source
from gpucnn.models import lenet

TURN = 10  # steps of one framework before it is the other's turn


def gpucnn_step():
    """(step, weights): one SGD step of LeNet that returns the loss, and the initial weights by name."""
    model = lenet()
    optimiser = gpucnn.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    def step(images, labels):
        loss = gpucnn.cross_entropy(model(images), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return loss.item()

    return step, [p.numpy().copy() for p in model.parameters()]


def torch_step(weights):
    """The same step in PyTorch, from the same weights."""
    import torch
    from torch import nn

    model = nn.Sequential(
        *(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 120, 5), nn.ReLU(), nn.Flatten(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)),
    )
    with torch.no_grad():
        for parameter, weight in zip(model.parameters(), weights, strict=True):
            parameter.copy_(torch.from_numpy(weight))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    def step(images, labels):
        loss = nn.functional.cross_entropy(model(images), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return loss.item()

    return step


def measure(batch, steps):
    """Times in seconds: {"gpucnn": [...], "torch": [...]} where PyTorch is installed."""
    rng = np.random.default_rng(0)
    images = rng.standard_normal((batch, 1, 28, 28), dtype=np.float32)
    labels = rng.integers(0, 10, batch)
    try:  # first, so that both share the OpenMP that PyTorch brings, as PyTorch sets it up
        import torch
    except ImportError:
        torch = None
    step, weights = gpucnn_step()
    runs = {"gpucnn": (step, gpucnn.tensor(images), gpucnn.tensor(labels))}
    if torch is None:
        print("PyTorch is not installed: no comparison")
    else:
        torch.set_num_threads(native.cpu().num_threads())
        runs["torch"] = (torch_step(weights), torch.from_numpy(images), torch.from_numpy(labels))
    losses = {name: [step(x, y) for _ in range(10)] for name, (step, x, y) in runs.items()}
    for name, values in losses.items():
        np.testing.assert_allclose(values, losses["gpucnn"], rtol=1e-4, err_msg=name)
    times = {name: [] for name in runs}
    for _ in range(steps // TURN):
        for name, (step, x, y) in runs.items():
            step(x, y)  # not counted: the other's threads still spin, waiting for work
            for _ in range(TURN):
                start = time.perf_counter()
                step(x, y)
                times[name].append(time.perf_counter() - start)
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--out", help="append one JSON line to this file")
    options = parser.parse_args()
    times = measure(options.batch, options.steps)
    quartiles = {name: [1e3 * q for q in np.percentile(t, (25, 50, 75))] for name, t in times.items()}
    for name, (low, middle, high) in quartiles.items():
        print(f"{name:8} {middle:7.3f} ms a step (quartiles {low:.3f} to {high:.3f})")
    if "torch" in quartiles:
        print(f"gpucnn takes {quartiles['gpucnn'][1] / quartiles['torch'][1]:.2f} of PyTorch's time")
    if options.out:
        record = {
            "bench": "train_step",
            "model": "lenet",
            "batch": options.batch,
            "dtype": "float32",
            **cpu(),
            "quartiles_ms": quartiles,
            "steps": options.steps,
            **source(),
            "settings": {name: config.get(name) for name in config.SETTINGS},
        }
        with open(options.out, "a") as file:
            file.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
