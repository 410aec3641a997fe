"""Large filters beside stacks of small ones that see as far: weights and multiply-adds as counted, times as measured.

The lectures count, for C channels kept at H x W: one 7x7 has 49 C^2 weights, three 3x3 27 C^2; a bottleneck 3.25 C^2
beside 9 C^2; 1x3 and 3x1 6 C^2. Forward, without the ReLUs between the layers; the time of a stack is the sum of its
layers'.
"""

from gpucnn.conv import ConvShape

from . import conv
from .history import parsed, parser_of
from .session import Session
from .tables import better_auto, better_torch, markdown, number

BATCH, CHANNELS, SIDE = 8, 128, 28
# What sees as far, as (input channels, filters, height, width of a filter), channels in units of C / 2.
STACKS = {
    "7x7": {"one 7x7": [(2, 2, 7, 7)], "three 3x3": [(2, 2, 3, 3)] * 3},
    "5x5": {"one 5x5": [(2, 2, 5, 5)], "two 3x3": [(2, 2, 3, 3)] * 2},
    "3x3": {
        "one 3x3": [(2, 2, 3, 3)],
        "bottleneck 1x1, 3x3, 1x1": [(2, 1, 1, 1), (1, 1, 3, 3), (1, 2, 1, 1)],
        "bottleneck with 1x3, 3x1": [(2, 1, 1, 1), (1, 1, 1, 3), (1, 1, 3, 1), (1, 2, 1, 1)],
        "1x3, 3x1": [(2, 2, 1, 3), (2, 2, 3, 1)],
    },
}


def shapes(layers, batch, channels, side):
    """The ConvShapes of a stack, which keep the image's size."""
    half = channels // 2
    return [ConvShape(batch, c * half, side, side, k * half, r, s, (r // 2, s // 2)) for c, k, r, s in layers]


def weights(layers):
    """Weights in units of C^2; at H x W, multiply-adds in units of H W C^2."""
    return sum(c * k * r * s for c, k, r, s in layers) / 4


def main(argv):
    parser = parser_of("stacks", __doc__.splitlines()[0], "one image")
    parser.add_argument("--batch", type=int, help=f"images (default: {BATCH})")
    parser.add_argument("--channels", type=int, default=CHANNELS, help=f"C, an even number (default: {CHANNELS})")
    parser.add_argument("--side", type=int, default=SIDE, help=f"H and W (default: {SIDE})")
    options = parsed(parser, argv)
    batch = options.batch if options.batch is not None else (1 if options.quick else BATCH)
    if options.channels < 2 or options.channels % 2 or min(batch, options.side) < 1:
        raise ValueError(
            "stacks: channels are an even number, batch and side at least 1, but came"
            f" {options.channels}, {batch} and {options.side}"
        )
    seconds = options.seconds or (0.05 if options.quick else 1.0)
    total = sum(map(len, STACKS.values())) * len(options.dtype)
    with Session("stacks", total, options.out, options.device) as session:
        for dtype in options.dtype:
            for field, stacks in STACKS.items():
                for name, layers in stacks.items():
                    _one(session, field, name, layers, (batch, options.channels, options.side), dtype, options, seconds)
    print("\n".join(["", *table(session.rows)]))
    return session.code


def _one(session, field, name, layers, sizes, dtype, options, seconds):
    """Measure, print and keep one stack; equal layers are measured once."""
    chain, medians = shapes(layers, *sizes), {}
    for shape in dict.fromkeys(chain):
        found = conv.measure(session, "fwd", shape, dtype, options, f"{name} {dtype}", ["auto"], seconds)
        if found is None or not better_auto(found["median_ms"]):
            session.total -= 1
            return
        ms, count = found["median_ms"], chain.count(shape)
        for who, time in (("gpucnn", better_auto(ms)), ("torch", better_torch(ms))):
            if time:
                medians[who] = medians.get(who, 0) + count * time
    times = "  ".join(f"{who} {ms:.3g} ms" for who, ms in medians.items())
    session.result(
        f"{name:26} {dtype}  {weights(layers):5.2f} C^2  {times}",
        layers=field,
        layer=name,
        size=list(sizes),
        direction="fwd",
        dtype=dtype,
        weights=weights(layers),
        flops=sum(shape.flops for shape in chain),
        median_ms=medians,
    )


def table(rows):
    """The lines: each stack beside the single layer that sees as far; speed relative to that one."""
    lines, single = [], {}
    for r in rows:
        first = single.setdefault((r["layers"], r["dtype"]), r)
        for who, ms in r["median_ms"].items():
            one = first["median_ms"].get(who)
            speed = number(one and one / ms, ".2f")
            counted = f"{first['weights'] / r['weights']:.2f}"
            lines.append([f"{r['layer']}, {who} {r['dtype']}", f"{r['weights']:g}", counted, number(ms), speed])
    return markdown(["layers", "weights / C^2", "fewer multiply-adds, times", "ms", "faster, times"], lines)
