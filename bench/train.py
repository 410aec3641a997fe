"""The recipe of `gpucnn train`, measured: `python -m bench.train [--data DIR] [--epochs N] [--out FILE.jsonl]`.

Prints test accuracy and the seconds spent in training steps, and appends them as one JSON line to --out.
"""

import argparse
import json

from bench.environment import cpu, source
from gpucnn.training import Options, Training


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="folder of the MNIST files (default: the built-in digits)")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", help="append one JSON line to this file")
    given = {name: value for name, value in vars(parser.parse_args()).items() if value is not None}
    out = given.pop("out", None)
    training = Training(Options(**given))
    for _ in range(training.options.epochs):
        row = training.run_epoch()
        print(
            f"epoch {row['epoch']}: test accuracy {100 * row['test_accuracy']:.2f} %, {row['seconds']:.1f} s",
            flush=True,
        )
    record = {
        "bench": "train",
        "model": training.options.model,
        "data": "MNIST, 60,000" if "data" in given else "built-in digits, 8,000",
        "dtype": training.options.dtype,
        "seed": training.options.seed,
        "epochs": training.options.epochs,
        "seconds": sum(row["seconds"] for row in training.history),
        "accuracy": row["test_accuracy"],
        **cpu(),
        **source(),
    }
    if out:
        with open(out, "a") as file:
            file.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
