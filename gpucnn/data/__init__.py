"""Data sets, packed files, loading ahead, augmentation and test-time averaging."""

from .augment import Cutout, RandomCrop, RandomFlip, mixup, normalise
from .cifar import JpegImages, cifar10
from .colour import Brightness, ColourOffset, Contrast, Saturation
from .dataset import Images
from .decode import decode_image
from .draws import Draws
from .folder import ImageFolder
from .idx import read_idx
from .loader import DataLoader
from .mnist import digits, mnist
from .pack import Packed, pack
from .resize import ScaleJitter, resize, resize_short_side
from .sources import open_dataset
from .statistics import channel_statistics, colour_components, mean_image
from .test_time import predict_scales, predict_ten_crops, ten_crops
from .warp import RandomWarp, warp

__all__ = [
    "Brightness",
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
    "channel_statistics",
    "cifar10",
    "colour_components",
    "decode_image",
    "digits",
    "mean_image",
    "mixup",
    "mnist",
    "normalise",
    "open_dataset",
    "pack",
    "predict_scales",
    "predict_ten_crops",
    "read_idx",
    "resize",
    "resize_short_side",
    "ten_crops",
    "warp",
]
