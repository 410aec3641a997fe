"""Augmentation by moving and covering pixels: flip, crop, cutout, mixup; and normalisation.

Every augmentation is a callable ``(images, draws) -> images``: images are (N, C, H, W), uint8 or float32 with pixels
0..255, NumPy or CuPy, and are not changed; ``draws`` (``Draws``) gives random numbers, a row for each image. What
is random is drawn for each image apart, so that a batch is augmented as its images alone would be.
"""

from dataclasses import dataclass

import numpy as np

from ..device import array_module
from ..tensor import Tensor, as_tensor


def check(op, images, channels=None):
    """Refuse what is no batch of images, or not of so many channels."""
    if images.dtype not in (np.uint8, np.float32):
        raise TypeError(f"{op}: images are uint8 or float32, but came {images.dtype} ({images.shape})")
    if images.ndim != 4 or (channels and images.shape[1] != channels):
        raise ValueError(f"{op}: images are (N, {channels or 'C'}, H, W), but came {images.shape}")


def per_image(images, values):
    """Numbers drawn on the CPU, (N,), as float32 (N, 1, 1, 1) beside the images."""
    return array_module(images).asarray(np.asarray(values, np.float32).reshape(-1, 1, 1, 1))


@dataclass(frozen=True)
class RandomFlip:
    """Mirror left to right with probability p."""

    p: float = 0.5

    def __call__(self, images, draws):
        check("RandomFlip", images)
        xp = array_module(images)
        flip = xp.asarray((draws.uniform() < self.p).reshape(-1, 1, 1, 1))
        return xp.where(flip, images[..., ::-1], images)


@dataclass(frozen=True)
class RandomCrop:
    """A part of the image at a random place, after ``padding`` black pixels were put on every side.

    size        (h, w) of the part, or None for that of the image
    """

    padding: int = 0
    size: tuple | None = None

    def __call__(self, images, draws):
        check("RandomCrop", images)
        xp, (N, C, H, W), pad = array_module(images), images.shape, self.padding
        h, w = self.size or (H, W)
        if not (0 < h <= H + 2 * pad and 0 < w <= W + 2 * pad):
            raise ValueError(f"RandomCrop: {h} x {w} pixels lie in the padded image, but images are {images.shape}")
        padded = images
        if pad:
            padded = xp.zeros((N, C, H + 2 * pad, W + 2 * pad), images.dtype)
            padded[:, :, pad : pad + H, pad : pad + W] = images
        H, W = padded.shape[2:]
        top, left = draws.below(H - h + 1), draws.below(W - w + 1)
        # Flat places in padded: one gather for the batch. (N, h, w) of a plane, plus where each plane begins.
        plane = (top[:, None] + np.arange(h))[:, :, None] * W + (left[:, None] + np.arange(w))[:, None]
        starts = np.arange(N * C).reshape(N, C, 1, 1) * (H * W)
        return padded.reshape(-1).take(xp.asarray(plane)[:, None] + xp.asarray(starts))


@dataclass(frozen=True)
class Cutout:
    """Cover a square of size x size pixels, centred anywhere in the image, with a value.

    DeVries, Taylor, "Improved Regularization of Convolutional Neural Networks with Cutout", 2017: the square may
    reach over the edge.
    """

    size: int = 16
    value: float = 0

    def __call__(self, images, draws):
        check("Cutout", images)
        xp, (_, _, H, W) = array_module(images), images.shape
        covered = []
        for length in (H, W):
            first = draws.below(length) - self.size // 2
            at = np.arange(length) - first[:, None]
            covered.append((at >= 0) & (at < self.size))
        mask = xp.asarray(covered[0])[:, None, :, None] & xp.asarray(covered[1])[:, None, None, :]
        return xp.where(mask, images.dtype.type(self.value), images)


def mixup(images, labels, rng, alpha=0.2):
    """Blend every image of a batch with another of it.

    images      (N, C, H, W)    float Tensor or array           labels  (N,)
    rng         numpy.random.Generator
    alpha       of the Beta(alpha, alpha) distribution of the weight, one for the batch
    returns     (images, labels, other labels, weight), Tensors and a float: the blend weight * image +
                (1 - weight) * other, and what its loss is made of: weight * loss(y, labels) +
                (1 - weight) * loss(y, other labels)

    No gradient flows through the blend. Zhang et al., "mixup: Beyond Empirical Risk Minimization", 2017, section 2.

    >>> x, labels = np.eye(2, dtype=np.float32).reshape(2, 1, 1, 2), np.array([0, 1])
    >>> mixed, labels, others, weight = mixup(x, labels, np.random.default_rng(0))
    >>> mixed.shape, 0 <= weight <= 1
    ((2, 1, 1, 2), True)
    """
    x, labels = as_tensor(images).data, as_tensor(labels).data
    if x.dtype.kind != "f":
        raise TypeError(f"mixup: images are floats, but came {x.dtype} ({x.shape})")
    if alpha <= 0 or labels.shape != x.shape[:1]:
        raise ValueError(
            f"mixup: alpha is positive and every image has a label, but came {alpha} ({x.shape}, {labels.shape})"
        )
    weight = float(rng.beta(alpha, alpha))
    other = array_module(x).asarray(rng.permutation(len(x)))
    blend = x * x.dtype.type(weight) + x[other] * x.dtype.type(1 - weight)
    return Tensor(blend), Tensor(labels), Tensor(labels[other]), weight


def normalise(images, mean, std):
    """(pixel / 255 - mean) / std in float32, as one multiplication and one addition a pixel.

    images      (N, C, H, W)    uint8 or float32 with pixels 0..255, NumPy or CuPy
    mean, std   of pixels scaled to 0..1: a number, (C,) for each channel, or (C, H, W) for each pixel
    """
    xp = array_module(images)
    mean, std = (_beside(value, images.shape, name) for value, name in ((mean, "mean"), (std, "std")))
    if not (std > 0).all():
        raise ValueError(f"normalise: std is positive, but its least is {std.min()} ({images.shape})")
    scale, shift = xp.asarray((1 / (255 * std)).astype(np.float32)), xp.asarray((-mean / std).astype(np.float32))
    out = xp.multiply(images, scale, dtype=np.float32)
    out += shift
    return out


def _beside(value, shape, name):
    """float64, shaped so that it lies beside (N, C, H, W)."""
    array = np.asarray(value, np.float64)
    if array.shape not in ((), shape[1:2], shape[1:]):
        raise ValueError(f"normalise: {name} is a number, (C,) or (C, H, W), but it is {array.shape} (images {shape})")
    return array[:, None, None] if array.ndim == 1 else array
