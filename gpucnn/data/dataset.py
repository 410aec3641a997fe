"""What a data set is, and the one that lies in memory.

A data set has ``len(data)``, ``data[i] -> (image, label)`` and, for normalisation, ``mean`` and ``std``. An image is
uint8 of shape (C, H, W), the order of the framework; images may differ in size until a loader's ``transform``
makes them equal. A label is an int from 0 on. ``mean`` and ``std`` are of pixels scaled to 0..1, for all
channels or one for each. ``data[i]`` may be called from several threads at once.
"""

import operator
from dataclasses import dataclass

import numpy as np


def row(i, count):
    """The index i, from the end where it is negative, as an int in [0, count); else an IndexError."""
    at = operator.index(i)
    if not -count <= at < count:
        raise IndexError(f"data: indices are less than {count}, but came {at}")
    return at % count


@dataclass(frozen=True, eq=False)
class Images:
    """Labelled images in memory: ``images`` (N, C, H, W) uint8, ``labels`` (N,) int64; mean and std of pixels
    scaled to 0..1, for all channels or one for each."""

    images: np.ndarray
    labels: np.ndarray
    mean: float | tuple = 0.0
    std: float | tuple = 1.0

    def __post_init__(self):
        if self.images.ndim != 4 or self.labels.shape != self.images.shape[:1]:
            raise ValueError(
                "Images: images are (N, C, H, W) and labels (N,), "
                f"but they have shapes {self.images.shape} and {self.labels.shape}"
            )

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, rows):
        """(image, label) of one row, or a subset: ``data[:100]``, ``data[indices]``."""
        if isinstance(rows, (int, np.integer)):
            at = row(rows, len(self))
            return self.images[at], int(self.labels[at])
        return Images(self.images[rows], self.labels[rows], self.mean, self.std)
