"""The command ``gpucnn``: arguments, errors as one line, exit codes."""

import argparse
import math
import sys

from .. import __version__, config
from ..dtype import FLOATS
from ..models import MODELS


class Parser(argparse.ArgumentParser):
    """argparse, but an error is one line without the usage."""

    def error(self, message):
        print(f"{self.prog}: {message}", file=sys.stderr)
        raise SystemExit(2)


def _positive(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"is a whole number from 1 on, but came {text}")
    return value


def _seed(text):
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"is a whole number from 0 on, but came {text}")
    return value


def _rate(text):
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"is a positive number, but came {text}")
    return value


def _image(text):
    sizes = tuple(map(int, text.split("x")))
    if len(sizes) != 3 or min(sizes) < 1:
        raise argparse.ArgumentTypeError(f"is three whole numbers from 1 on, such as 3x224x224, but came {text}")
    return sizes


# So that argparse says "invalid seed value: 'x'".
_positive.__name__, _seed.__name__, _rate.__name__, _image.__name__ = "count", "seed", "rate", "image"


def parser():
    """The argument parser of the command and its subcommands."""
    top = Parser(prog="gpucnn", description="Train convolutional networks on the CPU or on a GPU.")
    top.add_argument("--version", action="version", version=f"gpucnn {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="train | summary | pack | info")

    train = commands.add_parser(
        "train",
        help="train a network and leave metrics.csv, curves.png and a checkpoint in a run folder",
        description="Train a network; without options, LeNet on the built-in digits. "
        "Ctrl-C ends the run; --resume continues it.",
    )
    # No defaults here: --resume must know what was given. They are in gpucnn.training.Options.
    train.add_argument("--model", choices=MODELS, help="network (default: lenet)")
    train.add_argument("--device", help="cpu, cuda or cuda:1 (default: the first GPU, else the CPU)")
    train.add_argument("--dtype", choices=FLOATS, help="of weights and data (default: float32)")
    train.add_argument(
        "--amp", choices=("float16", "bfloat16"), help="mixed precision: products in this dtype, weights in float32"
    )
    train.add_argument("--epochs", type=_positive, help="passes over the training images (default: 10)")
    train.add_argument("--batch", type=_positive, help="images a step (default: 64)")
    train.add_argument("--lr", type=_rate, help="largest learning rate (default: 0.05)")
    train.add_argument("--seed", type=_seed, help="of weights and order (default: 0)")
    train.add_argument("--data", help="folder of the MNIST files (default: the built-in digits)")
    folder = train.add_mutually_exclusive_group()
    folder.add_argument("--out", help="run folder (default: the next free runs/MODEL-N)")
    folder.add_argument("--resume", metavar="DIR", help="continue the run in this folder")

    summary = commands.add_parser(
        "summary",
        help="show the layers of a network: sizes, parameters, multiply-adds, receptive fields",
        description=f"Show the layers of a network and what each costs. Networks: {', '.join(MODELS)}.",
    )
    summary.add_argument("model", metavar="NAME", choices=MODELS, help="network")
    summary.add_argument("--input", type=_image, metavar="CxHxW", help="image (default: what the network is made for)")
    summary.add_argument("--batch", type=_positive, help="images (default: 1)")

    pack = commands.add_parser(
        "pack",
        help="decode a data set into one file that is quick to read",
        description="Decode the images of SOURCE into the file OUT, with checksums. SOURCE is a folder with one folder "
        "of images a class, a folder of MNIST or CIFAR-10, or an .npz of JPEGs.",
    )
    pack.add_argument("source", metavar="SOURCE")
    pack.add_argument("out", metavar="OUT")
    pack.add_argument("--part", choices=("train", "test"), help="of MNIST and CIFAR-10 (default: train)")
    pack.add_argument("--short-side", type=_positive, help="resize to this shorter side (folders of images only)")
    pack.add_argument("--workers", type=_positive, help="threads that decode (default: one a CPU)")

    commands.add_parser(
        "info",
        help="show versions, extensions, GPUs and settings",
        description="Show versions, extensions (built or not, and why), GPUs and GPUCNN_* settings.",
    )
    return top


def main(argv=None):
    """Run the command; returns the exit code: 0, 2 after an error, 130 after Ctrl-C."""
    arguments = vars(parser().parse_args(argv))
    command = arguments.pop("command")
    debug = False
    try:
        debug = config.get("debug")
        for name in config.SETTINGS:  # a bad one is told at the start
            config.get(name)
        if command == "info":
            from .info import info

            return info()
        given = {name: value for name, value in arguments.items() if value is not None}
        if command == "summary":
            from .summary import summary

            return summary(**given)
        if command == "pack":
            from .pack import pack

            return pack(**given)
        from .train import train

        return train(**given)
    except KeyboardInterrupt:
        return 130
    except (OSError, ValueError, TypeError, RuntimeError, MemoryError) as error:
        if debug:
            raise
        print(f"gpucnn {command}: {_one_line(error)}", file=sys.stderr)
        return 2


def _one_line(error):
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return " ".join(str(error).split()) or type(error).__name__
