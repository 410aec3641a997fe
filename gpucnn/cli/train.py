"""``gpucnn train``: the run folder, the progress shown, and the end of a run, whichever way it comes."""

import os
import sys
import time
from pathlib import Path

from ..device import cuda_problem
from ..training import Run, load_recipe
from ..training.reader import recipe_of
from .progress import Progress
from .run_folder import CHECKPOINT, append_row, draw_curves, event_writer, new_folder, write_events, write_history

# On --resume; anything else would be another run.
MAY_CHANGE = ("data", "test", "device", "epochs", "workers", "tensorboard")
OF_RECIPE = ("model", "epochs", "batch", "lr", "dtype", "amp", "layout")  # what options change in it
SAVE_EVERY = 600  # seconds between checkpoints in the middle of a long epoch


def train(out=None, resume=None, recipe=None, tensorboard=False, **given):
    """Run or continue a training; returns the exit code."""
    for name in ("data", "test"):
        if name in given:
            given[name] = os.path.abspath(given[name])
    if resume is not None:
        folder = Path(resume)
        tensorboard = tensorboard or any(folder.glob("events.out.tfevents.*"))
        fixed = [name for name in given if name not in MAY_CHANGE] + ["recipe"] * (recipe is not None)
        if fixed:
            came = ", ".join("NAME" if name == "model" else f"--{name}" for name in fixed)
            raise ValueError(
                f"--resume keeps the options of the run, but came {came}; "
                f"only {', '.join('--' + name for name in MAY_CHANGE)} may change"
            )
        writer = event_writer() if tensorboard else None
        run = Run.resume(folder / CHECKPOINT, **given)
    else:
        writer = event_writer() if tensorboard else None
        given.setdefault("device", default_device())
        changes = {name: given.pop(name) for name in OF_RECIPE if name in given}
        recipe = recipe or (recipe_of(changes["model"]) if "model" in changes else "lenet")
        run = Run(load_recipe(recipe, **changes), **given)  # before the folder: bad options or data leave none behind
        folder = new_folder(out, run.recipe.model)
        run.save(folder / CHECKPOINT)  # so that a run can be resumed from its start on
    write_history(folder, run.training.history)
    first = run.training.epoch + 1  # in the name, too, which else is that of another run of the same second
    writer = writer and writer(str(folder), purge_step=first, filename_suffix=f".from-{first}")
    try:
        return _fit(run, folder, writer)
    finally:
        if writer:
            writer.close()


def default_device():
    """The first GPU, else the CPU."""
    return "cpu" if cuda_problem() else "cuda"


def _fit(run, folder, writer):
    recipe, training = run.recipe, run.training
    images, tested = len(training.loader.data), len(training.test.data)
    device, saved = run.options["device"], _Saved(run, folder / CHECKPOINT)
    print(
        f"{recipe.model} on {device} in {recipe.dtype}{f' with products in {recipe.amp}' if recipe.amp else ''}"
        f"{f' in {recipe.layout} order' if recipe.layout != 'channels_first' else ''}, "
        f"{images} training and {tested} test images, {len(run.classes)} classes, run folder {folder}",
        flush=True,
    )
    if training.epoch >= recipe.epochs:
        print(f"all {recipe.epochs} epochs are done; train on with --resume {folder} --epochs N")
        return 0
    done = images * training.epoch + training.images
    try:
        with Progress(images * recipe.epochs, done, device) as progress:

            def on_step(step):
                progress.add(step.images)
                saved.now_and_then()

            def on_epoch(row):
                saved.now()
                append_row(folder, row)
                if writer:
                    write_events(writer, row)
                progress.line(
                    f"epoch {row['epoch']}/{recipe.epochs}: train loss {row['train_loss']:.4f}, "
                    f"test loss {row['test_loss']:.4f}, top-1 {100 * row['test_accuracy']:.2f} %, "
                    f"top-5 {100 * row['test_top5']:.2f} %, {row['seconds']:.1f} s, "
                    f"{images / row['seconds']:.0f} images/s, {progress.memory()}"
                )

            training.fit(recipe.epochs, on_step, on_epoch)
    except KeyboardInterrupt:
        print(
            f"interrupted: the checkpoint after {saved} is kept; continue with: gpucnn train --resume {folder}",
            file=sys.stderr,
        )
        draw_curves(folder / "curves.png", training.history[: saved.epoch])
        return 130
    draw_curves(folder / "curves.png", training.history)
    print(f"metrics.csv, curves.png and {CHECKPOINT} are in {folder}")
    return 0


class _Saved:
    """The checkpoint of a run: where it was when it was written last."""

    def __init__(self, run, path):
        self.run, self.path = run, path
        self._mark()

    def _mark(self):
        self.epoch, self.batch, self.time = self.run.training.epoch, self.run.training.batch, time.monotonic()

    def now(self):
        self.run.save(self.path)
        self._mark()

    def now_and_then(self):
        if time.monotonic() >= self.time + SAVE_EVERY:
            self.now()

    def __str__(self):
        return f"epoch {self.epoch}" + f" and {self.batch} steps" * (self.batch > 0)
