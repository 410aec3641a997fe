"""``gpucnn train``: the run folder, the progress shown, and the end of a run, whichever way it comes."""

import csv
import os
import sys
from pathlib import Path

from ..device import cuda_problem
from ..training import Options, Training
from .progress import Progress

CHECKPOINT = "checkpoint.safetensors"
COLUMNS = ("epoch", "lr", "train_loss", "test_loss", "test_accuracy", "seconds")
MAY_CHANGE = ("data", "device", "epochs")  # on --resume; anything else would be another run


def train(out=None, resume=None, **given):
    """Run or continue a training; returns the exit code."""
    if "data" in given:
        given["data"] = os.path.abspath(given["data"])
    if resume is not None:
        folder = Path(resume)
        fixed = [f"--{name}" for name in given if name not in MAY_CHANGE]
        if fixed:
            raise ValueError(
                f"--resume keeps the options of the run, but came {', '.join(fixed)}; "
                f"only {', '.join('--' + name for name in MAY_CHANGE)} may change"
            )
        training = Training.resume(folder / CHECKPOINT, **given)
    else:
        if "device" not in given:
            given["device"] = "cpu" if cuda_problem() else "cuda"
        options = Options(**given)
        training = Training(options)  # before the folder: bad options or data leave none behind
        folder = _new_folder(out, options.model)
        training.save(folder / CHECKPOINT)  # so that a run can be resumed from its start on
    _write_history(folder / "metrics.csv", training.history)
    return _run(training, folder)


def _run(training, folder):
    options = training.options
    images = len(training.train.data)
    print(
        f"{options.model} on {options.device} in {options.dtype}"
        f"{f' with products in {options.amp}' if options.amp else ''}, "
        f"{images} training and {len(training.test.data)} test images, run folder {folder}",
        flush=True,
    )
    if training.epoch >= options.epochs:
        print(f"all {options.epochs} epochs are done; train on with --resume {folder} --epochs N")
        return 0
    saved = training.epoch
    try:
        with Progress(images * options.epochs, images * saved) as progress:
            while training.epoch < options.epochs:
                row = training.run_epoch(progress.add)
                training.save(folder / CHECKPOINT)
                saved = training.epoch
                _append(folder / "metrics.csv", row)
                progress.line(
                    f"epoch {row['epoch']}/{options.epochs}: train loss {row['train_loss']:.4f}, "
                    f"test loss {row['test_loss']:.4f}, test accuracy "
                    f"{100 * row['test_accuracy']:.2f} %, {row['seconds']:.1f} s"
                )
    except KeyboardInterrupt:
        print(
            f"interrupted: the checkpoint after epoch {saved} is kept; continue with: gpucnn train --resume {folder}",
            file=sys.stderr,
        )
        _draw(folder / "curves.png", training.history[:saved])
        return 130
    _draw(folder / "curves.png", training.history)
    print(f"metrics.csv, curves.png and {CHECKPOINT} are in {folder}")
    return 0


def _new_folder(out, model):
    if out is not None:
        folder = Path(out)
        if (folder / CHECKPOINT).exists():
            raise ValueError(
                f"--out takes a folder without a run, but {out} holds one; continue it with --resume {out}"
            )
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    Path("runs").mkdir(exist_ok=True)
    number = 1
    while True:
        folder = Path("runs") / f"{model}-{number}"
        try:
            folder.mkdir()
            return folder
        except FileExistsError:
            number += 1


def _write_history(path, history):
    """A new metrics.csv with the epochs that the checkpoint has; a row beyond it is of an epoch to be repeated."""
    with open(path, "w", newline="") as file:
        csv.DictWriter(file, COLUMNS).writeheader()
    for row in history:
        _append(path, row)


def _append(path, row):
    with open(path, "a", newline="") as file:
        csv.DictWriter(file, COLUMNS).writerow(row)


def _draw(path, history):
    """Losses and accuracy over the epochs."""
    # Half a second, so only now. A Figure without pyplot needs no display.
    from matplotlib.figure import Figure

    epochs = [row["epoch"] for row in history]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    losses, accuracy = figure.subplots(1, 2)
    for name in ("train_loss", "test_loss"):
        losses.plot(epochs, [row[name] for row in history], marker=".", label=name.replace("_", " "))
    losses.set(xlabel="epoch", ylabel="cross-entropy", yscale="log")
    losses.legend()
    accuracy.plot(epochs, [100 * row["test_accuracy"] for row in history], marker=".")
    accuracy.set(xlabel="epoch", ylabel="test accuracy (%)")
    for axes in (losses, accuracy):
        axes.grid(alpha=0.3)
        axes.xaxis.get_major_locator().set_params(integer=True)
    figure.savefig(path, dpi=120)
