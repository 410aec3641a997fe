"""What kind of data set lies at a path."""

from pathlib import Path

from .cifar import BINARY, cifar10, jpeg_images
from .dataset import class_names
from .folder import ImageFolder
from .mnist import mnist
from .pack import MAGIC, Packed

PARTS = ("train", "test")
PIECES = {"train": ("train", "train.pack"), "test": ("test", "val", "test.pack")}  # a folder with nothing else


def open_dataset(path, part="train", short_side=None):
    """The data set at a path, whose kind is told by what is there.

    path        a packed file, an .npz of JPEGs, or a folder: of MNIST, of CIFAR-10 (either form), with one folder of
                images a class, or with nothing but two of these: ``train`` (or ``train.pack``) and ``test`` (or
                ``val``, ``test.pack``)
    part        "train" or "test"; a packed file, an .npz and a folder of images a class are one part, and taken as it
    short_side  pixels to which the shorter side of each image is resized, for a folder of images

    A path at which there is no such thing is a ValueError, a missing one a FileNotFoundError.
    """
    path = Path(path)
    if part not in PARTS:
        raise ValueError(f"open_dataset: part is train or test, but came {part!r}")
    if path.is_dir():
        if pieces := _pieces(path):
            return open_dataset(pieces[part], part, short_side)
        if read := _reader_of_both(path):
            return _sized(read(path)[PARTS.index(part)], short_side, path)
        return ImageFolder(path, short_side)
    with open(path, "rb") as file:
        start = file.read(len(MAGIC))
    if start == MAGIC:
        return _sized(Packed(path), short_side, path)
    if start.startswith(b"PK"):
        return _sized(jpeg_images(path), short_side, path)
    raise ValueError(f"open_dataset: {path}: a packed file or an .npz of JPEGs is expected, but it is neither")


def open_parts(path, test=None):
    """(train, test): the parts of the data set at ``path``; or all of it, and the data set at ``test``.

    Errors are those of ``open_dataset``; a path that holds one part, without the other, is a ValueError, and so are
    parts whose classes differ.
    """
    path = Path(path)
    if test is not None:
        parts = open_dataset(path), open_dataset(test, "test")
    elif path.is_dir() and (read := _reader_of_both(path)):
        parts = read(path)
    elif path.is_dir() and _pieces(path):
        parts = open_dataset(path), open_dataset(path, "test")
    else:
        open_dataset(path)
        raise ValueError(f"open_parts: training takes a second data set for testing, but {path} holds one")
    check_classes(parts[1], class_names(parts[0]), test or path)
    return parts


def check_classes(data, classes, path):
    """Raise a ValueError unless the labels of a data set, from ``path``, mean these classes."""
    named, largest = getattr(data, "classes", ()), int(max(data.labels, default=0))
    if named and tuple(named) != tuple(classes):
        raise ValueError(f"check_classes: {path}: the classes are {_few(classes)}, but the data has {_few(named)}")
    if largest >= len(classes):
        raise ValueError(f"check_classes: {path}: labels are less than {len(classes)}, but one is {largest}")


def _few(names):
    return f"{', '.join(names[:10])}{', ...' * (len(names) > 10)} ({len(names)})"


def _reader_of_both(folder):
    """``cifar10`` or ``mnist`` where it reads what is in the folder, else None."""
    if any((folder / name).is_file() for name in ("train.npz", "test.npz", *BINARY["train"], *BINARY["test"])):
        return cifar10
    return mnist if any(folder.glob("*-images-idx3-ubyte*")) else None


def _pieces(folder):
    """{part: path} of a folder with nothing but the two parts of a data set, else None."""
    found = {path.name: path for path in folder.iterdir() if not path.name.startswith(".")}
    pieces = {part: path for part, names in PIECES.items() for name, path in found.items() if name in names}
    return pieces if len(found) == len(pieces) == 2 else None


def _sized(data, short_side, path):
    if short_side is not None:
        raise ValueError(f"open_dataset: only a folder of images is resized, but {path} is none")
    return data
