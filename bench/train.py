"""The recipe of `gpucnn train`, measured: `python -m bench.train [--data DIR] [--epochs N] [--out FILE.jsonl]`.

Prints test accuracy and the seconds spent in training steps, and appends them as one JSON line to --out.
"""

import argparse
import json

from bench.environment import cpu, source
from gpucnn.training import Run, load_recipe


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="folder of the MNIST files (default: the built-in digits)")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", help="append one JSON line to this file")
    given = {name: value for name, value in vars(parser.parse_args()).items() if value is not None}
    out = given.pop("out", None)
    changes = {name: given.pop(name) for name in ("epochs", "dtype") if name in given}
    run = Run(load_recipe("lenet", **changes), **given)

    def show(row):
        print(
            f"epoch {row['epoch']}: test accuracy {100 * row['test_accuracy']:.2f} %, {row['seconds']:.1f} s",
            flush=True,
        )

    history = run.training.fit(run.recipe.epochs, on_epoch=show)
    record = {
        "bench": "train",
        "model": run.recipe.model,
        "data": "MNIST, 60,000" if "data" in given else "built-in digits, 8,000",
        "dtype": run.recipe.dtype,
        "seed": run.options["seed"],
        "epochs": run.recipe.epochs,
        "seconds": sum(row["seconds"] for row in history),
        "accuracy": history[-1]["test_accuracy"],
        **cpu(),
        **source(),
    }
    if out:
        with open(out, "a") as file:
            file.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
