"""What kind of data set lies at a path."""

from pathlib import Path

from .cifar import BINARY, cifar10, jpeg_images
from .folder import ImageFolder
from .mnist import mnist
from .pack import MAGIC, Packed

PARTS = ("train", "test")


def open_dataset(path, part="train", short_side=None):
    """The data set at a path, whose kind is told by what is there.

    path        a packed file, an .npz of JPEGs, or a folder: of MNIST, of CIFAR-10 (either form), or with one
                folder of images a class
    part        "train" or "test", of MNIST and CIFAR-10; the other kinds have one part
    short_side  pixels to which the shorter side of each image is resized, for a folder of images

    A path at which there is no such thing is a ValueError, a missing one a FileNotFoundError.
    """
    path = Path(path)
    if part not in PARTS:
        raise ValueError(f"open_dataset: part is train or test, but came {part!r}")
    if path.is_dir():
        if any((path / name).is_file() for name in ("train.npz", "test.npz", *BINARY["train"], *BINARY["test"])):
            return _sized(cifar10(path)[PARTS.index(part)], short_side, path)
        if any(path.glob("*-images-idx3-ubyte*")):
            return _sized(mnist(path)[PARTS.index(part)], short_side, path)
        return ImageFolder(path, short_side)
    with open(path, "rb") as file:
        start = file.read(len(MAGIC))
    if start == MAGIC:
        return _sized(Packed(path), short_side, path)
    if start.startswith(b"PK"):
        return _sized(jpeg_images(path), short_side, path)
    raise ValueError(f"open_dataset: {path}: a packed file or an .npz of JPEGs is expected, but it is neither")


def _sized(data, short_side, path):
    if short_side is not None:
        raise ValueError(f"open_dataset: only a folder of images is resized, but {path} is none")
    return data
