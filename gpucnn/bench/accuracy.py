"""Accuracy of every algorithm against float64, over shapes that try every edge.

For each row of ALGOS, direction and dtype, over the shapes of cases.py and several seeds: the factor f of the
tolerance law that would just have held (Algo.error declares it with a margin), and the relative L2 error, both
against float64. Inputs are standard normal, rounded to the dtype.
"""

import numpy as np

from gpucnn import native
from gpucnn.conv import ALGOS, DIRECTIONS, run
from gpucnn.conv.law import factor
from gpucnn.conv.reference import convolve
from gpucnn.device import parse, to_device
from gpucnn.dtype import FLOATS

from .cases import CASES, operands
from .session import DTYPES, Session, arguments

SEEDS = 5


def measure(device, direction, name, dtype, seeds=SEEDS):
    """{"factor", the "case" where it was found, "l2": the largest relative L2 error}, or None: not in this dtype, or on
    this device."""
    row, worst = ALGOS[device, direction][name], {"factor": 0.0, "case": None, "l2": 0.0}
    shapes = {case: shape for case, shape in CASES.items() if row.takes(shape, dtype) and shape.N}
    if not shapes or row.lacks(getattr(native, device)()):
        return None
    for case, shape in shapes.items():
        for seed in range(seeds):
            a, b = operands(shape, direction, FLOATS[dtype], seed)
            arrays = (to_device(array, device) for array in (a, b))
            out = to_device(run(direction, shape, *arrays, algorithm=name), "cpu")
            ref = convolve(direction, shape, a, b)
            f = factor(direction, shape, a, b, out, row.bound)
            if f > worst["factor"]:
                worst |= {"factor": f, "case": case}
            error = np.linalg.norm(out.astype(np.float64) - ref)
            worst["l2"] = max(worst["l2"], error / np.linalg.norm(ref) if error else 0.0)
    return worst


def main(argv):
    parser = arguments("accuracy", __doc__.splitlines()[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--quick", action="store_true", help="one draw of random numbers in place of five")
    options = parser.parse_args(argv)
    kind, _ = parse(options.device)
    seeds = 1 if options.quick else SEEDS
    every = [
        (name, d, dtype)
        for name in ALGOS[kind, "fwd"]
        for d in DIRECTIONS
        if name in ALGOS[kind, d]
        for dtype in DTYPES
    ]
    with Session("accuracy", len(every), options.out, options.device) as session:
        session.line(f"{'algorithm':12} {'':5} {'dtype':8}  {'f':>6} {'limit':>5}  relative L2  where")
        for name, direction, dtype in every:
            found = measure(kind, direction, name, dtype, seeds)
            if found is None:
                session.total -= 1
                continue
            row = ALGOS[kind, direction][name]
            if not found["factor"] <= row.error:
                session.refuse(f"{name} {direction} {dtype}", f"f is {found['factor']:.3g} in {found['case']}")
            session.result(
                f"{name:12} {direction:5} {dtype:8}  {found['factor']:6.3f} {row.error:5g}  {found['l2']:11.2e}"
                f"  {found['case']}",
                algorithm=name,
                direction=direction,
                dtype=dtype,
                declared=row.error,
                bound=row.bound,
                **found,
            )
    return session.code
