"""Convolution layers: every algorithm, and PyTorch, on the same arrays, in turn; each direction apart.

A result that breaks the tolerance law is not timed. Printed are medians in milliseconds; records also have quartiles,
floating-point operations of the direct algorithm and the bytes of the operands.
"""

import time
from dataclasses import replace
from functools import partial

import numpy as np

from gpucnn import config, layout, native
from gpucnn.conv import ALGOS, DIRECTIONS, law, run
from gpucnn.conv.choose import candidates, pick
from gpucnn.conv.reference import convolve
from gpucnn.device import parse, synchronize, to_device
from gpucnn.dtype import FLOATS

from .layers import LAYERS, NETWORKS, layers_of, shape_from
from .session import DTYPES, Session, arguments, torch_or_refuse
from .tables import better_auto, better_torch
from .timing import LONGEST, interleaved, statistics

LARGEST_CHECK = 2e8  # flops that the float64 oracle does in a second; of a larger convolution a part is checked


def names(kind, direction, shape, dtype, wanted):
    """Of the wanted algorithms those that can do this; of all (None) but direct, which is the meaning, no contender.

    In channels_last order those that need no copies: the others are the same with them.
    """
    able = [c.name for c in candidates(kind, direction, shape, dtype) if not c.excluded and not c.copies]
    if wanted is None:
        return ["auto", *(name for name in able if name != "direct" or able == ["direct"])]
    return [name for name in wanted if name == "auto" or name in able]


def torchs(direction, shape, a, b, device):
    """PyTorch's calls by memory layout: {"torch nchw": function, "torch channels_last": function}."""
    import torch

    if device == "cpu":
        torch.set_num_threads(native.cpu().num_threads())
    settings = ([*shape.stride], [*shape.pad], [*shape.dilation], False, [0, 0], shape.groups)
    found, backward = {}, torch.ops.aten.convolution_backward
    for order in ("contiguous_format", "channels_last"):
        memory_format = getattr(torch, order)

        def there(array, memory_format=memory_format):
            # bfloat16 arrays of ml_dtypes are unknown to PyTorch; every bfloat16 is a float32.
            wide = torch.from_numpy(array.astype(np.float32))
            return wide.to(device, getattr(torch, array.dtype.name)).contiguous(memory_format=memory_format)

        p, q = there(a), there(b)
        x, w = there(np.zeros(shape.x, a.dtype)), there(np.zeros(shape.w, a.dtype))
        calls = {
            "fwd": lambda p=p, q=q: torch.conv2d(p, q, None, *settings[:3], settings[-1]),
            "dgrad": lambda p=p, q=q, x=x: backward(p, x, q, None, *settings, [True, False, False])[0],
            "wgrad": lambda p=p, q=q, w=w: backward(q, p, w, None, *settings, [False, True, False])[1],
        }
        found["torch nchw" if order == "contiguous_format" else "torch channels_last"] = calls[direction]
    return found


def part(direction, shape, limit=LARGEST_CHECK):
    """What to check of a large convolution: (a smaller ConvShape, indices into a, b and out).

    One image (the last; wgrad sums over all), and groups or else channels of the result, evenly spread with the first
    and the last among them.
    """
    if shape.flops <= limit:
        return shape, *(np.ix_(*map(range, size)) for size in shape.operands(direction))
    images = range(shape.N) if direction == "wgrad" else range(shape.N - 1, shape.N)
    share = limit / (shape.flops * len(images) / shape.N)

    def spread(count, share):
        kept = min(count, max(2, int(count * share)))
        return np.unique(np.linspace(0, count - 1, kept).astype(int))

    C, K, groups = shape.C // shape.groups, shape.K // shape.groups, spread(shape.groups, share)
    channels = filters = range(max(C, K))
    if shape.groups == 1 and direction in ("dgrad", "wgrad"):
        channels = spread(C, share**0.5 if direction == "wgrad" else share)
    if shape.groups == 1 and direction in ("fwd", "wgrad"):
        filters = spread(K, share**0.5 if direction == "wgrad" else share)
    c, k = list(channels)[:C], list(filters)[:K]
    all_c, all_k = ([g * n + i for g in groups for i in ids] for n, ids in ((C, c), (K, k)))
    rows, columns = range(shape.R), range(shape.S)
    x = np.ix_(images, all_c, range(shape.H), range(shape.W))
    y = np.ix_(images, all_k, range(shape.P), range(shape.Q))
    w = np.ix_(all_k, c, rows, columns)
    small = replace(shape, N=len(images), C=len(all_c), K=len(all_k), groups=len(groups))
    return small, *{"fwd": (x, w, y), "dgrad": (y, w, x), "wgrad": (x, y, w)}[direction]


