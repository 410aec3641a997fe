"""Writes the README's results from bench/results/*.jsonl, and draws its pictures: `python -m bench.report [--check]`.

--check writes nothing and fails where the README differs from what the results say. It needs Python only: of pictures
it compares the results from which they were drawn.
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path
from statistics import geometric_mean

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
BEGIN, END = "<!-- results: written by `python -m bench.report`; do not edit -->", "<!-- /results -->"


def records():
    """Every committed measurement, oldest first within a file."""
    for path in sorted(RESULTS.glob("*.jsonl")):
        for line in path.read_text().splitlines():
            yield json.loads(line)


def auto_ms(medians):
    """The time of "auto", in its better memory layout where it was timed in both."""
    return min(ms for who, ms in medians.items() if who.split()[0] == "auto")


def table(found):
    """The README's lines: the last result of each kind, or none."""
    identity = ("dtype", "data", "model", "batch", "layer", "algorithm", "direction", "layout")
    latest = {(r["bench"], r["device"], *map(r.get, identity)): r for r in found}
    trained = [r for r in latest.values() if r["bench"] == "train"]
    lines = []
    if trained:
        lines += [
            "| LeNet-5 trained on | dtype | device | epochs | training time | test accuracy |",
            "|---|---|---|---|---|---|",
        ]
        lines += [
            f"| {r['data']} | {r['dtype']} | {r['device']}, {r['threads']} threads | {r['epochs']}"
            f" | {r['seconds']:.0f} s | {100 * r['accuracy']:.2f} % |"
            for r in trained
        ]
        lines.append("")
    layers = [r for r in latest.values() if r["bench"] == "conv"]
    lines += layer_table(layers) + group_table(layers)
    lines += net_table([r for r in latest.values() if r["bench"] == "net"])
    lines += pictures(found)
    lines += curve_table([r for r in latest.values() if r["bench"] == "curve"])
    lines += pipeline_table([r for r in latest.values() if r["bench"] == "pipeline"])
    return lines + accuracy_table([r for r in latest.values() if r["bench"] == "accuracy"])


def layer_table(found):
    """One line a layer: how many times faster than PyTorch's better memory layout "auto" is, in each direction."""
    found = [r for r in found if r["layers"] == "friendly"]
    if not found:
        return []
    speed = {
        (r["layer"], r["direction"]): min(t for who, t in r["median_ms"].items() if who.startswith("torch"))
        / auto_ms(r["median_ms"])
        for r in found
    }
    lines = [
        f"Convolution layers in float32, speed relative to PyTorch's better memory layout ({found[0]['device']},"
        f" {found[0]['threads']} threads; `gpucnn bench conv --compare torch`):",
        "",
        "| layer | input | filter | fwd | dgrad | wgrad |",
        "|---|---|---|---|---|---|",
    ]
    for r in found:
        if r["direction"] == "fwd":
            N, C, H, W, K, R, S, *_ = r["shape"]
            found_speed = (speed.get((r["layer"], d)) for d in ("fwd", "dgrad", "wgrad"))
            ratios = " | ".join("not measured" if v is None else f"{v:.2f}" for v in found_speed)
            lines.append(f"| {r['layer']} | {N}x{C}x{H}x{W} | {K}, {R}x{S} | {ratios} |")
    return [*lines, ""]


def is_depthwise(shape):
    return shape[15] == shape[1] > 1


# Which layers a line of group_table is about, by ConvShape.ints: N C H W K R S P Q pad stride dilation groups.
GROUPS = {
    "3x3, stride 1, 64 channels and filters or more": lambda s: (
        tuple(s[5:7]) == (3, 3) and tuple(s[11:13]) == (1, 1) and min(s[1], s[4]) >= 64 and s[15] == 1
    ),
    "1x1": lambda s: tuple(s[5:7]) == (1, 1),
    "11x11 and larger, stride 1": lambda s: s[5] >= 11 and s[11] == 1 and not is_depthwise(s),
    "depthwise": is_depthwise,
    "all": lambda s: True,
}


def group_table(found):
    """A line a group: geometric means over PyTorch's better layout, the least, and over NCHW, by direction."""
    lines = [
        "All layers that were measured, by group: geometric mean of the speed relative to PyTorch's better memory"
        " layout, the least in brackets, and relative to its default, NCHW:",
        "",
        "| layers | fwd | dgrad | wgrad | fwd, NCHW | dgrad, NCHW | wgrad, NCHW |",
        "|---|---|---|---|---|---|---|",
    ]
    compared = [r for r in found if "torch nchw" in r["median_ms"]]
    for name, belongs in GROUPS.items():
        better, default = [], []
        for direction in ("fwd", "dgrad", "wgrad"):
            times = [r["median_ms"] for r in compared if r["direction"] == direction and belongs(r["shape"])]
            ratios = [min(t["torch nchw"], t["torch channels_last"]) / auto_ms(t) for t in times]
            better.append(f"{geometric_mean(ratios):.2f} ({min(ratios):.2f}; {len(ratios)})" if ratios else "")
            default.append(f"{geometric_mean([t['torch nchw'] / auto_ms(t) for t in times]):.2f}" if ratios else "")
        lines.append(f"| {name} | {' | '.join(better + default)} |")
    return [*lines, ""] if compared else []


