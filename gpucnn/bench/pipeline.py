"""The input pipeline: `gpucnn bench pipeline CIFAR [--model NAME] [--batch 128] [--steps 40] [--out FILE.jsonl]`.

CIFAR is a folder of CIFAR-10 in either form. Printed are the images a second of each stage on one thread (read from
a packed file, decode, augment, make whole batches) and then, for each source and number of workers, the share of the
time of training steps that is spent waiting for data, and the CPU time of a step and its batch beside that of a step
which is fed the same batch over and over: workers take time of the CPU that the step also wants. The sources take
turns; shares and times are medians of those of the turns, and the range of a share says how noisy the machine was.
"""

import json
import tempfile
import time
from itertools import chain, repeat
from pathlib import Path

import numpy as np

import gpucnn
from gpucnn.data import DataLoader, Draws, Packed, RandomCrop, RandomFlip, cifar10, normalise, pack
from gpucnn.models import MODELS

from .environment import cpu, source
from .session import Parser

AUGMENT = (RandomCrop(padding=4), RandomFlip())
READY = 3  # first steps of a turn, not counted: their batches were made while it was another one's turn
TURN = READY + 7  # steps of one source before it is the next one's turn
WORKERS = (1, 2)


def rate(images, work, seconds=1.0):
    """Images a second, from the median time of a call of work, which handles so many images."""
    times, end = [], time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return images / float(np.median(times))


def endless(data, batch, workers):
    """Augmented whole batches, epoch after epoch."""
    return chain.from_iterable(
        repeat(DataLoader(data, batch, shuffle=True, drop_last=True, augment=AUGMENT, workers=workers))
    )


def stages(encoded, packed, batch):
    """{stage: images a second} on this thread."""
    rows = np.random.default_rng(0).permutation(len(packed))[:batch].tolist()
    images = np.stack([packed[i][0] for i in rows])

    def augment():
        draws, x = Draws(0, 0, rows), images
        for augmentation in AUGMENT:
            x = augmentation(x, draws)
        return x

    found = {
        "read, packed": rate(batch, lambda: [packed[i] for i in rows]),
        "decode": rate(batch, lambda: [encoded[i] for i in rows]),
        "augment": rate(batch, augment),
        "normalise": rate(batch, lambda: normalise(images, packed.mean, packed.std)),
    }
    for name, data in (("packed", packed), ("decoded", encoded)):
        batches = endless(data, batch, 0)
        found[f"batch, {name}"] = rate(batch, lambda batches=batches: next(batches))
    return found


def training_step(name):
    """One SGD step of a network of MODELS on (images, labels)."""
    model = MODELS[name]()
    optimiser = gpucnn.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def step(images, labels):
        loss = gpucnn.cross_entropy(model(images), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return loss.item()

    return step


def waiting(step, sources, steps):
    """{source: seconds (turns, counted steps, 3): waited, of the step itself, of the CPU on all threads}."""
    times = {name: [] for name in sources}
    for batches in sources.values():
        step(*next(batches))
    for _ in range(-(-steps // (TURN - READY))):
        for name, batches in sources.items():
            turn = []
            for _ in range(TURN):
                start, cpu_start = time.perf_counter(), time.process_time()
                batch = next(batches)
                ready = time.perf_counter()
                step(*batch)
                turn.append((ready - start, time.perf_counter() - ready, time.process_time() - cpu_start))
            times[name].append(turn[READY:])
    return {name: np.array(turns) for name, turns in times.items()}


def summary(times):
    """{source: medians over the turns, of the share spent waiting with its range, of ms and CPU ms of a step with its
    batch, and the latter beside those of a step on the first source, the same batch}."""
    results = {}
    for name, turns in times.items():
        waited, stepped, busy = turns.mean(axis=1).T  # seconds a step, of each turn
        shares, cpu_ms = waited / (waited + stepped), 1e3 * float(np.median(busy))
        results[name] = {
            "waiting": float(np.median(shares)),
            "waiting_range": [float(shares.min()), float(shares.max())],
            "ms": 1e3 * float(np.median(waited + stepped)),
            "cpu_ms": cpu_ms,
            "beside": cpu_ms / next(iter(results.values()))["cpu_ms"] if results else 1.0,
        }
    return results


def main(argv):
    parser = Parser(prog="gpucnn bench pipeline", description="The input pipeline: read, decode, augment, train.")
    parser.add_argument("--quick", action="store_true", help="few steps of 16 images: under a minute")
    parser.add_argument("cifar", type=Path, help="folder of CIFAR-10")
    parser.add_argument("--model", default="cifar-resnet-20", choices=MODELS)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=21, help="counted steps of each source")
    parser.add_argument("--out", help="append one JSON line to this file")
    options = parser.parse_args(argv)
    if options.out:
        open(options.out, "a").close()  # what cannot be written is told before anything is measured
    if options.quick:
        options.batch, options.steps = 16, 1
    encoded = cifar10(options.cifar)[1]
    with tempfile.TemporaryDirectory() as folder:
        pack(encoded, Path(folder) / "test.pack")
        packed = Packed(Path(folder) / "test.pack")
        rates = stages(encoded, packed, options.batch)
        for name, value in rates.items():
            print(f"{name:15} {value:10.0f} images/s  {1e3 * options.batch / value:7.2f} ms a batch")

        sources = {"same batch": repeat(next(iter(DataLoader(packed, options.batch))))}
        for name, data in (("packed", packed), ("decoded", encoded)):
            for workers in WORKERS:
                sources[f"{name}, {workers} workers"] = endless(data, options.batch, workers)
        times = waiting(training_step(options.model), sources, options.steps)
    results = summary(times)
    for name, row in results.items():
        low, high = row["waiting_range"]
        print(
            f"{name:18} waits {100 * row['waiting']:5.2f} % of the time ({100 * low:.2f} to {100 * high:.2f} %); "
            f"a step and its batch take {row['ms']:.0f} ms, of the CPUs {row['cpu_ms']:.0f} ms: {row['beside']:.2f} of "
            "a step on the same batch"
        )
    if options.out:
        record = {
            "bench": "pipeline",
            "model": options.model,
            "batch": options.batch,
            "dtype": "float32",
            "images_per_second": rates,
            "training": results,
            "turns": len(times["same batch"]),
            **cpu(),
            **source(),
        }
        with open(options.out, "a") as file:
            file.write(json.dumps(record) + "\n")
    return 0