class Check:
    """Holds results of one convolution, or a part of a large one, to the law; the reference is computed once."""

    def __init__(self, kind, direction, shape, a, b):
        self.kind, self.direction, self.shape = kind, direction, shape
        self.part, of_a, of_b, self.of_out = part(direction, shape)
        wide = [array[index].astype(np.float64) for array, index in ((a, of_a), (b, of_b))]
        self.ref = convolve(direction, self.part, *wide)
        self.magnitude = convolve(direction, self.part, *map(np.abs, wide))

    def __call__(self, name, out):
        """Raise LawBroken where ``out``, by an algorithm or PyTorch ("torch ..."), is wrong."""
        dtype = out.dtype.name
        name, _, layout = name.partition(" ")
        if name == "auto":
            shape = replace(self.shape, channels_last=layout == "channels_last")
            name = pick(self.kind, self.direction, shape, dtype).name
        # PyTorch does not say which algorithm it takes: its bound is that of the least accurate one here.
        row = ALGOS["cpu", self.direction]["winograd4"] if name == "torch" else None
        row = row or ALGOS[self.kind, self.direction][name]
        magnitude = self.magnitude.max(axis=(2, 3), keepdims=True) if row.bound == "plane" else self.magnitude
        law.check(out[self.of_out], self.ref, magnitude, self.shape.terms(self.direction), row.error)


def as_numpy(out, dtype):
    """A result of gpucnn or of PyTorch as a NumPy array."""
    if type(out).__module__ == "torch":
        out = out.detach().float().cpu().numpy().astype(FLOATS[dtype])
    return to_device(out, "cpu")


def measure(session, direction, shape, dtype, options, said, wanted, seconds):
    """The statistics of all contenders, or None where there is none or every one was refused.

    options    has ``device`` and ``compare`` ("torch" or None)
    said       of a result that is refused
    wanted     algorithms, or None: all

    On a GPU those that need no copies for it are timed in channels_last order, too.
    """
    kind, _ = parse(device := options.device)
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(s, np.float32).astype(FLOATS[dtype]) for s in shape.operands(direction)[:2])
    calls = {}
    for last in (False, True) if kind == "cuda" else (False,):
        form = replace(shape, channels_last=last)
        arrays = [
            layout.from_memory(to_device(layout.in_memory(array, order), device), order)
            for array, order in zip((a, b), form.in_channels_last(direction)[:2], strict=True)
        ]
        for name in names(kind, direction, form, dtype, wanted):
            calls[f"{name} channels_last" if last else name] = partial(run, direction, form, *arrays, algorithm=name)
    if calls and options.compare:
        calls |= torchs(direction, shape, a, b, device)
    check, slow = Check(kind, direction, shape, a, b), {}
    for name in list(calls):
        start = time.perf_counter()
        out = as_numpy(calls[name](), dtype)
        spent = time.perf_counter() - start
        try:
            check(name, out)
        except law.LawBroken as error:
            session.refuse(f"{said} {name}", error)
            del calls[name]
        else:
            if spent > LONGEST:  # once is enough
                slow[name] = [spent]
                del calls[name]
    synchronize(kind)
    times = interleaved(calls, kind, seconds) if calls else {}
    return statistics(times | slow) if times | slow else None


