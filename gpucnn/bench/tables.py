"""Markdown tables of results: one for each kind of benchmark."""

from .results import latest


def markdown(headings, rows):
    """The lines of a table; the first column is text, the others are set to the right."""
    lines = [" | ".join(["", *headings, ""]).strip(), "|---|" + "--:|" * (len(headings) - 1)]
    return lines + [" | ".join(["", *map(str, row), ""]).strip() for row in rows]


def better_torch(medians):
    """PyTorch's time in its better memory layout, or None."""
    return min((ms for who, ms in medians.items() if who.startswith("torch")), default=None)


def better_auto(medians):
    """The time of auto in its better memory layout, or None."""
    return min((ms for who, ms in medians.items() if who.split()[0] == "auto"), default=None)


def number(value, form=".3g"):
    """A figure, or nothing where there is none."""
    return "" if value is None else f"{value:{form}}"


def of(records, bench):
    """The records of one benchmark."""
    return [r for r in records if r["bench"] == bench]


def roof(records, dtype):
    """(TFLOPS of the fastest product in dtype, TB/s of the largest copy) as this device reached them; None: unknown."""
    products = [r for r in of(records, "gemm") if r["dtype"] == dtype and "gpucnn" in r["median_ms"]]
    flops = max((r["flops"] / r["median_ms"]["gpucnn"] / 1e9 for r in products), default=None)
    largest = max(of(records, "copy"), key=lambda r: r["bytes"], default={"median_ms": {}})
    ms = next((largest["median_ms"][who] for who in ("on GPU", "memory") if who in largest["median_ms"]), None)
    return flops, ms and 2 * largest["bytes"] / ms / 1e9  # read once, written once


def percent_of_roof(flops, bytes_moved, ms, found):
    """Of what arithmetic and traffic allow at the rates of ``roof``; a fast algorithm can pass 100. None: unknown.

    bytes_moved    None where the traffic is not counted: then arithmetic alone is the roof
    """
    products, copies = found
    if not products or (bytes_moved and not copies):
        return None
    least_ms = max(flops / products, bytes_moved / copies if bytes_moved else 0) / 1e9
    return 100 * least_ms / ms


def conv_rows(records):
    """A line a layer, direction and dtype: ours, the fastest row, PyTorch, and what "auto" achieves."""
    headings = ["layer", "shape", "direction", "dtype", "auto ms", "fastest", "ms", "PyTorch ms", "speed", "TFLOPS"]
    headings.append("% of roof")
    rows = []
    for r in of(records, "conv"):
        N, C, H, W, K, R, S, *_ = r["shape"]
        ours = {who: ms for who, ms in r["median_ms"].items() if not who.startswith("torch")}
        single = {who: ms for who, ms in ours.items() if who.split()[0] != "auto"} or ours
        if not single:
            continue
        best, theirs, auto = min(single, key=single.get), better_torch(r["median_ms"]), better_auto(r["median_ms"])
        measured = auto or single[best]
        share = percent_of_roof(r["flops"], r["bytes"], measured, roof(records, r["dtype"]))
        rows.append(
            [
                *(r["layer"], f"{N}x{C}x{H}x{W}, {K} of {R}x{S}", r["direction"], r["dtype"], number(auto), best),
                *(number(single[best]), number(theirs), f"{theirs / measured:.2f}" if theirs else ""),
                f"{r['flops'] / measured / 1e9:.3g}",
                number(share, ".0f"),
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
        "% of roof",
        "MiB",
        "W",
    ]
    rows = []
    for r in of(records, "net"):
        who = [" ".join(filter(None, (r["model"], r.get("layout")))), r["batch"], r["dtype"]]
        if r.get("out_of_memory"):
            rows.append([*who, "out of memory", *[""] * 7])
        elif ours := phases(r, "gpucnn"):
            speed = r["images_per_second"]
            memory = number(r["peak_bytes"] and r["peak_bytes"] / 2**20, ".0f")
            # Backward has two products for each of forward's.
            share = percent_of_roof(3 * r["flops_forward"], None, sum(ours), roof(records, r["dtype"]))
            speeds = [number(speed.get(framework), ".4g") for framework in ("gpucnn", "torch")]
            rows.append(
                [
                    *who,
                    *map(number, ours),
                    *speeds,
                    number(share, ".0f"),
                    memory,
                    number(r.get("power_w_at_end"), ".0f"),
                ]
            )
    return headings, rows


def gemm_rows(records):
    """A line a product."""
    rows = []
    for r in of(records, "gemm"):
        tflops = {who: r["flops"] / ms / 1e9 for who, ms in r["median_ms"].items()}
        rows.append(
            ["x".join(map(str, r["size"])), r["dtype"], *(number(tflops.get(who)) for who in ("gpucnn", "torch"))]
        )
    return ["M x N x K", "dtype", "TFLOPS", "PyTorch's TFLOPS"], rows


def copy_rows(records):
    """A line a size, a column a kind of copy."""
    records = of(records, "copy")
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
        for r in of(records, "accuracy")
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
            if of(here, bench):
                lines += [f"### {title}", "", *markdown(*rows(here)), ""]
    return lines
