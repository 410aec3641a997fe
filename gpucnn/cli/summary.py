"""``gpucnn summary``: the layers of a network and what each costs."""

from ..models import INPUTS, MODELS
from ..nn import init
from ..summary import summarize

HEADINGS = ("layer", "", "output", "activations", "MiB", "parameters", "multiply-adds", "receptive field")
COLUMNS = ("activations", "bytes", "parameters", "multiply_adds")


def summary(model, input=None, batch=1):
    """Print the table; returns the exit code."""
    with init.skip():
        network = MODELS[model]()
    found = summarize(network, input or INPUTS[model])
    rows = []
    for layer in found.layers:
        counts = [getattr(layer, column) for column in COLUMNS]
        rows.append((layer.name, layer.kind, _size(layer.output), *_counts(counts, batch), _field(layer)))
    rows.append(("total", "", "", *_counts([found.total(column) for column in COLUMNS], batch), ""))
    widths = [max(map(len, column)) for column in zip(HEADINGS, *rows, strict=True)]
    for row in (HEADINGS, *rows):
        cells = [
            text.ljust(width) if i < 3 else text.rjust(width)
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())
    print(f"batch {batch}; a layer that can work in place (ReLU, dropout) is left out")
    if found.unused:
        print(f"parameters that only training uses: {found.unused:,}")
    return 0


def _counts(counts, batch):
    activations, bytes, parameters, multiply_adds = counts
    return (
        f"{batch * activations:,}",
        f"{batch * bytes / 2**20:.2f}",
        f"{parameters:,}",
        f"{batch * multiply_adds:,}",
    )


def _size(sizes):
    return "x".join(map(str, sizes))


def _field(layer):
    """Receptive field / distance of neighbours; without the latter for one pixel."""
    if layer.field is None:
        return "not known"
    field = _size(layer.field.size)
    return f"{field} / {_size(layer.field.jump)}" if len(layer.output) == 3 else field
