"""Resizing, antialiased, and the scale jitter of VGG and ResNet, which is made of it."""

from dataclasses import dataclass

import numpy as np


def short_side_size(size, side):
    """(h, w) scaled so that the shorter one is ``side`` pixels.

    >>> short_side_size((375, 500), 256)
    (256, 341)
    """
    scale = side / min(size)
    return tuple(side if n == min(size) else max(side, round(n * scale)) for n in size)


def resize(images, size, box=None):
    """Images at another size, by Pillow's bilinear filter: antialiased, as its support grows when it shrinks.

    images      (N, C, H, W)    uint8 or float32, NumPy only
    size        (h, w)          pixels
    box         (top, left, bottom, right) of the part to take, in pixels of the source, fractions allowed
    returns     (N, C, h, w)    of the same dtype; uint8 is rounded

    >>> resize(np.full((2, 3, 8, 6), 7, np.uint8), (4, 3)).shape
    (2, 3, 4, 3)
    """
    from PIL import Image

    if type(images) is not np.ndarray or images.dtype not in (np.uint8, np.float32):
        kind = f"{type(images).__module__} {getattr(images, 'dtype', '')}"
        raise TypeError(f"resize: takes NumPy arrays of uint8 or float32, but came {kind}")
    if images.ndim != 4 or 0 in images.shape[2:] or min(size) < 1:
        raise ValueError(f"resize: takes (N, C, H, W) and a positive size, but came {images.shape} and {size}")
    out = np.empty((*images.shape[:2], *size), images.dtype)
    top, left, bottom, right = box or (0, 0, *images.shape[2:])
    # One plane at a time: Pillow has no planar images, and its RGB holds four bytes a pixel.
    for plane, result in zip(images.reshape(-1, *images.shape[2:]), out.reshape(-1, *size), strict=True):
        resized = Image.fromarray(plane).resize(size[::-1], Image.Resampling.BILINEAR, (left, top, right, bottom))
        result[:] = np.asarray(resized)
    return out


def resize_short_side(images, side):
    """``resize`` so that the shorter side has ``side`` pixels."""
    size = short_side_size(images.shape[2:], side)
    return images if size == images.shape[2:] else resize(images, size)


@dataclass(frozen=True)
class ScaleJitter:
    """A random patch of the image at a random scale: short side uniform in [low, high], then size x size pixels.

    Simonyan, Zisserman, "Very Deep Convolutional Networks", 2014, section 3.1; He et al., "Deep Residual Learning",
    2015, section 3.4. The patch is resized straight from the part of the source that it shows. NumPy only; for the
    ``transform`` of a DataLoader, as images differ in size.
    """

    low: int = 256
    high: int = 480
    size: int = 224

    def __post_init__(self):
        if not 1 <= self.size <= self.low <= self.high:
            raise ValueError(
                f"ScaleJitter: 1 <= size <= low <= high, but came size {self.size}, low {self.low}, high {self.high}"
            )

    def __call__(self, images, draws):
        sides = self.low + draws.below(self.high - self.low + 1)
        tops, lefts = draws.uniform(), draws.uniform()
        out = np.empty((*images.shape[:2], self.size, self.size), images.dtype)
        for i, (side, top, left) in enumerate(zip(sides, tops, lefts, strict=True)):
            H, W = images.shape[2:]
            patch = self.size * min(H, W) / side  # pixels of the source under the patch
            y, x = top * (H - patch), left * (W - patch)
            out[i] = resize(images[i : i + 1], (self.size, self.size), (y, x, min(y + patch, H), min(x + patch, W)))[0]
        return out
