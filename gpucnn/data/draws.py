"""Random numbers for augmentation that depend on seed, epoch and image alone."""

import numpy as np

GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mix(z):
    """The finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014), on an array of uint64."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


class Draws:
    """Random numbers for the images of a batch, one row of them for each image.

    The numbers of an image depend on seed, epoch, its row in the data set, the stream, and on how many were drawn
    before; not on the batch that it is in nor on the thread that draws. So an image is augmented alike
    whatever the batch size and the number of workers.

    >>> both, alone = Draws(seed=0, epoch=1, rows=[7, 8]), Draws(seed=0, epoch=1, rows=[8])
    >>> bool(both.uniform()[1] == alone.uniform()[0])
    True
    """

    def __init__(self, seed, epoch, rows, stream=0):
        keys = np.zeros(1, np.uint64)
        for value in (seed, epoch, stream, rows):
            keys = _mix((keys + GOLDEN) ^ np.asarray(value, np.uint64))
        self._keys, self._drawn = keys, 0

    def __len__(self):
        """Images of the batch."""
        return len(self._keys)

    def uniform(self, low=0.0, high=1.0, count=None):
        """Numbers in [low, high), (N,) float64; or (N, count)."""
        steps = np.arange(self._drawn + 1, self._drawn + 1 + (1 if count is None else count), dtype=np.uint64)
        self._drawn += len(steps)
        bits = _mix(self._keys[:, None] + steps * GOLDEN)
        values = low + (high - low) * ((bits >> np.uint64(11)) * 2.0**-53)
        return values[:, 0] if count is None else values

    def below(self, limit):
        """Integers in [0, limit), (N,) int64."""
        return np.floor(self.uniform() * limit).astype(np.int64)

    def normal(self, count):
        """Standard normal numbers, (N, count) float64 (Box and Muller, 1958)."""
        radius = np.sqrt(-2 * np.log1p(-self.uniform(count=count)))
        return radius * np.cos(2 * np.pi * self.uniform(count=count))
