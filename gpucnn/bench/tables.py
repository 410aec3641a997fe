"""Markdown tables of results: one for each kind of benchmark."""

from .results import latest


def markdown(headings, rows):
    """The lines of a table; the first column is text, the others are set to the right."""
    lines = [" | ".join(["", *headings, ""]).strip(), "|---|" + "--:|" * (len(headings) - 1)]
    return lines + [" | ".join(["", *map(str, row), ""]).strip() for row in rows]


def better_torch(medians):
    """PyTorch's time in its better memory layout, or None."""
    return min((ms for who, ms in medians.items() if who.startswith("torch")), default=None)


def number(value, form=".3g"):
    """A figure, or nothing where there is none."""
    return "" if value is None else f"{value:{form}}"


def conv_rows(records):
    """A line a layer, direction and dtype: ours, the fastest row, PyTorch, and what "auto" achieves."""
    headings = ["layer", "shape", "direction", "dtype", "auto ms", "fastest", "ms", "PyTorch ms", "speed", "TFLOPS"]
    rows = []
    for r in records:
        N, C, H, W, K, R, S, *_ = r["shape"]
        ours = {who: ms for who, ms in r["median_ms"].items() if not who.startswith("torch")}
        single = {who: ms for who, ms in ours.items() if who != "auto"} or ours
        if not single:
            continue
        best, theirs, auto = min(single, key=single.get), better_torch(r["median_ms"]), ours.get("auto")
        measured = auto or single[best]
        rows.append(
            [
                *(r["layer"], f"{N}x{C}x{H}x{W}, {K} of {R}x{S}", r["direction"], r["dtype"], number(auto), best),
                *(number(single[best]), number(theirs), f"{theirs / measured:.2f}" if theirs else ""),
                f"{r['flops'] / measured / 1e9:.3g}",
            ]
        )
    return headings, rows


def phases(record, who):
    """(forward, backward, update) in ms, or None."""
    times = [record.get("median_ms", {}).get(f"{who} {phase}") for phase in ("forward", "backward", "update")]
    return times if all(times) else None


def net_rows(records):
    """A line a network, batch and dtype."""
    headings = [
        "network",
        "batch",
        "dtype",
        "forward ms",
        "backward ms",
        "update ms",
        "images/s",
        "PyTorch images/s",
        "MiB",
        "W",
    ]
    rows = []
    for r in records:
        who = [r["model"], r["batch"], r["dtype"]]
        if r.get("out_of_memory"):
            rows.append([*who, "out of memory", *[""] * 6])
        elif ours := phases(r, "gpucnn"):
            speed = r["images_per_second"]
            memory = number(r["peak_bytes"] and r["peak_bytes"] / 2**20, ".0f")
            speeds = [number(speed.get(framework), ".4g") for framework in ("gpucnn", "torch")]
            rows.append([*who, *map(number, ours), *speeds, memory, number(r.get("power_w_at_end"), ".0f")])
    return headings, rows


def gemm_rows(records):
    """A line a product."""
    rows = []
    for r in records:
        tflops = {who: r["flops"] / ms / 1e9 for who, ms in r["median_ms"].items()}
        rows.append(
            ["x".join(map(str, r["size"])), r["dtype"], *(number(tflops.get(who)) for who in ("gpucnn", "torch"))]
        )
    return ["M x N x K", "dtype", "TFLOPS", "PyTorch's TFLOPS"], rows


def copy_rows(records):
    """A line a size, a column a kind of copy."""
    kinds = list(dict.fromkeys(who for r in records for who in r["median_ms"]))
    rows = [
        [
            f"{r['bytes'] / 2**20:g} MiB",
            *(number(ms and r["bytes"] / ms / 1e6) for ms in map(r["median_ms"].get, kinds)),
        ]
        for r in records
    ]
    return ["size", *(f"{kind}, GB/s" for kind in kinds)], rows


def accuracy_rows(records):
    """A line an algorithm, direction and dtype."""
    return ["algorithm", "direction", "dtype", "f of the law", "declared", "relative L2"], [
        [r["algorithm"], r["direction"], r["dtype"], f"{r['factor']:.2f}", f"{r['declared']:g}", f"{r['l2']:.1e}"]
        for r in records
    ]


TABLES = {
    "conv": ("Convolution layers", conv_rows),
    "net": ("Training steps of networks", net_rows),
    "gemm": ("Matrix products", gemm_rows),
    "copy": ("Copies", copy_rows),
    "accuracy": ("Accuracy against float64", accuracy_rows),
}


def report(records):
    """The lines of a Markdown document: a chapter a device, a table a benchmark."""
    lines, found = ["# Results of gpucnn bench", ""], latest(records)
    for device in dict.fromkeys((r.get("device"), r.get("threads")) for r in found):
        name, threads = device
        lines += [f"## {name}" + (f", {threads} threads" if threads else ""), ""]
        here = [r for r in found if (r.get("device"), r.get("threads")) == device]
        versions = sorted(
            {f"{r.get('version')} {r.get('commit') or ''}{' and changes' if r.get('dirty') else ''}" for r in here}
        )
        lines += [f"gpucnn {', '.join(versions)}", ""]
        for bench, (title, rows) in TABLES.items():
            chosen = [r for r in here if r["bench"] == bench]
            if chosen:
                lines += [f"### {title}", "", *markdown(*rows(chosen)), ""]
    return lines
