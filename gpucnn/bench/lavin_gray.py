"""Tables 5 and 6 of Lavin & Gray (2015), and today's: VGG-E's convolutions, forward, by batch; Winograd and the rest.

Effective TFLOPS are the operations of the direct algorithm by the time, so that an algorithm with fewer products can
exceed the device's peak. A row that cannot do every layer is left to the others.
"""

from gpucnn.models import INPUTS, MODELS
from gpucnn.nn import init
from gpucnn.summary import conv_shapes

from . import conv
from .history import parsed, parser_of, records
from .session import Session
from .tables import markdown, number

BATCHES, QUICK_BATCHES = (1, 2, 4, 8, 16, 32, 64), (1, 2)


def shapes(batch):
    """{ConvShape: how often VGG-E has it}."""
    with init.skip():
        network = MODELS["vgg-e"]()
    counts = {}
    for _, shape in conv_shapes(network, INPUTS["vgg-e"], batch):
        counts[shape] = counts.get(shape, 0) + 1
    return counts


def measure(session, batch, dtype, options):
    """({who: ms of all layers}, flops of all layers) at a batch size, or None where a layer had no result."""
    totals, flops = {}, 0
    counts = shapes(batch)
    for shape, count in counts.items():
        seconds = options.seconds or (0.02 if options.quick else 0.5)
        said = f"vgg-e {shape.C}x{shape.H} batch {batch} {dtype}"
        found = conv.measure(session, "fwd", shape, dtype, options, said, None, seconds)
        if found is None:
            return None
        flops += count * shape.flops
        for who, ms in found["median_ms"].items():
            totals.setdefault(who, []).append(count * ms)
    return {who: sum(ms) for who, ms in totals.items() if len(ms) == len(counts)}, flops


def main(argv):
    parser = parser_of("lavin-gray", __doc__.splitlines()[0], "batches of 1 and 2: about a minute")
    options = parsed(parser, argv)
    batches = QUICK_BATCHES if options.quick else BATCHES
    with Session("lavin-gray", len(batches) * len(options.dtype), options.out, options.device) as session:
        for dtype in options.dtype:
            for batch in batches:
                found = measure(session, batch, dtype, options)
                if found is not None:
                    medians, flops = found
                    times = "  ".join(f"{who} {ms:.4g}" for who, ms in medians.items())
                    fields = {"model": "vgg-e", "batch": batch, "dtype": dtype, "direction": "fwd", "flops": flops}
                    session.result(f"batch {batch:2} {dtype}  {times} ms", **fields, median_ms=medians)
    rows = []
    for r in records("lavin_gray_vgg_e"):
        rows.append((int(r["batch"]), f"{r['algorithm']}, GPU of 2015", r["dtype"], float(r["ms"]), r["tflops"]))
    for r in session.rows:
        for who, ms in r["median_ms"].items():
            called = f"**{who}, {r['device']}**" if who.startswith("torch") else f"**gpucnn {who}, {r['device']}**"
            rows.append((r["batch"], called, r["dtype"], ms, f"{r['flops'] / ms / 1e9:.3g}"))
    rows.sort(key=lambda row: row[0])
    rows = [
        [who, batch, dtype, number(ms, ".4g"), tflops] for batch, who, dtype, ms, tflops in rows if batch in batches
    ]
    headings = ["VGG-E, forward, all convolutions", "batch", "dtype", "ms", "effective TFLOPS"]
    print("\n".join(["", *markdown(headings, rows)]))
    return session.code
