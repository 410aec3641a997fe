"""``gpucnn eval``: accuracies and the confusion matrix of a trained network."""

import csv
from pathlib import Path

import numpy as np

from ..data import check_classes, digits, open_dataset
from ..training import evaluate, load_trained
from .run_folder import checkpoint_of
from .train import default_device

SHOWN = 20  # classes, at most, whose matrix is printed and whose names are drawn
WORST = 10  # confusions that are printed where there are more classes


def eval(run, data=None, part="test", device=None, batch=None, workers=None, out=None):
    """Print the result and write confusion.csv and confusion.png; returns the exit code."""
    path = checkpoint_of(run)
    trained = load_trained(path, device or default_device())
    name = data or (trained.options["test"] if part == "test" else None) or trained.options["data"]
    images = digits()[part == "test"] if name is None else open_dataset(name, part)
    check_classes(images, trained.classes, name)
    loader = trained.loader(images, batch, workers)
    found = evaluate(trained.network, loader, amp=trained.recipe.amp)
    print(
        f"{trained.recipe.model} on {len(images)} images: loss {found.loss:.4f}, top-1 {100 * found.top1:.2f} %, "
        f"top-5 {100 * found.top5:.2f} %"
    )
    for line in _table(found.confusion, trained.classes):
        print(line)
    folder = path.parent if out is None else Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "confusion.csv", "w", newline="") as file:
        csv.writer(file).writerows(_cells(found.confusion, trained.classes))
    _draw(folder / "confusion.png", found.confusion, trained.classes)
    print(f"confusion.csv and confusion.png are in {folder}")
    return 0


def _cells(confusion, classes):
    """The matrix as rows of a table: a label each, with what its images were taken for."""
    return [["label", *classes], *([name, *row] for name, row in zip(classes, confusion.tolist(), strict=True))]


def _table(confusion, classes):
    """Lines to print: the matrix, or of many classes the confusions that are most frequent."""
    if len(classes) <= SHOWN:
        rows = [[str(cell) for cell in row] for row in _cells(confusion, classes)]
        first, *widths = (max(map(len, column)) for column in zip(*rows, strict=True))
        yield "images of each label (rows) taken for each class (columns):"
        for label, *counts in rows:
            cells = (text.rjust(width) for text, width in zip(counts, widths, strict=True))
            yield "  ".join([label.ljust(first), *cells])
        return
    wrong = confusion - np.diag(np.diag(confusion))
    yield "most frequent confusions:"
    for at in np.argsort(-wrong, axis=None, kind="stable")[:WORST]:
        label, taken = np.unravel_index(at, wrong.shape)
        if wrong[label, taken]:
            yield f"{wrong[label, taken]} of {confusion[label].sum()} {classes[label]} taken for {classes[taken]}"


def _draw(path, confusion, classes):
    from matplotlib.figure import Figure

    few = len(classes) <= SHOWN
    figure = Figure(figsize=(7, 6.2), layout="constrained")
    axes = figure.subplots()
    shares = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    drawn = axes.imshow(100 * shares, cmap="Blues", vmin=0, vmax=100)
    figure.colorbar(drawn, label="share of the label's images (%)")
    axes.set(xlabel="taken for", ylabel="label")
    if few:
        axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right")
        axes.set_yticks(range(len(classes)), classes)
        for label, taken in np.argwhere(confusion):
            colour = "white" if shares[label, taken] > 0.5 else "black"
            axes.text(taken, label, confusion[label, taken], ha="center", va="center", color=colour, fontsize=7)
    figure.savefig(path, dpi=120)