def net_table(found):
    """One line a network: milliseconds of a training step and of its phases, and PyTorch's."""
    if not found:
        return []
    first, phases = found[0], ("forward", "backward", "update")
    lines = [
        f"Training steps on random images, in ms ({first['device']}, {first['threads']} threads;"
        " `gpucnn bench net --compare torch`):",
        "",
        "| network | batch | dtype | forward | backward | update | step | PyTorch's step | speed |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for r in found:
        ours, theirs = ([r["median_ms"].get(f"{who} {phase}") for phase in phases] for who in ("gpucnn", "torch"))
        step, other = sum(ours), sum(theirs) if all(theirs) else None
        parts = " | ".join(f"{ms:.3g}" for ms in (*ours, step))
        rival = f"{other:.3g} | {other / step:.2f}" if other else " | "
        name = " ".join(filter(None, (r["model"], r.get("layout"))))
        lines.append(f"| {name} | {r['batch']} | {r['dtype']} | {parts} | {rival} |")
    return [*lines, ""]


def pictures(found):
    """The pictures that ``draw`` leaves, with the digest of what they show."""
    shown = [r for r in found if r["bench"] in ("conv", "net", "gemm", "copy", "lavin-gray")]
    if not shown:
        return []
    digest = hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()
    lines = [f"<!-- drawn from results of SHA-256 {digest} -->"]
    lines += [f"![{path.stem}](bench/results/{path.name})" for path in sorted(RESULTS.glob("*.png"))]
    return [*lines, ""]


def draw(found):
    """Draw the pictures anew."""
    from gpucnn.bench.plots import draw  # here, because --check needs neither Matplotlib nor the package

    for path in RESULTS.glob("*.png"):
        path.unlink()
    draw(found, RESULTS)


def curve_table(found):
    """One line a block of steps: the loss, and how far gpucnn and PyTorch's own other runs are from PyTorch's."""
    lines = []
    for r in found:
        lines += [
            f"The loss of ResNet-20 on CIFAR-10 (JPEG), from the same weights and batches as PyTorch {r['torch']}, is"
            f" {'' if r['within'] else 'not '}within the noise: what PyTorch differs by from itself in runs that"
            f" differ in rounding alone ({', '.join(r['blocks'][0]['torch'])}; root mean squares;"
            f" batch {r['batch']}, {r['dtype']}, {r['device']}, {r['threads']} threads; `python -m bench.curve`):",
            "",
            "| steps | loss | gpucnn - PyTorch | PyTorch - PyTorch, least to largest |",
            "|---|---|---|---|",
        ]
        for block in r["blocks"]:
            first, last = block["steps"]
            steps = f"{first + 1}" if first == last else f"{first + 1} to {last + 1}"
            noise = block["torch"].values()
            lines.append(
                f"| {steps} | {block['loss']:.3f} | {block['gpucnn']:.1e} | {min(noise):.1e} to {max(noise):.1e} |"
            )
        lines.append("")
    return lines


def pipeline_table(found):
    """One line a source of batches: the share of the time spent waiting for it, and what the workers cost the step."""
    lines = []
    for r in found:
        lines += [
            f"Waiting for augmented batches of {r['batch']} while {r['model']} trains ({r['device']}, {r['threads']}"
            f" threads; medians of {r['turns']} turns, and their range; `gpucnn bench pipeline`):",
            "",
            "| images, workers | time spent waiting | CPU time of step and batch, beside a step on the same batch |",
            "|---|---|---|",
        ]
        for name, row in r["training"].items():
            low, high = row["waiting_range"]
            lines.append(
                f"| {name} | {100 * row['waiting']:.1f} % ({100 * low:.1f} to {100 * high:.1f} %)"
                f" | {row['beside']:.2f} |"
            )
        lines.append("")
    return lines


def accuracy_table(found):
    """One line an algorithm and direction: the factor of the law that was measured, and relative L2 errors."""
    if not found:
        return []
    dtypes = ("float32", "float16", "bfloat16")
    lines = [
        "Accuracy against float64 (`gpucnn bench accuracy`): f of the tolerance law as measured and as declared in"
        " `gpucnn.conv.ALGOS`, and the largest relative L2 error, over the shapes of gpucnn/bench/cases.py:",
        "",
        "| device | algorithm | direction | f, float32 | declared | relative to | L2, float32 | float16 | bfloat16 |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    by_row = {}
    for r in found:
        by_row.setdefault((r["kind"], r["algorithm"], r["direction"]), {})[r["dtype"]] = r
    for (kind, algorithm, direction), by_dtype in by_row.items():
        one = by_dtype["float32"]
        errors = " | ".join(f"{by_dtype[d]['l2']:.1e}" if d in by_dtype else "" for d in dtypes)
        law = f"{one['factor']:.2f} | {one['declared']:g} | {one['bound']}"
        lines.append(f"| {kind} | {algorithm} | {direction} | {law} | {errors} |")
    return [*lines, ""]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    readme = ROOT / "README.md"
    before = readme.read_text()
    head, rest = before.split(BEGIN)
    found = list(records())
    if not options.check:
        draw(found)
    after = "\n".join([head + BEGIN, "", *table(found), END + rest.split(END)[1]])
    if options.check and after != before:
        sys.exit("README.md: results are those of bench/results, but they differ: run python -m bench.report")
    if not options.check:
        readme.write_text(after)


if __name__ == "__main__":
    main()
