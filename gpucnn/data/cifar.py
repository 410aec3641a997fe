"""CIFAR-10: the original binary files, or the images as JPEG in two .npz files."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .dataset import Images, row
from .decode import decode_image

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
# Of the 50,000 original training images, pixels scaled to 0..1.
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
SIZE = (3, 32, 32)
RECORD = 1 + 3 * 32 * 32  # bytes: a label, then the red, green and blue plane
BINARY = {"train": [f"data_batch_{i}.bin" for i in range(1, 6)], "test": ["test_batch.bin"]}


@dataclass(frozen=True, eq=False)
class JpegImages:
    """Images that stay encoded in memory and are decoded when they are asked for.

    data        (bytes,) uint8: the files, end to end         offsets     (N + 1,) int64: where each begins
    labels      (N,) int64                                    path        the file that errors name
    """

    data: np.ndarray
    offsets: np.ndarray
    labels: np.ndarray
    path: Path
    mean: tuple = MEAN
    std: tuple = STD
    classes: tuple = CLASSES

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        i = row(i, len(self))
        begin, end = self.offsets[i : i + 2].tolist()
        name = f"{self.path}: image {i}, bytes {begin} to {end} of jpeg"
        image = decode_image(self.data[begin:end].tobytes(), name)
        if image.shape != SIZE:
            raise ValueError(f"cifar10: {name}: images are 32 x 32, but it is {image.shape[1]} x {image.shape[2]}")
        return image, int(self.labels[i])


def cifar10(folder):
    """CIFAR-10 from a folder with data_batch_1.bin to data_batch_5.bin and test_batch.bin, or train.npz and test.npz.

    returns     (train, test): Images of (50000, 3, 32, 32) and (10000, 3, 32, 32), decoded; or JpegImages; labels 0..9

    The binary version is that of https://www.cs.toronto.edu/~kriz/cifar.html; an .npz holds ``jpeg`` (uint8, the files
    end to end), ``offset`` (N + 1 integers) and ``label`` (N). A missing file is a FileNotFoundError, a malformed one a
    ValueError that names file and position. Nothing is unpickled.
    """
    folder = Path(folder)
    if (folder / "train.npz").is_file():
        return jpeg_images(folder / "train.npz"), jpeg_images(folder / "test.npz")
    return _binary(folder, "train"), _binary(folder, "test")


def _binary(folder, part):
    batches = []
    for name in BINARY[part]:
        path = folder / name
        if not path.is_file():
            raise FileNotFoundError(f"cifar10: {name} (or train.npz and test.npz) is expected in {folder}")
        data = np.fromfile(path, np.uint8)
        if not len(data) or len(data) % RECORD:
            raise ValueError(
                f"cifar10: {path}: a file is whole records of {RECORD} bytes, but it has {len(data)} bytes: "
                f"record {len(data) // RECORD} at byte {len(data) // RECORD * RECORD} is incomplete"
            )
        records = data.reshape(-1, RECORD)
        if records[:, 0].max() > 9:
            bad = int(np.argmax(records[:, 0] > 9))
            raise ValueError(
                f"cifar10: {path}: labels are 0 to 9, but record {bad} at byte {bad * RECORD} has {records[bad, 0]}"
            )
        batches.append(records)
    records = np.concatenate(batches)
    images = np.ascontiguousarray(records[:, 1:]).reshape(-1, *SIZE)
    return Images(images, records[:, 0].astype(np.int64), MEAN, STD)


def jpeg_images(path):
    """One .npz file of the JPEG form as JpegImages; its structure is checked here, each JPEG when it is decoded."""
    path = Path(path)
    with open(path, "rb") as raw:
        try:
            with np.load(raw, allow_pickle=False) as file:
                data, offsets, labels = file["jpeg"], file["offset"], file["label"]
        except Exception as error:  # zipfile and the .npy reader raise many kinds on damaged files
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ValueError(f"cifar10: {path}: an .npz of jpeg, offset and label is needed, but {reason}") from None
    kinds = (data.dtype == np.uint8, offsets.dtype.kind == "u", labels.dtype == np.uint8)
    shapes = (data.ndim, offsets.ndim, labels.ndim) == (1, 1, 1) and len(labels) and len(offsets) == len(labels) + 1
    if not all(kinds) or not shapes:
        found = ", ".join(f"{array.dtype} {array.shape}" for array in (data, offsets, labels))
        raise ValueError(
            f"cifar10: {path}: jpeg is uint8 (bytes,), offset unsigned (N + 1,) and label uint8 (N,), but came {found}"
        )
    offsets = offsets.astype(np.int64)
    wrong = np.flatnonzero(np.diff(offsets, prepend=0) < 0)
    if offsets[0] != 0 or offsets[-1] != len(data) or len(wrong):
        at = int(wrong[0]) if len(wrong) else 0 if offsets[0] else len(labels)
        raise ValueError(
            f"cifar10: {path}: offsets rise from 0 to the {len(data)} bytes of jpeg, but offset {at} is {offsets[at]}"
        )
    if labels.max() > 9:
        raise ValueError(f"cifar10: {path}: labels are 0 to 9, but label {labels.argmax()} is {labels.max()}")
    return JpegImages(data, offsets, labels.astype(np.int64), path)
