"""The recipe of `gpucnn train` for LeNet, measured: seconds spent in training steps, and test accuracy, run by run."""

import statistics

from gpucnn.training import Run, load_recipe

from .session import DTYPES, Session, arguments


def main(argv):
    parser = arguments("train", __doc__.splitlines()[0])
    parser.add_argument("--data", help="folder of the MNIST files (default: the built-in digits)")
    parser.add_argument("--epochs", type=int, help="passes over the images (default: the recipe's)")
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:1 (default: cpu)")
    parser.add_argument("--seed", type=int, default=0, help="of the first run; the next ones count on (default: 0)")
    parser.add_argument("--runs", type=int, default=1, help="how often (default: 1)")
    parser.add_argument("--quick", action="store_true", help="one epoch")
    options = parser.parse_args(argv)
    for name in ("epochs", "runs"):
        if (count := getattr(options, name)) is not None and count < 1:
            raise ValueError(f"train: {name} are 1 or more, but came {count}")
    epochs = options.epochs or (1 if options.quick else None)
    changes = {"dtype": options.dtype} | ({"epochs": epochs} if epochs else {})
    given = {"device": options.device} | ({"data": options.data} if options.data else {})
    with Session("train", options.runs, options.out, options.device) as session:
        for seed in range(options.seed, options.seed + options.runs):
            run = Run(load_recipe("lenet", **changes), seed=seed, **given)

            def show(row):
                accuracy = f"{100 * row['test_accuracy']:.2f} %"
                session.line(f"  epoch {row['epoch']}: test accuracy {accuracy}, {row['seconds']:.1f} s")

            history = run.training.fit(run.recipe.epochs, on_epoch=show)
            seconds = sum(row["seconds"] for row in history)
            accuracy = history[-1]["test_accuracy"]
            session.result(
                f"seed {seed}: {seconds:.1f} s, test accuracy {100 * accuracy:.2f} %",
                model=run.recipe.model,
                data="MNIST, 60,000" if options.data else "built-in digits, 8,000",
                dtype=run.recipe.dtype,
                seed=seed,
                epochs=run.recipe.epochs,
                seconds=seconds,
                accuracy=accuracy,
            )
        if options.runs > 1:
            for name, form in (("seconds", ".2f"), ("accuracy", ".4f")):
                values = [row[name] for row in session.rows]
                spread = f"{min(values):{form}} to {max(values):{form}}"
                session.line(f"{name}: median {statistics.median(values):{form}}, {spread}")
    return session.code
