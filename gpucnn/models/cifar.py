"""Residual networks for 32 x 32 images: the CIFAR-10 family of the ResNet paper and what grew out of it.

K. He, X. Zhang, S. Ren, J. Sun, Deep Residual Learning for Image Recognition, 2015, section 4.2;
the same, Identity Mappings in Deep Residual Networks, 2016 (pre-activation);
G. Huang, Y. Sun, Z. Liu, D. Sedra, K. Weinberger, Deep Networks with Stochastic Depth, 2016;
S. Zagoruyko, N. Komodakis, Wide Residual Networks, 2016.
"""

from .. import nn, ops
from ..create import zeros
from .resnet import BasicBlock, conv, shortcut_of


class PaddedShortcut(nn.Module):
    """x at every ``stride``-th pixel, with channels of zeros behind (option A of the paper): no parameters."""

    def __init__(self, channels, width, stride):
        self.more, self.stride = width - channels, stride

    def forward(self, x):
        x = ops.avg_pool2d(x, 1, self.stride)  # a window of one pixel: what it skips is left out
        N, _, H, W = x.shape
        return ops.cat([x, zeros(N, self.more, H, W, dtype=x.dtype, device=x.device)], 1)

    def extra(self):
        return f"{self.more} channels more, stride={self.stride}"


class PreActivatedBlock(nn.Module):
    """x + two 3 x 3 convolutions of x, batch normalisation and ReLU before each, dropout between them.

    Where the shape changes, ``shortcut(channels, width, stride)`` of the activated x takes the place of x.
    """

    def __init__(self, channels, width, stride, shortcut, dropout=0.0):
        self.bn1, self.conv1 = nn.BatchNorm2d(channels), conv(channels, width, 3, stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(width), conv(width, width, 3)
        self.dropout = nn.Dropout(dropout)
        self.shortcut = shortcut_of(channels, width, stride, shortcut)

    def forward(self, x):
        y = self.bn1(x, relu=True)
        if not isinstance(self.shortcut, nn.Identity):
            x = self.shortcut(y)
        y = self.bn2.of(self.conv1, y, relu=True)
        return self.conv2(self.dropout(y)) + x


def cifar_resnet(depth, classes=10, drop=0.0, channels=3):
    """The CIFAR-10 ResNet of depth 6 n + 2: (N, channels, 32, 32) to logits (N, classes).

    drop        probability with which stochastic depth leaves out the last residual block in training (0.5 in its
                paper); it rises to that linearly over the blocks

    0.27, 0.46, 0.66, 0.85 and 1.7 million parameters at depths 20, 32, 44, 56 and 110. Weights from
    ``init.he_normal_``.
    """
    count = _blocks("cifar_resnet", depth, 2)
    drops = [nn.StochasticDepth(p) if p else nn.Identity() for p in nn.drop_rates(3 * count, drop)]
    sizes = _sizes(count, (16, 32, 64))
    blocks = [BasicBlock(*size, PaddedShortcut, layer) for size, layer in zip(sizes, drops, strict=True)]
    return nn.Sequential(conv(channels, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), *blocks, *_classifier(64, classes))


def cifar_preresnet(depth, classes=10, channels=3):
    """The pre-activation ResNet of depth 6 n + 2: as ``cifar_resnet``, but nothing comes after a sum.

    1.7 million parameters at depth 110.
    """
    count = _blocks("cifar_preresnet", depth, 2)
    blocks = [PreActivatedBlock(*sizes, PaddedShortcut) for sizes in _sizes(count, (16, 32, 64))]
    return nn.Sequential(conv(channels, 16, 3), *blocks, nn.BatchNorm2d(64), nn.ReLU(), *_classifier(64, classes))


def wide_resnet(depth=28, width=10, dropout=0.0, classes=10, channels=3):
    """The wide ResNet of depth 6 n + 4: (N, channels, 32, 32) to logits (N, classes).

    width       times the channels of ``cifar_resnet``
    dropout     between the convolutions of a block; 0.3 in the paper, where it is used

    36,479,194 parameters by default.
    """
    count = _blocks("wide_resnet", depth, 4)
    blocks = [
        PreActivatedBlock(*sizes, lambda channels, wide, stride: conv(channels, wide, 1, stride), dropout)
        for sizes in _sizes(count, (16 * width, 32 * width, 64 * width))
    ]
    last = 64 * width
    return nn.Sequential(conv(channels, 16, 3), *blocks, nn.BatchNorm2d(last), nn.ReLU(), *_classifier(last, classes))


def _blocks(name, depth, more):
    """n of a depth 6 n + more: the blocks in each of three stages."""
    if depth < 6 + more or (depth - more) % 6:
        raise ValueError(f"{name}: depth is 6 n + {more} with n from 1 on, but came {depth}")
    return (depth - more) // 6


def _sizes(count, widths):
    """(channels, width, stride) of each block; the first of the second and third stages halves the image."""
    channels = 16
    for stage, width in enumerate(widths):
        for i in range(count):
            yield channels, width, 2 if stage and not i else 1
            channels = width


def _classifier(channels, classes):
    return nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)
