"""The folder of a run: checkpoint, metrics.csv, curves.png and, where asked for, a TensorBoard event file."""

import csv
from pathlib import Path

CHECKPOINT = "checkpoint.safetensors"
COLUMNS = ("epoch", "lr", "train_loss", "test_loss", "test_accuracy", "test_top5", "seconds")


def checkpoint_of(run):
    """The checkpoint in a run folder, or the file itself."""
    return Path(run, CHECKPOINT) if Path(run).is_dir() else Path(run)


def new_folder(out, model):
    """Make the folder ``out``, or the next free runs/MODEL-N; a ValueError where it holds a run."""
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


def write_history(folder, history):
    """A new metrics.csv with the epochs that the checkpoint has; a row beyond it is of an epoch to be repeated."""
    with open(folder / "metrics.csv", "w", newline="") as file:
        csv.DictWriter(file, COLUMNS).writeheader()
    for row in history:
        append_row(folder, row)


def append_row(folder, row):
    """Add the row of an epoch to metrics.csv."""
    with open(folder / "metrics.csv", "a", newline="") as file:
        csv.DictWriter(file, COLUMNS).writerow(row)


def event_writer():
    """tensorboardX's SummaryWriter, which makes TensorBoard event files; a RuntimeError where it is not installed."""
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise RuntimeError(f"--tensorboard needs tensorboardX, but {error}; pip install tensorboardX") from None
    return SummaryWriter


def write_events(writer, row):
    """The row of an epoch as scalars of an event file, on the disk when this returns."""
    for name in COLUMNS[1:]:
        writer.add_scalar(name, row[name], row["epoch"])
    writer.flush()


def draw_curves(path, history):
    """Losses and accuracies over the epochs."""
    # Half a second, so only now. A Figure without pyplot needs no display.
    from matplotlib.figure import Figure

    epochs = [row["epoch"] for row in history]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    losses, accuracy = figure.subplots(1, 2)
    for name in ("train_loss", "test_loss"):
        losses.plot(epochs, [row[name] for row in history], marker=".", label=name.replace("_", " "))
    losses.set(xlabel="epoch", ylabel="cross-entropy", yscale="log")
    for name, label in (("test_accuracy", "top-1"), ("test_top5", "top-5")):
        accuracy.plot(epochs, [100 * row[name] for row in history], marker=".", label=label)
    accuracy.set(xlabel="epoch", ylabel="test accuracy (%)")
    for axes in (losses, accuracy):
        axes.legend()
        axes.grid(alpha=0.3)
        axes.xaxis.get_major_locator().set_params(integer=True)
    figure.savefig(path, dpi=120)
