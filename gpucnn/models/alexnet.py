"""AlexNet in three forms, and its refinement ZFNet.

A. Krizhevsky, I. Sutskever, G. Hinton, ImageNet Classification with Deep Convolutional Neural Networks, 2012.
A. Krizhevsky, One Weird Trick for Parallelizing Convolutional Neural Networks, 2014.
M. Zeiler, R. Fergus, Visualizing and Understanding Convolutional Networks, 2013.
"""

from .. import nn
from .plain import Plain, conv, fully_connected, weighted


def alexnet(classes=1000, hidden=4096):
    """AlexNet as published: (N, 3, 227, 227) to logits (N, classes); 60,965,224 parameters by default.

    Convolutions 2, 4 and 5 have two groups (the halves that ran on two GPUs); response normalisation comes before
    pooling. Weights are normal with deviation 0.01; biases are one in convolutions 2, 4 and 5 and in the hidden fully
    connected layers, so that their ReLUs begin in the linear part, and zero elsewhere.
    """
    with nn.init.skip():
        features = nn.Sequential(
            *conv(3, 96, 11, stride=4),  # 96 x 55 x 55
            nn.LocalResponseNorm(),
            nn.MaxPool2d(3, 2),  # 96 x 27 x 27
            *conv(96, 256, 5, padding=2, groups=2),
            nn.LocalResponseNorm(),
            nn.MaxPool2d(3, 2),  # 256 x 13 x 13
            *conv(256, 384, 3, padding=1),
            *conv(384, 384, 3, padding=1, groups=2),
            *conv(384, 256, 3, padding=1, groups=2),
            nn.MaxPool2d(3, 2),  # 256 x 6 x 6
        )
        network = Plain(features, fully_connected(256 * 6 * 6, (hidden, hidden), classes))
    for layer, bias in zip(weighted(network), (0, 1, 0, 1, 1, 1, 1, 0), strict=True):
        nn.init.normal_(layer.weight, 0.01)
        layer.bias.data[...] = bias
    return network


def alexnet_simple(classes=1000, hidden=4096):
    """AlexNet without groups: (N, 3, 227, 227) to logits (N, classes); 62,378,344 parameters by default.

    The form that cs231n teaches; response normalisation comes behind pooling. Weights are normal with deviation 0.01.
    """
    return _simple(((96, 11, 4, 0), (256, 5, 1, 2)), (384, 384, 256), classes, hidden)


def zfnet(classes=1000, hidden=4096):
    """ZFNet: (N, 3, 224, 224) to logits (N, classes); 107,627,624 parameters by default.

    AlexNet with a first convolution of 7 x 7 with stride 2, a second with stride 2, and 512, 1024 and 512 filters in
    the last three: the wider network of the paper's table 2. Pooling rounds its size up. Weights are normal with
    deviation 0.01.
    """
    return _simple(((96, 7, 2, 1), (256, 5, 2, 0)), (512, 1024, 512), classes, hidden)


def _simple(large, small, classes, hidden):
    """Two convolutions (filters, size, stride, padding), each pooled and normalised, and three of 3 x 3."""
    layers, channels = [], 3
    with nn.init.skip():
        for filters, size, stride, padding in large:
            layers += [
                *conv(channels, filters, size, stride=stride, padding=padding),
                nn.MaxPool2d(3, 2, ceil_mode=True),
                nn.LocalResponseNorm(),
            ]
            channels = filters
        for filters in small:
            layers += conv(channels, filters, 3, padding=1)
            channels = filters
        features = nn.Sequential(*layers, nn.MaxPool2d(3, 2))
        network = Plain(features, fully_connected(channels * 6 * 6, (hidden, hidden), classes))
    for layer in weighted(network):
        nn.init.normal_(layer.weight, 0.01)
    return network


def alexnet_owt(classes=1000, hidden=4096):
    """AlexNet of "One Weird Trick": (N, 3, 224, 224) to logits (N, classes); 61,100,840 parameters by default.

    One tower without groups or response normalisation, in the sizes and with the parameter names of torchvision's
    ``alexnet``. Weights from ``init.he_normal_``.
    """
    return Plain(
        nn.Sequential(
            *conv(3, 64, 11, stride=4, padding=2),  # 64 x 55 x 55
            nn.MaxPool2d(3, 2),  # 64 x 27 x 27
            *conv(64, 192, 5, padding=2),
            nn.MaxPool2d(3, 2),  # 192 x 13 x 13
            *conv(192, 384, 3, padding=1),
            *conv(384, 256, 3, padding=1),
            *conv(256, 256, 3, padding=1),
            nn.MaxPool2d(3, 2),  # 256 x 6 x 6
        ),
        nn.Sequential(
            *(nn.Dropout(0.5), nn.Linear(256 * 6 * 6, hidden), nn.ReLU()),
            *(nn.Dropout(0.5), nn.Linear(hidden, hidden), nn.ReLU()),
            nn.Linear(hidden, classes),
        ),
    )
