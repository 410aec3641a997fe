"""A folder of images with one folder a class, as ImageNet is laid out."""

from pathlib import Path

from .dataset import row
from .decode import decode_image

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".ppm", ".tif", ".tiff", ".webp"}
# Of the ImageNet training images, pixels scaled to 0..1, as other frameworks and pretrained weights have them.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class ImageFolder:
    """Images in folders named after their class: ``root/dog/1.jpg``; the classes, sorted by name, are labels 0, 1, ...

    data[i]     (image (3, H, W) uint8, label)      decoded when it is asked for, as RGB
    short_side  pixels to which the shorter side is resized, or None to leave images as they are
    classes     names of the folders                paths       the files, in the order of the labels, then of the names

    Files of other suffixes than those of images are passed over. No class, or a class without images, is a
    ValueError; so is a file that cannot be decoded, when it is asked for.
    """

    def __init__(self, root, short_side=None, mean=MEAN, std=STD):
        root = Path(root)
        self.short_side, self.mean, self.std = short_side, mean, std
        self.classes = tuple(sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")))
        if not self.classes:
            raise ValueError(f"ImageFolder: {root}: holds one folder a class, but there is no folder in it")
        self.paths, self.labels = [], []
        for label, name in enumerate(self.classes):
            found = sorted(p for p in (root / name).iterdir() if p.suffix.lower() in SUFFIXES)
            if not found:
                raise ValueError(f"ImageFolder: {root / name}: a class has images, but there are none")
            self.paths += found
            self.labels += [label] * len(found)

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, i):
        i = row(i, len(self))
        return decode_image(self.paths[i].read_bytes(), self.paths[i], self.short_side), self.labels[i]
