"""Matrix products (M, K) @ (K, N) of each size: TFLOPS of gpucnn and PyTorch, in turn, on the CPU and on a GPU.

A result that breaks the tolerance law is not timed.
"""

import argparse

import numpy as np

from gpucnn import matmul, native, tensor
from gpucnn.conv import law
from gpucnn.device import cuda_problem, parse, synchronize
from gpucnn.dtype import FLOATS

from .session import DTYPES, Session, arguments, torch_or_refuse
from .timing import interleaved, statistics

SIZES, QUICK = (128, 256, 512, 1024, 2048, 4096), (128, 256, 512, 1024)
CHECKED = 16  # rows of the result, evenly spread with the first and the last


def size(text):
    """(M, N, K) of "512" or "512,256,128"."""
    sizes = tuple(map(int, text.split(",")))
    if len(sizes) not in (1, 3) or min(sizes) < 1:
        raise argparse.ArgumentTypeError(f"is one length from 1 on, or M,N,K, but came {text}")
    return sizes * 3 if len(sizes) == 1 else sizes


def measure(session, M, N, K, dtype, device, compare, seconds):
    """The statistics of the contenders, or None where all were refused."""
    kind, _ = parse(device)
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(s, np.float32).astype(FLOATS[dtype]) for s in ((M, K), (K, N)))
    ours = [tensor(array).to(device) for array in (a, b)]
    calls = {"gpucnn": lambda: matmul(*ours)}
    if compare:
        import torch

        if kind == "cpu":
            torch.set_num_threads(native.cpu().num_threads())
        theirs = [torch.from_numpy(v.astype(np.float32)).to(device, getattr(torch, dtype)) for v in (a, b)]
        calls["torch"] = lambda: theirs[0] @ theirs[1]
    rows = np.unique(np.linspace(0, M - 1, min(M, CHECKED)).astype(int))
    wide, other = a[rows].astype(np.float64), b.astype(np.float64)
    ref, magnitude = wide @ other, np.abs(wide) @ np.abs(other)
    for name in list(calls):
        out = calls[name]()
        out = out.numpy() if name == "gpucnn" else out.float().cpu().numpy().astype(FLOATS[dtype])
        try:
            law.check(out[rows], ref, magnitude, K)
        except law.LawBroken as error:
            session.refuse(f"{M}x{N}x{K} {dtype} {name}", error)
            del calls[name]
    synchronize(kind)
    return statistics(interleaved(calls, kind, seconds)) if calls else None


def main(argv):
    parser = arguments("gemm", __doc__.splitlines()[0])
    parser.add_argument("--size", nargs="+", type=size, metavar="M,N,K", help="or one length (default: 128 to 4096)")
    parser.add_argument("--device", nargs="+", help="(default: the CPU, and the GPU where there is one)")
    parser.add_argument("--dtype", nargs="+", choices=DTYPES, default=["float32"])
    parser.add_argument("--compare", choices=["torch"], help="time PyTorch in turn with gpucnn")
    parser.add_argument("--seconds", type=float, help="for each product, at least (default: 1)")
    parser.add_argument("--quick", action="store_true", help="0.1 seconds each, up to 1024")
    options = parser.parse_args(argv)
    if options.compare:
        torch_or_refuse()
    sizes = options.size or [(n, n, n) for n in (QUICK if options.quick else SIZES)]
    seconds = options.seconds or (0.1 if options.quick else 1.0)
    code = 0
    for device in options.device or (["cpu"] if cuda_problem() else ["cpu", "cuda"]):
        with Session("gemm", len(sizes) * len(options.dtype), options.out, device) as session:
            for M, N, K in sizes:
                for dtype in options.dtype:
                    found = measure(session, M, N, K, dtype, device, options.compare, seconds)
                    if found is None:
                        continue
                    flops = 2 * M * N * K
                    said = "  ".join(
                        f"{who} {ms:.3g} ms {flops / ms / 1e9:.3f} TFLOPS" for who, ms in found["median_ms"].items()
                    )
                    session.result(
                        f"{M}x{N}x{K} {dtype}  {said}",
                        size=[M, N, K],
                        dtype=dtype,
                        flops=flops,
                        bytes=(M * K + K * N + M * N) * FLOATS[dtype].itemsize,
                        **found,
                    )
        code = max(code, session.code)
    return code
