"""DataLoader: batches of normalised images in an order that depends on the seed and the epoch alone."""

import numpy as np

from ..create import from_numpy


class DataLoader:
    """Batches of a set of labelled images, as pairs of Tensors on the CPU.

    data        Images, or anything with ``images`` (N, C, H, W) uint8, ``labels`` (N,) ints, ``mean`` and ``std``
    yields      (images (B, C, H, W) float32 = (pixel / 255 - mean) / std, labels (B,) int64)
    batch_size  B; the last batch is smaller, or left out with ``drop_last``
    shuffle     a new order every epoch; it depends only on ``seed`` and ``epoch``, so a resumed run repeats it
    epoch       the epoch that the next iteration runs; each iteration adds one when it starts

    >>> from gpucnn.data import digits
    >>> images, labels = next(iter(DataLoader(digits()[0], batch_size=64)))
    >>> images.shape, labels.shape
    ((64, 1, 28, 28), (64,))
    """

    def __init__(self, data, batch_size=64, *, shuffle=False, seed=0, drop_last=False):
        if batch_size < 1:
            raise ValueError(f"DataLoader: batch_size is positive, but it is {batch_size}")
        if seed < 0:
            raise ValueError(f"DataLoader: seed is not negative, but it is {seed}")
        self.data, self.batch_size, self.drop_last = data, batch_size, drop_last
        self.shuffle, self.seed, self.epoch = shuffle, seed, 0

    def __len__(self):
        """Batches in an epoch."""
        rows = len(self.data.labels)
        return rows // self.batch_size if self.drop_last else -(-rows // self.batch_size)

    def order(self, epoch):
        """The rows of the set, (N,) int64, in the order of this epoch."""
        rows = np.arange(len(self.data.labels))
        if self.shuffle:
            np.random.Generator(np.random.PCG64([self.seed, epoch])).shuffle(rows)
        return rows

    def __iter__(self):
        order = self.order(self.epoch)
        self.epoch += 1
        # One multiplication and one addition a pixel, in float32: (x / 255 - mean) / std.
        scale, shift = (
            np.float32(1 / (255 * self.data.std)),
            np.float32(-self.data.mean / self.data.std),
        )
        for batch in range(len(self)):
            rows = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            images = np.multiply(self.data.images[rows], scale, dtype=np.float32)
            images += shift
            yield from_numpy(images), from_numpy(self.data.labels[rows].astype(np.int64))