def record(shape, direction, dtype):
    """The fields of a record that the shape gives."""
    elements = sum(int(np.prod(size, dtype=object)) for size in shape.operands(direction))
    return {
        "shape": shape.ints,
        "direction": direction,
        "dtype": dtype,
        "flops": shape.flops,
        "bytes": elements * FLOATS[dtype].itemsize,
    }


def main(argv):
    parser = arguments("conv", __doc__.splitlines()[0])
    parser.add_argument(
        "--layers",
        nargs="+",
        metavar="NAME",
        help=f"sets ({', '.join(LAYERS)}) or networks as of gpucnn summary (default: all sets, {', '.join(NETWORKS)})",
    )
    parser.add_argument(
        "--shape",
        nargs="+",
        metavar="SIZES",
        help="layers as N,C,H,W,K,R,S[,pad[,stride[,dilation[,groups]]]]; a pair (h, w) is 1x2",
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:1 (default: cpu)")
    parser.add_argument("--dtype", nargs="+", choices=DTYPES, default=["float32"])
    parser.add_argument("--direction", nargs="+", choices=DIRECTIONS, default=list(DIRECTIONS))
    parser.add_argument("--algorithm", nargs="+", metavar="NAME", help="(default: auto and all that can do the layer)")
    parser.add_argument("--batch", type=int, help="images, in place of the layer's own")
    parser.add_argument("--compare", choices=["torch"], help="time PyTorch in turn with gpucnn")
    parser.add_argument("--seconds", type=float, help="for each layer and direction, at least (default: 1)")
    parser.add_argument("--quick", action="store_true", help="the set friendly, 0.1 seconds, batch 1: under a minute")
    options = parser.parse_args(argv)
    if options.compare:
        torch_or_refuse()
    kind, _ = parse(options.device)
    for name in options.algorithm or ():
        if name != "auto" and name not in ALGOS[kind, "fwd"]:
            known = ", ".join(["auto", *ALGOS[kind, "fwd"]])
            raise ValueError(f"conv: an algorithm on {kind} is one of {known}, but came {name!r}")
    if options.batch is not None and options.batch < 1:
        raise ValueError(f"conv: a batch has at least one image, but came {options.batch}")
    batch = options.batch or (1 if options.quick and not options.shape else None)
    layers = [("shape", text, shape_from(text)) for text in options.shape or ()]
    layers = [(which, text, replace(shape, N=batch or shape.N)) for which, text, shape in layers]
    if not layers or options.layers:
        for which in options.layers or (["friendly"] if options.quick else [*LAYERS, *NETWORKS]):
            layers += [(which, name, shape) for name, shape in layers_of(which, batch)]
    seconds = options.seconds or (0.1 if options.quick else 1.0)
    total = len(layers) * len(options.direction) * len(options.dtype)
    with Session("conv", total, options.out, options.device) as session:
        for which, name, shape in layers:
            for direction in options.direction:
                for dtype in options.dtype:
                    said = f"{name:28} {direction:5} {dtype}"
                    found = measure(session, direction, shape, dtype, options, said, options.algorithm, seconds)
                    if found is None:
                        session.total -= 1
                        continue
                    medians = found["median_ms"]
                    times = "  ".join(f"{who} {ms:.3g}" for who, ms in medians.items())
                    theirs = better_torch(medians)
                    ours = better_auto(medians)
                    ratio = f"  {theirs / ours:.2f}x" if theirs and ours else ""
                    session.result(
                        f"{said}  {times}{ratio}",
                        layers=which,
                        layer=name,
                        **record(shape, direction, dtype),
                        workspace_limit=config.get("workspace"),
                        **found,
                    )
        if not session.rows and not session.refused:
            raise ValueError(f"conv: {', '.join(options.algorithm)} can do one of the layers, but none can be done")
    return session.code
