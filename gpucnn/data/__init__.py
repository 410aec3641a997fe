"""Data sets, packed files, loading ahead, augmentation and test-time averaging."""

from .augment import CentreCrop, Cutout, RandomCrop, RandomFlip, mixup, normalise
from .cifar import JpegImages, cifar10
from .colour import Brightness, ColourOffset, Contrast, Saturation
from .dataset import Images, class_names
from .decode import decode_image
from .draws import Draws
from .folder import ImageFolder
from .idx import read_idx
from .loader import DataLoader
from .mnist import digits, mnist
from .pack import Packed, pack
from .resize import ScaleJitter, ShortSide, resize, resize_short_side
from .sources import check_classes, open_dataset, open_parts
from .statistics import channel_statistics, colour_components, mean_image
from .test_time import predict_scales, predict_ten_crops, ten_crops
from .warp import RandomWarp, warp

__all__ = [
    "Brightness",
    "CentreCrop",
    "ColourOffset",
    "Contrast",
    "Cutout",
    "DataLoader",
    "Draws",
    "ImageFolder",
    "Images",
    "JpegImages",
    "Packed",
    "RandomCrop",
    "RandomFlip",
    "RandomWarp",
    "Saturation",
    "ScaleJitter",
    "ShortSide",
    "channel_statistics",
    "check_classes",
    "cifar10",
    "class_names",
    "colour_components",
    "decode_image",
    "digits",
    "mean_image",
    "mixup",
    "mnist",
    "normalise",
    "open_dataset",
    "open_parts",
    "pack",
    "predict_scales",
    "predict_ten_crops",
    "read_idx",
    "resize",
    "resize_short_side",
    "ten_crops",
    "warp",
]
