"""DataLoader: batches of augmented, normalised images; order and augmentation depend on seed and epoch alone."""

from contextlib import closing, contextmanager
from functools import partial

import numpy as np

from ..create import from_numpy
from ..device import parse
from .augment import normalise
from .draws import Draws
from .prefetch import prefetch
from .staging import staged

EACH, BATCH = 0, 1  # streams of random numbers


class DataLoader:
    """Batches of a set of labelled images, as pairs of Tensors.

    data        a data set (gpucnn/data/dataset.py), or anything with its ``len``, ``[i]``, ``mean`` and ``std``
    yields      (images (B, C, H, W) float32 = (pixel / 255 - mean) / std, labels (B,) int64)
    batch_size  B; the last batch is smaller, or left out with ``drop_last``
    shuffle     a new order every epoch; it depends only on ``seed`` and ``epoch``, so a resumed run repeats it
    transform   augmentations, ``(images, draws) -> images``, of one image (1, C, H, W) at a time, in order; for those
                that make images of different sizes equal
    augment     augmentations of a whole batch, in order, after ``transform``; on ``device``
    mean, std   in place of those of data: a number, (C,) or (C, H, W); a test set takes those of its training set
    workers     threads that read, decode and augment ahead; 0: each batch is made when it is asked for
    ahead       batches, at most, that are made or being made before they are asked for (one more on a GPU)
    device      of the batches; to a GPU, pixels are copied while it computes, then augmented and normalised there
    epoch       the epoch that the next iteration runs; each iteration adds one when it starts
    batch       batches that the last iteration has yielded; 0 when it has yielded all

    Batches are the same, bit for bit, whatever ``workers`` and ``ahead`` are, and the augmentation of an image is
    the same whatever ``batch_size`` and ``shuffle`` are. An error of data, transform or augment is a RuntimeError that
    names the image or the batch, raised in the place of its batch. An iteration that ends early leaves no thread.

    >>> from gpucnn.data import digits
    >>> images, labels = next(iter(DataLoader(digits()[0], batch_size=64)))
    >>> images.shape, labels.shape
    ((64, 1, 28, 28), (64,))
    """

    def __init__(
        self,
        data,
        batch_size=64,
        *,
        shuffle=False,
        seed=0,
        drop_last=False,
        transform=(),
        augment=(),
        mean=None,
        std=None,
        workers=0,
        ahead=2,
        device="cpu",
    ):
        for name, value, least in (("batch_size", batch_size, 1), ("ahead", ahead, 1)):
            if value < least:
                raise ValueError(f"DataLoader: {name} is positive, but it is {value}")
        for name, value in (("seed", seed), ("workers", workers)):
            if not 0 <= value < 2**64:
                raise ValueError(f"DataLoader: {name} is not negative, but it is {value}")
        self.data, self.batch_size, self.drop_last = data, batch_size, drop_last
        self.shuffle, self.seed, self.epoch, self.batch = shuffle, seed, 0, 0
        self.transform, self.augment = tuple(transform), tuple(augment)
        self.mean, self.std = mean, std
        self.workers, self.ahead, self.device = workers, ahead, device
        self._cuda = parse(device)[0] == "cuda"
        self._first = 0  # batch at which the next iteration starts

    def __len__(self):
        """Batches in an epoch."""
        rows = len(self.data)
        return rows // self.batch_size if self.drop_last else -(-rows // self.batch_size)

    def order(self, epoch):
        """The rows of the set, (N,) int64, in the order of this epoch."""
        rows = np.arange(len(self.data))
        if self.shuffle:
            np.random.Generator(np.random.PCG64([self.seed, epoch])).shuffle(rows)
        return rows

    def state_dict(self):
        """Where the loader is, as JSON can hold it: {"epoch", "batch"} of the batch that would come next."""
        return {"epoch": self.epoch - (self.batch > 0), "batch": self.batch}

    def load_state_dict(self, state):
        """Continue where another loader of the same data and options was; the next iteration ends that epoch."""
        epoch, batch = state["epoch"], state["batch"]
        if epoch < 0 or not 0 <= batch < max(len(self), 1):
            raise ValueError(f"DataLoader: an epoch has {len(self)} batches, but the state is {state}")
        self.epoch, self._first = epoch, batch

    def __iter__(self):
        epoch, first = self.epoch, self._first
        self.epoch, self._first, self.batch = epoch + 1, 0, first
        order = self.order(epoch)
        batches = [order[i * self.batch_size : (i + 1) * self.batch_size] for i in range(first, len(self))]
        with closing(prefetch(partial(self._load, epoch), batches, self.workers, self.ahead)) as loaded:
            ready = staged(loaded, self.device) if self._cuda else loaded
            for rows, (images, labels) in zip(batches, ready, strict=True):
                if self._cuda:
                    images = self._finish(epoch, rows, images)
                self.batch = (self.batch + 1) % len(self)
                yield from_numpy(images), from_numpy(labels)

    def _load(self, epoch, rows):
        """(images, labels) of a batch as NumPy arrays: all of the work, but what a GPU does."""
        images, labels = self._read(epoch, rows)
        return images if self._cuda else self._finish(epoch, rows, images), labels

    def _read(self, epoch, rows):
        if hasattr(self.data, "images") and not self.transform:  # in memory: one gather
            return self.data.images[rows], self.data.labels[rows].astype(np.int64)
        images, labels = None, np.empty(len(rows), np.int64)
        for at, i in enumerate(rows.tolist()):
            with _naming(f"image {i} of the data set"):
                image, labels[at] = self.data[i]
                image = self._augmented(self.transform, image[None], epoch, [i], EACH)[0]
                if images is None:
                    images = np.empty((len(rows), *image.shape), image.dtype)
                if (image.shape, image.dtype) != (images.shape[1:], images.dtype):
                    raise ValueError(
                        "images of a batch have one shape and dtype (transform can make them equal), but it is "
                        f"{image.dtype} {image.shape} beside {images.dtype} {images.shape[1:]}"
                    )
                images[at] = image
        return images, labels

    def _finish(self, epoch, rows, images):
        with _naming(f"batch of images {', '.join(map(str, rows[:4]))}{', ...' * (len(rows) > 4)}"):
            images = self._augmented(self.augment, images, epoch, rows, BATCH)
            mean, std = (
                getattr(self.data, name) if value is None else value
                for name, value in (("mean", self.mean), ("std", self.std))
            )
            return normalise(images, mean, std)

    def _augmented(self, augmentations, images, epoch, rows, stream):
        if augmentations:
            draws = Draws(self.seed, epoch, rows, stream)
            for augmentation in augmentations:
                images = augmentation(images, draws)
        return images


@contextmanager
def _naming(what):
    """Turn an error into one that says where in the data it arose."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        raise RuntimeError(f"DataLoader: {what}: {error}") from error
