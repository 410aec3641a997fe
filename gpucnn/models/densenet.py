"""DenseNet-BC (G. Huang, Z. Liu, L. van der Maaten, K. Weinberger, Densely Connected Convolutional Networks, 2016)."""

from .. import nn, ops
from .resnet import conv


class DenseLayer(nn.Module):
    """x with ``growth`` channels more: 1 x 1 to four times ``growth`` channels, then 3 x 3, normalisation first."""

    def __init__(self, channels, growth):
        self.norm1, self.conv1 = nn.BatchNorm2d(channels), conv(channels, 4 * growth, 1)
        self.norm2, self.conv2 = nn.BatchNorm2d(4 * growth), conv(4 * growth, growth, 3)

    def forward(self, x):
        y = self.norm2.of(self.conv1, self.norm1(x, relu=True), relu=True)
        return ops.cat([x, self.conv2(y)], 1)


class Transition(nn.Sequential):
    """Half the channels, half the image."""

    def __init__(self, channels):
        self.norm, self.relu = nn.BatchNorm2d(channels), nn.ReLU()
        self.conv, self.pool = conv(channels, channels // 2, 1), nn.AvgPool2d(2)


class DenseNet(nn.Module):
    """(N, 3, H, W) to logits (N, classes).

    stem        a Sequential that gives ``channels`` channels
    growth      channels that each layer adds
    blocks      layers in each dense block

    Weights from ``init.he_normal_``, as in the paper; parameters have the names of torchvision's densenets.
    """

    def __init__(self, stem, channels, growth, blocks, classes):
        self.features = stem
        for i, count in enumerate(blocks, 1):
            block = nn.Sequential()
            for j in range(1, count + 1):
                setattr(block, f"denselayer{j}", DenseLayer(channels, growth))
                channels += growth
            setattr(self.features, f"denseblock{i}", block)
            if i < len(blocks):
                setattr(self.features, f"transition{i}", Transition(channels))
                channels //= 2
        setattr(self.features, f"norm{len(blocks) + 1}", nn.BatchNorm2d(channels))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x):
        x = self.pool(ops.relu(self.features(x)))
        return self.classifier(ops.flatten(x, 1))


def densenet_121(classes=1000, channels=3):
    """DenseNet-121: (N, channels, 224, 224) to logits (N, classes); 7,978,856 parameters by default."""
    stem = nn.Sequential()
    stem.conv0 = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
    stem.norm0, stem.relu0, stem.pool0 = nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1)
    return DenseNet(stem, 64, 32, (6, 12, 24, 16), classes)


def densenet_bc(depth=100, growth=12, classes=10, channels=3):
    """DenseNet-BC for CIFAR: (N, channels, 32, 32) to logits (N, classes); 769,162 parameters by default.

    depth       4 + 6 n: three blocks of n layers, each two convolutions; a stem, two transitions, the classifier
    """
    if depth < 10 or depth % 6 != 4:
        raise ValueError(f"densenet_bc: depth is 4 + 6 n with n from 1 on, but came {depth}")
    stem = nn.Sequential()
    stem.conv0 = conv(channels, 2 * growth, 3)
    return DenseNet(stem, 2 * growth, growth, ((depth - 4) // 6,) * 3, classes)
