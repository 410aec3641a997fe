"""VGG: K. Simonyan, A. Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition, 2014, table 1."""

from .. import nn
from .plain import Plain, conv, fully_connected, weighted

# Filters of 3 x 3 ("256:1" of 1 x 1); M pools 2 x 2, N normalises by neighbouring channels.
CONFIGURATIONS = {
    "a": "64 M 128 M 256 256 M 512 512 M 512 512 M",
    "a-lrn": "64 N M 128 M 256 256 M 512 512 M 512 512 M",
    "b": "64 64 M 128 128 M 256 256 M 512 512 M 512 512 M",
    "c": "64 64 M 128 128 M 256 256 256:1 M 512 512 512:1 M 512 512 512:1 M",
    "d": "64 64 M 128 128 M 256 256 256 M 512 512 512 M 512 512 512 M",
    "e": "64 64 M 128 128 M 256 256 256 256 M 512 512 512 512 M 512 512 512 512 M",
}


def vgg(configuration, classes=1000, image=224, hidden=4096):
    """VGG "a", "a-lrn", "b", "c", "d" or "e": (N, 3, image, image) to logits (N, classes).

    image       pixels, at least 32: five poolings halve it, and what remains goes to the first fully connected layer

    133, 133, 133, 134, 138 and 144 million parameters by default. A, B, D and E have the parameter names of
    torchvision's vgg11, vgg13, vgg16 and vgg19. Weights from ``init.xavier_normal_``, with which the paper trains the
    deep configurations without pre-training (section 3.1).
    """
    if configuration not in CONFIGURATIONS:
        raise ValueError(f"vgg: the configuration is one of {', '.join(CONFIGURATIONS)}, but came {configuration!r}")
    if image < 32:
        raise ValueError(f"vgg: five poolings leave something of 32 pixels or more, but came {image}")
    layers, channels = [], 3
    with nn.init.skip():
        for word in CONFIGURATIONS[configuration].split():
            if word == "M":
                layers.append(nn.MaxPool2d(2))
            elif word == "N":
                layers.append(nn.LocalResponseNorm())
            else:
                filters, _, size = word.partition(":")
                layers += conv(channels, int(filters), int(size or 3), padding=0 if size else 1)
                channels = int(filters)
        classifier = fully_connected(channels * (image // 32) ** 2, (hidden, hidden), classes)
        network = Plain(nn.Sequential(*layers), classifier)
    for layer in weighted(network):
        nn.init.xavier_normal_(layer.weight)
    return network
