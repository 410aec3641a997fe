"""Copies of blocks of bytes: memory to memory on the CPU; with a GPU also to it, from it (pageable, pinned) and on it.

Gigabytes a second (1e9 bytes) of the block: each byte is read once and written once. What was copied is compared.
"""

import numpy as np

from gpucnn.device import cuda_problem, synchronize

from .session import Session, arguments
from .timing import interleaved, statistics

SIZES, QUICK = (2**16, 2**20, 2**24, 2**28), (2**16, 2**20, 2**24)


def on_cpu(data):
    """{copy: (function, what reads its result)}."""
    there = np.empty_like(data)
    return {"memory": (lambda: np.copyto(there, data), lambda: there)}


def on_cuda(data):
    """The same with a GPU; all on the null stream."""
    import cupy

    memory = cupy.cuda.alloc_pinned_memory(data.nbytes)
    pinned = np.frombuffer(memory, np.uint8, data.nbytes)
    pinned[:] = data
    there, here, other = cupy.asarray(data), np.empty_like(data), cupy.empty_like(data)
    back_memory = cupy.cuda.alloc_pinned_memory(data.nbytes)
    back = np.frombuffer(back_memory, np.uint8, data.nbytes)
    targets = {name: cupy.empty_like(there) for name in ("pageable", "pinned")}
    return {
        "to GPU, pageable": (lambda: targets["pageable"].set(data), lambda: targets["pageable"].get()),
        "to GPU, pinned": (lambda: targets["pinned"].set(pinned), lambda: targets["pinned"].get()),
        "from GPU, pageable": (lambda: there.get(out=here), lambda: here),
        "from GPU, pinned": (lambda: there.get(out=back), lambda: back),
        "on GPU": (lambda: cupy.copyto(other, there), lambda: other.get()),
    }


def main(argv):
    parser = arguments("copy", __doc__.splitlines()[0])
    parser.add_argument("--device", help="cpu or cuda (default: cuda where there is a GPU)")
    parser.add_argument("--seconds", type=float, help="for each size, at least (default: 1)")
    parser.add_argument("--quick", action="store_true", help="0.1 seconds each, up to 16 MiB")
    options = parser.parse_args(argv)
    device = options.device or ("cpu" if cuda_problem() else "cuda")
    kind, sizes = device.split(":")[0], QUICK if options.quick else SIZES
    with Session("copy", len(sizes), options.out, device) as session:
        for count in sizes:
            data = np.random.default_rng(0).integers(0, 256, count, np.uint8)
            calls = on_cpu(data) if kind == "cpu" else on_cuda(data)
            for name, (copy, result) in list(calls.items()):
                copy()
                synchronize(kind)
                if not np.array_equal(result(), data):
                    session.refuse(f"{count} bytes {name}", "the bytes differ")
                    del calls[name]
            times = interleaved(
                {name: copy for name, (copy, _) in calls.items()},
                kind,
                options.seconds or (0.1 if options.quick else 1.0),
            )
            found = statistics(times)
            said = "  ".join(f"{name} {count / ms / 1e6:.1f} GB/s" for name, ms in found["median_ms"].items())
            session.result(f"{count / 2**20:8.2f} MiB  {said}", dtype="uint8", bytes=count, **found)
    return session.code
