"""The tables of soumith/convnet-benchmarks, and today's figures of this device: four networks, five layers.

Total is forward and backward, as there; the update is measured, too, but not in the total. gpucnn's GoogLeNet trains
its two auxiliary heads as well.
"""

from gpucnn.conv import DIRECTIONS, ConvShape

from . import conv
from .history import network_table, networks, parsed, parser_of, records
from .session import Session
from .tables import better_auto, better_torch, markdown, number

# Their name, ours, the batch there, and with --quick.
NETWORKS = [
    ("AlexNet (One Weird Trick paper)", "alexnet-owt", 128, 4),
    ("Overfeat [fast]", "overfeat", 128, 2),
    ("OxfordNet [Model-A]", "vgg-a", 64, 1),
    ("GoogleNet V1", "googlenet", 128, 2),
]
# Stride 1, no padding: channels, image, filters, size of a filter.
LAYERS = {
    "L1": (3, 128, 96, 11),
    "L2": (64, 64, 128, 9),
    "L3": (128, 32, 128, 9),
    "L4": (128, 16, 128, 7),
    "L5": (384, 13, 384, 3),
}
BATCH, QUICK_BATCH = 128, 2


def layer(name, batch):
    """The ConvShape of L1 to L5."""
    C, H, K, R = LAYERS[name]
    return ConvShape(batch, C, H, H, K, R, R)


def layers(options):
    """Measure L1 to L5; the Session, closed, with its rows."""
    batch = QUICK_BATCH if options.quick else BATCH
    total = len(LAYERS) * len(DIRECTIONS) * len(options.dtype)
    session = Session("conv", total, options.out, options.device)
    with session:
        for name in LAYERS:
            for direction in DIRECTIONS:
                for dtype in options.dtype:
                    shape, said = layer(name, batch), f"{name} {direction:5} {dtype}"
                    seconds = options.seconds or (0.1 if options.quick else 1.0)
                    found = conv.measure(session, direction, shape, dtype, options, said, ["auto"], seconds)
                    if found is not None:
                        times = "  ".join(f"{who} {ms:.3g} ms" for who, ms in found["median_ms"].items())
                        fields = conv.record(shape, direction, dtype)
                        session.result(f"{said}  {times}", layers="convnet-benchmarks", layer=name, **fields, **found)
    return session


def layer_table(direction, rows):
    """Past and present times of the layers; backward is dgrad and wgrad. In ms, scaled to batches of BATCH."""
    lines = [
        [r["library"], *(r[name] for name in LAYERS), r["total"]]
        for r in records("soumith_layerwise")
        if r["direction"] == direction
    ]
    parts = ("fwd",) if direction == "forward" else ("dgrad", "wgrad")
    for dtype in dict.fromkeys(r["dtype"] for r in rows):
        for who in ("gpucnn", "torch"):
            times = {}
            for r in rows:
                medians = r["median_ms"]
                ms = better_auto(medians) if who == "gpucnn" else better_torch(medians)
                if r["dtype"] == dtype and r["direction"] in parts and ms:
                    times.setdefault(r["layer"], []).append(ms * BATCH / r["shape"][0])
            sums = [sum(times[name]) if len(times.get(name, ())) == len(parts) else None for name in LAYERS]
            if any(sums):
                device = rows[0]["device"]
                total = sum(sums) if all(sums) else None
                lines.append([f"**{who} {dtype}, {device}**", *map(number, sums), number(total)])
    return [*markdown([f"{direction}, ms", *LAYERS, "total"], lines), ""]


def main(argv):
    parser = parser_of("convnet-benchmarks", __doc__.splitlines()[0], "few images: under a minute")
    options = parsed(parser, argv)
    runs = [(ours, quick if options.quick else batch) for _, ours, batch, quick in NETWORKS]
    whole = networks("convnet-benchmarks", runs, options)
    single = layers(options)
    lines = [""]
    past = records("soumith_imagenet_winners")
    for theirs, ours, batch, _ in NETWORKS:
        rows = [
            (f"{r['library']}, {r['gpu']}", *(float(r[f"{part}_ms"]) for part in ("total", "forward", "backward")))
            for r in past
            if r["network"] == theirs
        ]
        lines += network_table(theirs, rows, batch, [r for r in whole.rows if r["model"] == ours])
    lines += [f"Layers, batch {BATCH}" + (f" (today: {QUICK_BATCH}, scaled)" if options.quick else ""), ""]
    for direction in ("forward", "backward"):
        lines += layer_table(direction, single.rows)
    print("\n".join(lines))
    return max(whole.code, single.code)
