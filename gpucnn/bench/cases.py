"""Convolution shapes on which every row is tested and its accuracy measured.

The first has nine different sizes and unequal pairs.
"""

import numpy as np

from ..conv import ConvShape

CASES = {
    "never_square": ConvShape(2, 3, 12, 11, 8, 4, 5, pad=(1, 2), stride=(2, 1), dilation=(1, 2)),
    "swapped": ConvShape(2, 3, 11, 12, 8, 5, 4, pad=(2, 1), stride=(1, 2), dilation=(2, 1)),
    "one_pixel": ConvShape(1, 1, 1, 1, 1, 1, 1),
    "empty_batch": ConvShape(0, 3, 7, 6, 4, 3, 2),
    "empty_batch_whole_image": ConvShape(0, 5, 6, 4, 7, 6, 4),
    "empty_batch_pointwise": ConvShape(0, 4, 3, 5, 6, 1, 1, groups=2),
    "filter_is_image": ConvShape(3, 5, 6, 4, 7, 6, 4),
    "padding_only_corner": ConvShape(1, 2, 3, 2, 3, 3, 3, pad=(3, 4), stride=(4, 3)),
    "same_3x3": ConvShape(2, 16, 9, 10, 12, 3, 3, pad=(1, 1)),
    "tile_plus_one": ConvShape(1, 17, 17, 33, 33, 3, 3, pad=(1, 1)),
    "pointwise": ConvShape(3, 20, 7, 5, 9, 1, 1),
    "pointwise_strided": ConvShape(2, 6, 9, 8, 5, 1, 1, stride=(2, 3)),
    "groups": ConvShape(2, 6, 8, 7, 9, 3, 2, pad=(1, 0), stride=(1, 2), groups=3),
    "depthwise": ConvShape(2, 7, 9, 8, 7, 3, 5, pad=(1, 2), groups=7),
    "depthwise_multiplier": ConvShape(1, 4, 6, 9, 8, 2, 3, dilation=(2, 1), groups=4),
    "groups_3x3": ConvShape(3, 12, 9, 7, 18, 3, 3, pad=(3, 1), groups=3),
    "wide_3x3": ConvShape(2, 20, 13, 70, 37, 3, 3, pad=(0, 2)),
    "rgb_3x3": ConvShape(4, 3, 14, 15, 20, 3, 3, pad=(1, 1)),
    "depthwise_3x3": ConvShape(2, 40, 7, 7, 40, 3, 3, pad=(1, 1), groups=40),
    "stem_7x7": ConvShape(1, 3, 30, 28, 10, 7, 7, pad=(3, 3), stride=(2, 2)),
    "lenet_2": ConvShape(4, 6, 14, 14, 16, 5, 5),
    "many_channels": ConvShape(1, 512, 5, 4, 6, 3, 3, pad=(1, 1)),
    "large_filter": ConvShape(1, 2, 20, 19, 3, 13, 11, pad=(6, 5)),
}


def operands(shape, direction, dtype, seed=0):
    """Two random arrays, standard normal, rounded to dtype; inputs are never zeros."""
    rng = np.random.default_rng(seed)
    a, b, _ = shape.operands(direction)
    return rng.standard_normal(a).astype(dtype), rng.standard_normal(b).astype(dtype)
