"""Convolution layers on the CPU: `python -m bench.conv [--layers SET...] [--compare torch] [--out FILE.jsonl]`.

Every algorithm and PyTorch, in NCHW and in channels_last, run in one process on the same arrays and threads, in turn;
each direction apart. A result that breaks the tolerance law is not timed. Printed are medians in milliseconds.
"""

import argparse
import json
import time

import numpy as np

from bench.environment import cpu, source
from bench.layers import LAYERS
from gpucnn import native
from gpucnn.conv import ALGOS, DIRECTIONS, run
from gpucnn.conv.choose import pick
from tests.tolerance import check_conv

LARGEST_CHECK = 3e9  # flops of a convolution that the float64 oracle can do in seconds; else one image is checked

LONGEST = 20  # seconds: where a round takes long, fewer than five are enough


def ours(direction, shape, a, b):
    """{"auto" or an algorithm: a function that runs it}; direct is left out, it is the meaning and not a contender."""
    names = [n for n, row in ALGOS["cpu", direction].items() if n != "direct" and row.takes(shape, "float32")]
    return {name: lambda name=name: run(direction, shape, a, b, algorithm=name) for name in ("auto", *names)}


def torchs(direction, shape, a, b):
    """The same by PyTorch, by memory layout: {"torch nchw": function, "torch channels_last": function}."""
    import torch

    torch.set_num_threads(native.cpu().num_threads())
    x_shape, w_shape = shape.x, shape.w
    settings = ([*shape.stride], [*shape.pad], [*shape.dilation], False, [0, 0], shape.groups)
    found, backward = {}, torch.ops.aten.convolution_backward
    for layout in ("contiguous_format", "channels_last"):
        memory_format = getattr(torch, layout)
        p, q = (torch.from_numpy(v).contiguous(memory_format=memory_format) for v in (a, b))
        x = torch.zeros(x_shape).contiguous(memory_format=memory_format)
        w = torch.zeros(w_shape).contiguous(memory_format=memory_format)
        calls = {
            "fwd": lambda p=p, q=q: torch.conv2d(p, q, None, *settings[:3], settings[-1]),
            "dgrad": lambda p=p, q=q, x=x: backward(p, x, q, None, *settings, [True, False, False])[0],
            "wgrad": lambda p=p, q=q, w=w: backward(q, p, w, None, *settings, [False, True, False])[1],
        }
        found["torch nchw" if layout == "contiguous_format" else "torch channels_last"] = calls[direction]
    return found


def check(direction, shape, a, b, name, out):
    """The law: of the whole result, or of the first image where the oracle would take minutes (then not wgrad)."""
    if name == "auto":
        name = pick("cpu", direction, shape, "float32").name
    row = ALGOS["cpu", direction]["im2col" if name.startswith("torch") else name]
    out = np.asarray(out)
    if shape.flops > LARGEST_CHECK:
        if direction == "wgrad":
            return
        one = type(shape)(1, *shape.ints[1:7], shape.pad, shape.stride, shape.dilation, shape.groups)
        shape, a, out = one, a[:1], out[:1]
    check_conv(direction, shape, a, b, out, row.error, row.bound)


def measure(direction, shape, compare, seconds):
    """{name: times in seconds}, all contenders in turn."""
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(s, dtype=np.float32) for s in shape.operands(direction)[:2])
    contenders = ours(direction, shape, a, b) | (torchs(direction, shape, a, b) if compare else {})
    for name, call in contenders.items():
        check(direction, shape, a, b, name, call())
    times = {name: [] for name in contenders}
    began = time.perf_counter()
    while (spent := time.perf_counter() - began) < seconds or (len(times["auto"]) < 5 and spent < LONGEST):
        for name, call in contenders.items():
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", nargs="+", choices=LAYERS, default=list(LAYERS))
    parser.add_argument("--compare", choices=["torch"])
    parser.add_argument("--seconds", type=float, default=1.0, help="at least, for each layer and direction")
    parser.add_argument("--out", help="append JSON lines to this file")
    options = parser.parse_args()
    if options.compare:
        import torch  # noqa: F401  (first, so that both share its OpenMP as it sets it up)
    about = {**cpu(), **source()}
    for layers in options.layers:
        for name, shape in LAYERS[layers]:
            for direction in DIRECTIONS:
                times = measure(direction, shape, options.compare, options.seconds)
                medians = {who: 1e3 * float(np.median(t)) for who, t in times.items()}
                said = "  ".join(f"{who} {ms:.2f}" for who, ms in medians.items())
                theirs = min((ms for who, ms in medians.items() if who.startswith("torch")), default=None)
                ratio = f"  {theirs / medians['auto']:.2f}x" if theirs else ""
                print(f"{name:28} {direction:5} {said}{ratio}", flush=True)
                if options.out:
                    record = {
                        "bench": "conv",
                        "layers": layers,
                        "layer": name,
                        "shape": shape.ints,
                        "direction": direction,
                        "dtype": "float32",
                        "median_ms": medians,
                        "quartiles_ms": {w: [1e3 * q for q in np.percentile(t, (25, 75))] for w, t in times.items()},
                        "flops": shape.flops,
                        **about,
                    }
                    with open(options.out, "a") as file:
                        file.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
