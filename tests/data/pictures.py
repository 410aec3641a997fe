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


def write_mnist(folder, train, test):
    """The idx files of a pair of Images (N, 1, 28, 28) in a folder, as MNIST has them."""
    for part, data in (("train", train), ("t10k", test)):
        for kind, array in (("images", data.images[:, 0]), ("labels", data.labels.astype("uint8"))):
            sizes = b"".join(n.to_bytes(4, "big") for n in array.shape)
            header = bytes([0, 0, 8, array.ndim]) + sizes
            (folder / f"{part}-{kind}-idx{array.ndim}-ubyte").write_bytes(header + array.tobytes())
    return folder


def write_cifar(folder, images=60, tests=30):
    """CIFAR-10's binary files in a folder: squares of a colour for each class, at random places, in noise."""
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (10, 3))
    for name, count in (*((f"data_batch_{i}", images // 5) for i in range(1, 6)), ("test_batch", tests)):
        records = rng.integers(0, 100, (count, 1 + 3 * 32 * 32), dtype=np.uint8)
        records[:, 0] = np.arange(count) % 10
        for record in records:
            top, left = rng.integers(0, 16, 2)
            pixels = record[1:].reshape(3, 32, 32)
            pixels[:, top : top + 16, left : left + 16] = colours[record[0], :, None, None]
        (folder / f"{name}.bin").write_bytes(records.tobytes())
    return folder


def write_folders(folder, classes=("cat", "dog", "eel"), count=4, size=(40, 48)):
    """Image folders train and test, with one folder of PNGs a class."""
    for part in ("train", "test"):
        for label, name in enumerate(classes):
            (folder / part / name).mkdir(parents=True)
            for i, image in enumerate(random_images(*[(3, *size)] * count, seed=label)):
                (folder / part / name / f"{i}.png").write_bytes(encoded(image // 4 + 60 * label % 192))
    return folder
