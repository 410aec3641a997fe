"""Optimiser steps: `python -m bench.optim [--model resnet-20 vgg-a] [--out FILE.jsonl]`.

Each step is timed three times over, in turn, in one process and on the same parameters: the native step, the same
formulas in NumPy (tests/optim/rules.py) and PyTorch's step where it is installed. Printed are medians in milliseconds
and their ratios. Before any time is printed, all must have made the same weights.
"""

import argparse
import itertools
import json
import time

import numpy as np

import gpucnn
from gpucnn import native, optim
from gpucnn.bench.environment import cpu, source
from tests.optim.rules import ArrayAdam, ArraySGD

OPTIONS = {"SGD": {"lr": 0.01, "momentum": 0.9, "weight_decay": 1e-4}, "Adam": {"lr": 1e-3}}
ARRAY = {"SGD": ArraySGD, "Adam": ArrayAdam}


def resnet_20():
    """Shapes of the parameters of ResNet-20 for CIFAR-10 (He et al. 2015), batch norm included."""
    shapes, channels = [(16, 3, 3, 3), (16,), (16,)], 16
    for width in (16, 32, 64):
        for _ in range(6):
            shapes += [(width, channels, 3, 3), (width,), (width,)]
            channels = width
    return [*shapes, (10, 64), (10,)]


def vgg_a():
    """Shapes of the parameters of VGG's configuration A."""
    sizes = [3, 64, 128, 256, 256, 512, 512, 512, 512]
    shapes = [shape for c, k in itertools.pairwise(sizes) for shape in ((k, c, 3, 3), (k,))]
    return [*shapes, (4096, 25088), (4096,), (4096, 4096), (4096,), (1000, 4096), (1000,)]


MODELS = {"resnet-20": resnet_20, "vgg-a": vgg_a}


def parameters(shapes):
    """Parameters with gradients; the same ones each time."""
    rng = np.random.default_rng(0)
    params = []
    for shape in shapes:
        p = gpucnn.tensor(rng.standard_normal(shape, np.float32), requires_grad=True)
        p.grad = gpucnn.tensor(rng.standard_normal(shape, np.float32))
        params.append(p)
    return params


def torch_optimiser(name, params):
    import torch

    torch.set_num_threads(native.cpu().num_threads())
    twins = [torch.nn.Parameter(torch.from_numpy(p.numpy().copy())) for p in params]
    for twin, p in zip(twins, params, strict=True):
        twin.grad = torch.from_numpy(p.grad.numpy())
    return getattr(torch.optim, name)(twins, **OPTIONS[name])


def measure(name, shapes, seconds):
    """Times of a step in seconds: {"native": [...], "numpy": [...], "torch": [...]}."""
    params, others = parameters(shapes), parameters(shapes)
    runs = {
        "native": getattr(optim, name)(params, **OPTIONS[name]),
        "numpy": ARRAY[name](others, **OPTIONS[name]),
    }
    try:
        runs["torch"] = torch_optimiser(name, params)
    except ImportError:
        print("PyTorch is not installed: no comparison")
    for _ in range(2):
        for optimiser in runs.values():
            optimiser.step()
    for p, other in zip(params, others, strict=True):
        assert np.array_equal(p.numpy(), other.numpy())
    if "torch" in runs:
        for p, twin in zip(params, runs["torch"].param_groups[0]["params"], strict=True):
            np.testing.assert_allclose(p.numpy(), twin.detach().numpy(), rtol=1e-5, atol=1e-6)
    times = {kind: [] for kind in runs}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times["native"]) < 5:
        for kind, optimiser in runs.items():
            optimiser.step()  # not counted: the other's threads still spin, waiting for work
            start = time.perf_counter()
            optimiser.step()
            times[kind].append(time.perf_counter() - start)
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--seconds", type=float, default=5, help="of each model and optimiser")
    parser.add_argument("--out", help="append one JSON line a model and optimiser to this file")
    options = parser.parse_args()
    for model in options.model:
        for name in OPTIONS:
            times = measure(name, MODELS[model](), options.seconds)
            median = {kind: 1e3 * float(np.median(t)) for kind, t in times.items()}
            ratios = ", ".join(f"{kind} {t / median['native']:.2f} times" for kind, t in median.items())
            print(f"{model} {name}: native {median['native']:.3f} ms; {ratios} as long", flush=True)
            if options.out:
                record = {
                    **{"bench": "optim", "model": model, "optimiser": name, "dtype": "float32", "median_ms": median},
                    **{"steps": len(times["native"]), **cpu(), **source()},
                }
                with open(options.out, "a") as file:
                    file.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
