"""Accuracy of every algorithm: `python -m bench.accuracy [--device cuda] [--out FILE.jsonl]`.

For each row of ALGOS, direction and dtype, over the shapes of tests/cases.py and several seeds: the factor f of the
tolerance law that would just have held (Algo.error declares it with a margin), and the relative L2 error, both
against float64. Inputs are standard normal, rounded to the dtype.
"""

import argparse
import json

import numpy as np

from bench.environment import cpu, gpu, source
from gpucnn.conv import ALGOS, DIRECTIONS, run
from gpucnn.conv.reference import convolve
from gpucnn.device import to_device
from gpucnn.dtype import FLOATS
from tests.cases import CASES, operands
from tests.tolerance import factor

SEEDS = 5


def measure(device, direction, name, dtype):
    """{"factor", the "case" where it was found, "l2": the largest relative L2 error}, or None: not in this dtype."""
    row, worst = ALGOS[device, direction][name], {"factor": 0.0, "case": None, "l2": 0.0}
    shapes = {case: shape for case, shape in CASES.items() if row.takes(shape, dtype) and shape.N}
    if not shapes:
        return None
    for case, shape in shapes.items():
        for seed in range(SEEDS):
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


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--out", help="append JSON lines to this file")
    options = parser.parse_args()
    about = {**(cpu() if options.device == "cpu" else gpu()), **source()}
    print(f"{'algorithm':12} {'':5} {'dtype':8}  {'f':>6} {'limit':>5}  relative L2  where")
    for name in ALGOS[options.device, "fwd"]:
        for direction in DIRECTIONS:
            for dtype in ("float32", "float16", "bfloat16"):
                found = measure(options.device, direction, name, dtype)
                if found is None:
                    continue
                row = ALGOS[options.device, direction][name]
                print(
                    f"{name:12} {direction:5} {dtype:8}  {found['factor']:6.3f} {row.error:5g}  {found['l2']:11.2e}"
                    f"  {found['case']}",
                    flush=True,
                )
                if options.out:
                    record = {
                        "bench": "accuracy",
                        "kind": options.device,
                        "algorithm": name,
                        "direction": direction,
                        "dtype": dtype,
                        "declared": row.error,
                        "bound": row.bound,
                        **found,
                        **about,
                    }
                    with open(options.out, "a") as file:
                        file.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
