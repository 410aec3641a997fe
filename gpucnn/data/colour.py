"""Augmentation of colour: brightness, contrast, saturation, and Krizhevsky's PCA offset.

As in gpucnn/data/augment.py: ``(images, draws) -> images``, pixels 0..255, NumPy or CuPy. Sums are in float32; uint8
results are clipped and rounded once, float32 ones are not clipped.
"""

from dataclasses import dataclass

import numpy as np

from ..device import array_module
from .augment import check, per_image

LUMA = (0.299, 0.587, 0.114)  # weights of red, green and blue in the grey value, ITU-R BT.601


def _grey(images):
    """(N, 1, H, W) float32: BT.601 luma of three channels, else the mean of the channels."""
    weights = LUMA if images.shape[1] == 3 else [1 / images.shape[1]] * images.shape[1]
    planes = [
        array_module(images).multiply(images[:, c : c + 1], np.float32(weight), dtype=np.float32)
        for c, weight in enumerate(weights)
    ]
    for plane in planes[1:]:
        planes[0] += plane
    return planes[0]


def _blend(images, base, factor):
    """base + factor * (images - base), in the dtype of images; base is float32 or a number."""
    xp = array_module(images)
    out = xp.multiply(images, factor, dtype=np.float32)
    out += base * (1 - factor)
    return _as(out, images.dtype)


def _as(values, dtype):
    if dtype == np.float32:
        return values
    xp = array_module(values)
    xp.rint(values, out=values)
    xp.clip(values, 0, 255, out=values)
    return values.astype(np.uint8)


def _factors(images, limit, draws):
    """1 + uniform in [-limit, limit), (N, 1, 1, 1) float32."""
    return per_image(images, draws.uniform(1 - limit, 1 + limit))


@dataclass(frozen=True)
class Brightness:
    """Multiply the image by a factor uniform in [1 - limit, 1 + limit)."""

    limit: float = 0.4

    def __call__(self, images, draws):
        check("Brightness", images)
        return _blend(images, np.float32(0), _factors(images, self.limit, draws))


@dataclass(frozen=True)
class Contrast:
    """Scale the differences from the image's mean grey value by a factor uniform in [1 - limit, 1 + limit)."""

    limit: float = 0.4

    def __call__(self, images, draws):
        check("Contrast", images)
        grey = _grey(images)
        mean = grey.mean((1, 2, 3), keepdims=True)
        return _blend(images, mean, _factors(images, self.limit, draws))


@dataclass(frozen=True)
class Saturation:
    """Scale the differences from the pixel's grey value by a factor uniform in [1 - limit, 1 + limit); RGB only."""

    limit: float = 0.4

    def __call__(self, images, draws):
        check("Saturation", images, 3)
        return _blend(images, _grey(images), _factors(images, self.limit, draws))


@dataclass(frozen=True, eq=False)
class ColourOffset:
    """Add to every pixel of an image one multiple of the principal components of the colours; RGB only.

    values, vectors     eigenvalues (3,) and eigenvectors (3, 3) of the covariance of RGB: ``colour_components``
    std                 standard deviation of the multiples

    The offset is sum_i a_i values_i vectors_i with a_i normal, of mean 0 (Krizhevsky, Sutskever, Hinton, "ImageNet
    Classification with Deep Convolutional Neural Networks", 2012, section 4.1). The paper does not say on what
    scale its pixels are; here the covariance and the offset are of pixels scaled to 0..1.
    """

    values: np.ndarray
    vectors: np.ndarray
    std: float = 0.1

    def __call__(self, images, draws):
        check("ColourOffset", images, 3)
        multiples = self.std * draws.normal(3)
        offsets = 255 * (multiples * np.asarray(self.values)) @ np.asarray(self.vectors).T
        xp = array_module(images)
        out = xp.add(images, xp.asarray(offsets.astype(np.float32)[:, :, None, None]), dtype=np.float32)
        return _as(out, images.dtype)
