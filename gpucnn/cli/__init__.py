"""The command ``gpucnn``: arguments, errors as one line, exit codes."""

import argparse
import math
import sys
from importlib import import_module

from .. import __version__, config
from ..dtype import FLOATS
from ..layout import LAYOUTS
from ..models import MODELS
from ..training.reader import names

COMMANDS = ("train", "eval", "predict", "summary", "pack", "bench", "info")
# What `gpucnn bench` takes, and the modules of gpucnn.bench behind it.
BENCHMARKS = {
    "conv": "convolution layers by each algorithm",
    "net": "training steps of whole networks",
    "gemm": "matrix products",
    "copy": "copies of memory",
    "accuracy": "errors of each algorithm against float64",
    "pipeline": "where the time of reading and augmenting images goes",
    "train": "time and accuracy of training LeNet",
    "convnet-benchmarks": "the tables of soumith/convnet-benchmarks, and today's",
    "cnn-benchmarks": "the tables of jcjohnson/cnn-benchmarks, and today's",
    "lavin-gray": "the tables of Lavin & Gray (2015), and today's",
    "stacks": "large filters beside stacks of small ones",
    "im2col-memory": "the columns of im2col beside the images",
    "report": "tables and pictures of results",
    "diff": "ratios of two files of results",
}
# Said of several commands.
DATA = "a folder or file as gpucnn.data.open_dataset reads it"
DEVICE = "cpu, cuda or cuda:1 (default: the first GPU, else the CPU)"
RUN = "run folder of gpucnn train, or a checkpoint"
WORKERS = "threads that prepare images (default: one a CPU, where there is work)"


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


def _natural(text):
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


# So that argparse says "invalid count value: 'x'".
_positive.__name__, _natural.__name__, _rate.__name__, _image.__name__ = "count", "number", "rate", "image"


def parser():
    """The argument parser of the command and its subcommands."""
    top = Parser(prog="gpucnn", description="Train convolutional networks on the CPU or on a GPU.")
    top.add_argument("--version", action="version", version=f"gpucnn {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar=" | ".join(COMMANDS))

    train = commands.add_parser(
        "train",
        help="train a network and leave metrics.csv, curves.png and a checkpoint in a run folder",
        description="Train a network by a recipe; without options, LeNet on the built-in digits. Ctrl-C ends the run; "
        f"--resume continues it. Networks: {', '.join(MODELS)}. Recipes: {', '.join(names())}.",
    )
    # No defaults here: --resume must know what was given. They are those of the recipe and of gpucnn.training.Run.
    train.add_argument("model", nargs="?", metavar="NAME", choices=MODELS, help="network (default: the recipe's)")
    train.add_argument("--recipe", help="name, or TOML file (default: the one for the network, else lenet)")
    train.add_argument("--data", help="training and test images (default: the built-in digits); " + DATA)
    train.add_argument("--test", metavar="DATA", help="test images, where --data holds training images only")
    train.add_argument("--device", help=DEVICE)
    train.add_argument("--workers", type=_natural, help=WORKERS)
    train.add_argument("--seed", type=_natural, help="of weights, order and augmentation (default: 0)")
    train.add_argument("--tensorboard", action="store_true", default=None, help="also write a TensorBoard event file")
    recipe = train.add_argument_group("instead of what the recipe says")
    recipe.add_argument("--epochs", type=_positive, help="passes over the training images")
    recipe.add_argument("--batch", type=_positive, help="images a step")
    recipe.add_argument("--lr", type=_rate, help="learning rate, which the schedule multiplies")
    recipe.add_argument("--dtype", choices=FLOATS, help="of weights and data")
    recipe.add_argument(
        "--amp", choices=("float16", "bfloat16"), help="mixed precision: products in this dtype, weights in float32"
    )
    recipe.add_argument(
        "--layout", choices=LAYOUTS, help="order of images in memory; 16-bit tensor cores read channels_last"
    )
    folder = train.add_mutually_exclusive_group()
    folder.add_argument("--out", help="run folder (default: the next free runs/MODEL-N)")
    folder.add_argument("--resume", metavar="DIR", help="continue the run in this folder")

    evaluate = commands.add_parser(
        "eval",
        help="test a trained network: accuracies and the confusion matrix",
        description="Test a trained network; leave the confusion matrix as confusion.csv and confusion.png.",
    )
    evaluate.add_argument("run", metavar="RUN", help=RUN)
    evaluate.add_argument("--data", help="images with labels (default: the run's test images); " + DATA)
    evaluate.add_argument("--part", choices=("train", "test"), help="of the data (default: test)")
    evaluate.add_argument("--device", help=DEVICE)
    evaluate.add_argument("--batch", type=_positive, help="images at a time (default: as in training)")
    evaluate.add_argument("--workers", type=_natural, help=WORKERS)
    evaluate.add_argument("--out", help="folder for the matrix (default: that of the run)")

    predict = commands.add_parser(
        "predict",
        help="name the most probable classes of images",
        description="Print the most probable classes of each image and their probabilities.",
    )
    predict.add_argument("run", metavar="RUN", help=RUN)
    predict.add_argument("images", metavar="IMAGE", nargs="+", help="JPEG, PNG, BMP, GIF, PPM, TIFF or WebP file")
    predict.add_argument("--device", help=DEVICE)
    predict.add_argument("--top", type=_positive, help="classes an image (default: 5)")

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

    bench = commands.add_parser(
        "bench",
        help="measure speed and accuracy, beside PyTorch and beside the figures of the past",
        description="Measure: " + "; ".join(f"{name}: {what}" for name, what in BENCHMARKS.items()) + ". "
        "`gpucnn bench NAME --help` shows the options of one.",
    )
    bench.add_argument("name", metavar="NAME", choices=BENCHMARKS, help=", ".join(BENCHMARKS))
    bench.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help="its options")

    commands.add_parser(
        "info",
        help="show versions, extensions, GPUs and settings",
        description="Show versions, extensions (built or not, and why), GPUs and GPUCNN_* settings.",
    )
    return top


def main(argv=None):
    """Run the command; returns the exit code: 0, 2 after an error, 130 after Ctrl-C.

    A command is the function of its name in the module of its name, imported when it is asked for.
    """
    arguments = vars(parser().parse_args(argv))
    command = arguments.pop("command")
    debug = False
    try:
        debug = config.get("debug")
        for name in config.SETTINGS:  # a bad one is told at the start
            config.get(name)
        given = {name: value for name, value in arguments.items() if value is not None}
        return getattr(import_module(f".{command}", __package__), command)(**given)
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
