"""Pictures of results: roofline, algorithms over filter and channels, dtypes side by side, time against batch."""

import csv
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .results import latest
from .tables import better_auto, phases, roof

RECORDS = Path(__file__).parent / "records"


def _figure(title, x, y, **scales):
    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set(title=title, xlabel=x, ylabel=y, **scales)
    return figure, axes


def roofline(records):
    """TFLOPS of each layer by "auto" over its flops a byte; the roof is what products and copies reached here."""
    layers = [r for r in records if r["bench"] == "conv" and better_auto(r["median_ms"])]
    if not layers:
        return None
    figure, axes = _figure("Convolution layers", "flops a byte of the operands", "TFLOPS", xscale="log", yscale="log")
    for label in dict.fromkeys((r["direction"], r["dtype"]) for r in layers):
        chosen = [r for r in layers if (r["direction"], r["dtype"]) == label]
        x = [r["flops"] / r["bytes"] for r in chosen]
        axes.scatter(x, [r["flops"] / better_auto(r["median_ms"]) / 1e9 for r in chosen], s=16, label=" ".join(label))
    for dtype in dict.fromkeys(r["dtype"] for r in layers):
        flops, rate = roof(records, dtype)
        if flops and rate:
            x = np.geomspace(*axes.get_xlim(), 50)
            axes.plot(x, np.minimum(flops, rate * x), linewidth=1, label=f"products and copies here, {dtype}")
    axes.legend(fontsize=8)
    return figure


def algorithm_map(records):
    """Which algorithm is the fastest, over filter size and channels, forward."""
    found = {}
    for r in records:
        times = {w: ms for w, ms in r.get("median_ms", {}).items() if w.split()[0] not in ("auto", "torch")}
        if r["bench"] == "conv" and r["direction"] == "fwd" and len(times) > 1:
            found.setdefault(min(times, key=times.get), []).append((r["shape"][5] * r["shape"][6], r["shape"][1]))
    if not found:
        return None
    figure, axes = _figure(
        "The fastest algorithm, forward", "taps of the filter (R x S)", "input channels", xscale="log", yscale="log"
    )
    for marker, (name, points) in zip("osD^vP*X<>", sorted(found.items()), strict=False):
        axes.scatter(*zip(*points, strict=True), marker=marker, alpha=0.7, label=name)
    axes.legend(fontsize=8)
    return figure


def dtype_bars(records):
    """Images a second of training steps by network, a bar a dtype and framework."""
    bars = {}
    for r in records:
        if r["bench"] == "net":
            for who, speed in r.get("images_per_second", {}).items():
                bars.setdefault(f"{who} {r['dtype']}", {})[f"{r['model']}\nbatch {r['batch']}"] = speed
    if not bars:
        return None
    networks = list(dict.fromkeys(name for speeds in bars.values() for name in speeds))
    figure, axes = _figure("Training steps", "", "images a second", yscale="log")
    width = 0.8 / len(bars)
    for i, (label, speeds) in enumerate(bars.items()):
        places = [n + (i - (len(bars) - 1) / 2) * width for n, name in enumerate(networks) if name in speeds]
        axes.bar(places, [speeds[name] for name in networks if name in speeds], width, label=label)
    axes.set_xticks(range(len(networks)), networks, fontsize=7, rotation=30)
    axes.legend(fontsize=8)
    return figure


def batch_curves(records):
    """Time an image against the batch: VGG-E's convolutions beside Lavin & Gray's, and networks measured at several."""
    lines = {}
    for r in records:
        if r["bench"] == "lavin-gray":
            for who, ms in r["median_ms"].items():
                lines.setdefault(f"VGG-E layers, {who} {r['dtype']}", {})[r["batch"]] = ms / r["batch"]
        elif r["bench"] == "net" and (times := phases(r, "gpucnn")):
            lines.setdefault(f"{r['model']} {r['dtype']}, training step", {})[r["batch"]] = sum(times) / r["batch"]
    lines = {label: points for label, points in lines.items() if len(points) > 1}
    if not lines:
        return None
    if any("VGG-E" in label for label in lines):
        with open(RECORDS / "lavin_gray_vgg_e.csv", newline="") as file:
            for row in csv.DictReader(file):
                label = f"Lavin & Gray 2015: {row['algorithm']} {row['dtype']}"
                lines.setdefault(label, {})[int(row["batch"])] = float(row["ms"]) / int(row["batch"])
    figure, axes = _figure("Time against batch", "images in the batch", "ms an image", xscale="log", yscale="log")
    for label, points in lines.items():
        axes.plot(*zip(*sorted(points.items()), strict=True), "--" if "Lavin" in label else "o-", label=label)
    axes.legend(fontsize=8)
    return figure


def products(records):
    """TFLOPS of square matrix products over their size, a line a device: a GPU against the CPU."""
    lines = {}
    for r in records:
        if r["bench"] == "gemm" and len(set(r["size"])) == 1:
            for who, ms in r["median_ms"].items():
                label = f"{who} {r['dtype']}, {r.get('device')}"
                lines.setdefault(label, {})[r["size"][0]] = r["flops"] / ms / 1e9
    lines = {label: points for label, points in lines.items() if len(points) > 1}
    if not lines:
        return None
    figure, axes = _figure("Matrix products", "rows and columns", "TFLOPS", xscale="log", yscale="log")
    for label, points in lines.items():
        axes.plot(*zip(*sorted(points.items()), strict=True), "o-", label=label)
    axes.legend(fontsize=8)
    return figure


PLOTS = {"roofline": roofline, "algorithms": algorithm_map, "dtypes": dtype_bars, "batch": batch_curves}


def draw(records, folder):
    """Write NAME.png for each picture that the results give; a file a device where there are several. The paths."""
    found, paths = latest(records), []

    def save(figure, name, title):
        if figure is not None:
            paths.append(Path(folder) / f"{name}.png")
            figure.suptitle(title, fontsize=8, x=0.99, ha="right")
            figure.savefig(paths[-1], dpi=120)

    devices = list(dict.fromkeys((r.get("device"), r.get("threads")) for r in found))
    for number, device in enumerate(devices, 1):
        here = [r for r in found if (r.get("device"), r.get("threads")) == device]
        for name, plot in PLOTS.items():
            save(plot(here), name if len(devices) == 1 else f"{name}-{number}", str(device[0]))
    save(products(found), "products", "")
    return paths
