"""Handwritten digits: the MNIST files in a folder, or the 10,000 digits that ship with the package."""

from pathlib import Path

import numpy as np

from .dataset import Images
from .idx import read_idx

DIGITS = Path(__file__).parent / "digits"
HELD_OUT = 2000  # the last digits of the built-in set; the split is fixed so that accuracies can be compared
# Mean and standard deviation of the 60,000 training images, pixels scaled to 0..1.
MEAN, STD = 0.1307, 0.3081


def mnist(folder):
    """The MNIST database from its four idx files, gzip-compressed or not, under the original names in folder.

    returns     (train, test): Images of (60000, 1, 28, 28) and (10000, 1, 28, 28), labels 0..9

    A missing file is a FileNotFoundError; one that is corrupt or has other sizes or labels is a ValueError.
    """
    return _load(Path(folder), "train"), _load(Path(folder), "t10k")


def digits():
    """The built-in set: the 10,000 test digits of MNIST, as (train, test) of 8,000 and 2,000 Images.

    Licence and origin: gpucnn/data/digits/LICENSE.txt (CC BY-SA 3.0; LeCun, Cortes, Burges). The accuracy on these
    2,000 held-out digits is no MNIST test accuracy; for that, give ``mnist`` the full files.
    """
    data = _load(DIGITS, "t10k")
    return data[:-HELD_OUT], data[-HELD_OUT:]


def _load(folder, part):
    paths = [_find(folder, f"{part}-images-idx3-ubyte"), _find(folder, f"{part}-labels-idx1-ubyte")]
    images, labels = read_idx(paths[0], ndim=3), read_idx(paths[1], ndim=1)
    if images.dtype != np.uint8 or labels.dtype != np.uint8:
        raise ValueError(
            f"mnist: {paths[0]} and {paths[1]} hold uint8, but they hold {images.dtype} and {labels.dtype}"
        )
    if images.shape[1:] != (28, 28):
        raise ValueError(f"mnist: {paths[0]}: images are 28 x 28, but they are {images.shape[1]} x {images.shape[2]}")
    if len(images) != len(labels) or not len(images):
        raise ValueError(
            f"mnist: every image has a label, but there are {len(images)} images and {len(labels)} labels ({paths[1]})"
        )
    if labels.max() > 9:
        raise ValueError(
            f"mnist: {paths[1]}: labels are 0 to 9, but label {labels.argmax()} is {labels[labels.argmax()]}"
        )
    return Images(images[:, None], labels.astype(np.int64), MEAN, STD)


def _find(folder, name):
    for candidate in (folder / name, folder / f"{name}.gz"):
        if candidate.is_file():
            return candidate
    raise FileNotFoundError(f"mnist: {name} or {name}.gz is expected in {folder}, but neither is there")
