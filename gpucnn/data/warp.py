"""Geometric augmentation: one inverse map for translation, rotation, stretch, shear and lens distortion together."""

from dataclasses import dataclass

import numpy as np

from ..device import array_module
from .augment import check

CHUNK = 1 << 18  # output elements at a time: their places and four neighbours stay in a core's cache


def warp(images, matrices, lens=None):
    """Images sampled bilinearly at the places that an inverse map gives for every output pixel.

    images      (N, C, H, W)    uint8 or float32, NumPy or CuPy
    matrices    (N, 2, 3)       output (x, y, 1) -> source (x, y), in pixels from the centre of the image
    lens        (N,) or None    k: the output place is first multiplied by 1 + k (r / R)^2, with r its distance from
                                the centre and R half the diagonal; k > 0 is barrel, k < 0 pincushion distortion
    returns     (N, C, H, W)    of the same dtype; uint8 is rounded

    Beyond its edge the image goes on with the pixel of the edge. The identity gives the image itself, bit by bit.

    >>> image = np.arange(6, dtype=np.uint8).reshape(1, 1, 2, 3)
    >>> warp(image, np.array([[[-1, 0, 0], [0, 1, 0]]]))[0, 0].tolist()
    [[2, 1, 0], [5, 4, 3]]
    """
    check("warp", images)
    N, C, H, W = images.shape
    matrices = np.asarray(matrices, np.float32)
    lens = np.zeros(N, np.float32) if lens is None else np.asarray(lens, np.float32)
    if matrices.shape != (N, 2, 3) or lens.shape != (N,):
        raise ValueError(
            f"warp: one (2, 3) matrix and one lens an image, but came {matrices.shape}, {lens.shape} ({images.shape})"
        )
    step = max(1, CHUNK // max(C * H * W, 1))
    parts = [_warp(images[i : i + step], matrices[i : i + step], lens[i : i + step]) for i in range(0, N, step)]
    return array_module(images).concatenate(parts) if parts else images


def _warp(images, matrices, lens):
    xp, (N, C, H, W) = array_module(images), images.shape
    matrices, lens = xp.asarray(matrices)[..., None, None], xp.asarray(lens).reshape(-1, 1, 1)
    y = xp.arange(H, dtype=np.float32).reshape(-1, 1) - np.float32((H - 1) / 2)
    x = xp.arange(W, dtype=np.float32) - np.float32((W - 1) / 2)
    bend = 1 + lens * ((x * x + y * y) * np.float32(4 / (H * H + W * W)))
    x, y = x * bend, y * bend
    index, fraction = [], []
    for i, length in ((0, W), (1, H)):
        at = matrices[:, i, 0] * x + matrices[:, i, 1] * y + (matrices[:, i, 2] + np.float32((length - 1) / 2))
        at = xp.minimum(xp.maximum(at, np.float32(0)), np.float32(length - 1))
        low = at.astype(np.int64)  # at is not negative, so this rounds down
        index.append((low, xp.minimum(low + 1, length - 1)))
        fraction.append((at - low.astype(np.float32))[:, None])
    (left, right), (top, bottom) = index
    starts = xp.arange(N * C).reshape(N, C, 1, 1) * (H * W)
    flat = images.reshape(-1)

    def row(rows):
        a = flat.take(starts + (rows * W + left)[:, None]).astype(np.float32)
        b = flat.take(starts + (rows * W + right)[:, None]).astype(np.float32)
        return a + (b - a) * fraction[0]

    upper = row(top)
    out = upper + (row(bottom) - upper) * fraction[1]
    return out if images.dtype == np.float32 else xp.rint(out).astype(np.uint8)


@dataclass(frozen=True)
class RandomWarp:
    """Rotate, stretch, shear, bend and move each image at random, in one sampling; every limit is 0 by default.

    rotation    degrees, uniform in [-rotation, rotation), positive anticlockwise
    stretch     each axis is scaled by exp(u), u uniform in [-stretch, stretch)
    shear       x moves by u y and y by v x, u and v uniform in [-shear, shear)
    translation part of the image's width and height, uniform in [-translation, translation)
    lens        coefficient of ``warp``, uniform in [-lens, lens)
    """

    rotation: float = 0.0
    stretch: float = 0.0
    shear: float = 0.0
    translation: float = 0.0
    lens: float = 0.0

    def __call__(self, images, draws):
        check("RandomWarp", images)
        H, W = images.shape[2:]
        angle = np.deg2rad(self.rotation * draws.uniform(-1, 1))
        stretch = np.exp(self.stretch * draws.uniform(-1, 1, 2))
        shear = self.shear * draws.uniform(-1, 1, 2)
        move = self.translation * draws.uniform(-1, 1, 2) * (W, H)
        lens = self.lens * draws.uniform(-1, 1)
        rotate = np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], 1).reshape(-1, 2, 2)
        one = np.ones(len(angle))
        skew = np.stack([one, shear[:, 0], shear[:, 1], one], 1).reshape(-1, 2, 2)
        linear = rotate @ skew * stretch[:, None]
        return warp(images, np.concatenate([linear, move[:, :, None]], 2), lens)
