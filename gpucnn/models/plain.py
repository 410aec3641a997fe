"""The network of 2012 to 2014: [(convolution, ReLU) * n, pooling] * m, then (fully connected, ReLU) * k, classes."""

from .. import nn, ops


class Plain(nn.Module):
    """``features`` of an image (N, C, H, W), flattened, then ``classifier``: logits (N, classes)."""

    def __init__(self, features, classifier):
        self.features, self.classifier = features, classifier

    def forward(self, x):
        return self.classifier(ops.flatten(self.features(x), 1))


def conv(channels, filters, size, **options):
    """A convolution and its ReLU, to be unpacked into a Sequential."""
    return nn.Conv2d(channels, filters, size, **options), nn.ReLU()


def fully_connected(features, hidden, classes):
    """The layers behind the features: hidden layers of the sizes ``hidden``, with dropout 0.5, then the classes."""
    layers = []
    for inputs, outputs in zip((features, *hidden), hidden, strict=False):
        layers += [nn.Linear(inputs, outputs), nn.ReLU(), nn.Dropout(0.5)]
    return nn.Sequential(*layers, nn.Linear(hidden[-1], classes))


def weighted(network):
    """The convolutions and fully connected layers of a network, in order."""
    return [module for module in network.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
