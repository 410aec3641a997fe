"""Convolution layers by network, as (name, ConvShape at a batch size)."""

from dataclasses import replace
from functools import cache

from gpucnn import nn
from gpucnn.conv import ConvShape
from gpucnn.models import INPUTS, MODELS
from gpucnn.summary import conv_shapes


def _layer(name, N, C, H, K, R, stride=1, groups=1):
    pad = 0 if (R, stride) == (11, 4) else R // 2
    return name, ConvShape(N, C, H, H, K, R, R, (pad, pad), (stride, stride), groups=groups)


# Layers on which PyTorch's speed on such a CPU is known, and the small cases around them.
FRIENDLY = [
    _layer("vgg 64x224", 8, 64, 224, 64, 3),
    _layer("vgg 128x112", 8, 128, 112, 128, 3),
    _layer("vgg 256x56", 8, 256, 56, 256, 3),
    _layer("vgg 512x28", 8, 512, 28, 512, 3),
    _layer("vgg 512x14", 8, 512, 14, 512, 3),
    _layer("cifar resnet 32x16", 128, 32, 16, 32, 3),
    _layer("alexnet-owt 1", 16, 3, 224, 64, 11, 4),
    _layer("alexnet-owt 2", 16, 64, 27, 192, 5),
    _layer("resnet 1x1", 16, 256, 56, 64, 1),
    _layer("resnet stem", 16, 3, 224, 64, 7, 2),
    _layer("large filter", 2, 64, 64, 64, 31),
]
# Where Winograd's advantage ends: few channels, few tiles.
EDGES = [
    _layer("64x56", 8, 64, 56, 64, 3),
    _layer("64x56 batch 1", 1, 64, 56, 64, 3),
    _layer("128x28 batch 1", 1, 128, 28, 128, 3),
    _layer("256x14 batch 1", 1, 256, 14, 256, 3),
    _layer("512x14 batch 1", 1, 512, 14, 512, 3),
    _layer("512x7 batch 4", 4, 512, 7, 512, 3),
    _layer("512x7 batch 16", 16, 512, 7, 512, 3),
    _layer("3x224", 8, 3, 224, 64, 3),
    _layer("8x112", 8, 8, 112, 64, 3),
    _layer("16x112", 8, 16, 112, 16, 3),
    _layer("32x28", 8, 32, 28, 32, 3),
    _layer("96x28 to 128", 16, 96, 28, 128, 3),
    _layer("512x4", 8, 512, 4, 512, 3),
    _layer("512x2 batch 64", 64, 512, 2, 512, 3),
]
DEPTHWISE = [
    _layer(f"depthwise {C}x{H} {R}x{R}/{stride}", 8, C, H, C, R, stride, groups=C)
    for C, H, R, stride in (
        *((32, 112, 3, 1), (96, 112, 3, 2), (128, 56, 3, 1), (144, 56, 3, 2), (192, 28, 3, 1), (192, 28, 3, 2)),
        *((384, 14, 3, 1), (576, 14, 3, 2), (960, 7, 3, 1), (72, 56, 5, 2), (120, 28, 5, 1), (672, 14, 5, 2)),
        *((960, 7, 5, 1), (96, 56, 7, 1), (192, 28, 7, 1), (384, 14, 7, 1), (768, 7, 7, 1), (64, 28, 31, 1)),
    )
]
# Where FFT pays, and the edges of that: filters of 5x5 with few outputs or channels, images of 3 channels.
LARGE = [
    _layer(f"large {C}x{H} to {K} {R}x{R} batch {N}", N, C, H, K, R)
    for N, C, H, K, R in (
        *((8, 16, 28, 32, 5), (8, 32, 56, 32, 5), (8, 128, 14, 128, 5), (1, 128, 28, 128, 5), (8, 128, 28, 128, 5)),
        *((8, 3, 112, 64, 7), (8, 16, 28, 16, 7), (8, 64, 56, 64, 7), (1, 64, 28, 64, 7), (8, 128, 14, 128, 7)),
        *((4, 3, 112, 64, 11), (4, 64, 112, 3, 11), (4, 64, 56, 64, 11), (1, 128, 14, 128, 11), (8, 128, 28, 128, 11)),
        *((4, 64, 56, 64, 15), (2, 32, 112, 32, 21), (1, 3, 224, 3, 31)),
    )
] + [_layer(f"large depthwise 64x56 {R}x{R}", 4, 64, 56, 64, R, groups=64) for R in (11, 21, 31)]
LAYERS = {"friendly": FRIENDLY, "edges": EDGES, "depthwise": DEPTHWISE, "large": LARGE}
# Networks whose layers are measured when nothing is named, and the batch size: what a CPU does in about a second.
NETWORKS = {"alexnet-owt": 16, "overfeat": 16, "vgg-e": 8, "googlenet": 8, "resnet-50": 8}
BATCH = 8  # of other networks


def layers_of(name, batch=None):
    """[(name, ConvShape)] of a set in LAYERS, or of a network in MODELS, each shape once; a ValueError for others.

    batch    in place of the set's own, of NETWORKS or of BATCH

    >>> [(layer, shape.x) for layer, shape in layers_of("alexnet-owt", batch=1)][1]
    ('alexnet-owt 64x27 to 192 5x5/1', (1, 64, 27, 27))
    """
    if name in LAYERS:
        return [(layer, replace(shape, N=batch or shape.N)) for layer, shape in LAYERS[name]]
    if name not in MODELS:
        raise ValueError(
            f"layers: a set ({', '.join(LAYERS)}) or a network ({', '.join(MODELS)}) is named, but came {name!r}"
        )
    return [
        (f"{name} {s.C}x{s.H} to {s.K} {s.R}x{s.S}/{s.stride[0]}", replace(s, N=batch or NETWORKS.get(name, BATCH)))
        for s in _shapes(name)
    ]


@cache
def _shapes(network):
    with nn.init.skip():
        made = MODELS[network]()
    return tuple(dict.fromkeys(shape for _, shape in conv_shapes(made, INPUTS[network])))


def shape_from(text):
    """The ConvShape of "N,C,H,W,K,R,S[,pad[,stride[,dilation[,groups]]]]"; a pair is written 1x2, (h, w).

    >>> shape_from("2,3,12,11,8,4,5,1x2,2x1,1x2").y
    (2, 8, 6, 7)
    """
    parts = text.split(",")
    try:
        if not 7 <= len(parts) <= 11:
            raise ValueError(f"{len(parts)} parts")
        sizes = [int(part) for part in parts[:7]]
        pairs = [_pair(part) for part in parts[7:10]]
        groups = int(parts[10]) if len(parts) > 10 else 1
    except ValueError as error:
        rule = "a shape is N,C,H,W,K,R,S[,pad[,stride[,dilation[,groups]]]] in whole numbers, pairs as 1x2"
        raise ValueError(f"layers: {rule}, but came {text!r} ({error})") from None
    return ConvShape(*sizes, *pairs, groups=groups)


def _pair(text):
    numbers = tuple(map(int, text.split("x")))
    if len(numbers) > 2:
        raise ValueError(f"{len(numbers)} numbers in {text}")
    return numbers * 2 if len(numbers) == 1 else numbers
