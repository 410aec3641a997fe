"""Small images and data sets that tests make."""

import io

import numpy as np
from PIL import Image


class Listed:
    """A data set of a list of images; ``classes`` where labels have names."""

    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.25)

    def __init__(self, images, labels=None):
        self.items = list(zip(images, range(len(images)) if labels is None else labels, strict=True))

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


def random_images(*shapes, seed=0):
    """One uint8 image of each shape."""
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, shape, dtype=np.uint8) for shape in shapes]


def encoded(image, kind="PNG", **options):
    """The file of an image (3, H, W) or (H, W)."""
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)) if image.ndim == 3 else image).save(
        file, kind, **options
    )
    return file.getvalue()


def smooth(height, width):
    """An image (3, H, W) uint8 that JPEG keeps almost as it is."""
    y, x = np.mgrid[:height, :width]
    return np.stack([255 * y / height, 255 * x / width, 128 + 100 * np.sin(x / 9 + y / 7)]).astype(np.uint8)
