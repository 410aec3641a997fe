"""OverFeat (P. Sermanet, D. Eigen, X. Zhang, M. Mathieu, R. Fergus, Y. LeCun, OverFeat, 2013, table 1)."""

from .. import nn
from .plain import Plain, conv, fully_connected, weighted


def overfeat(classes=1000, hidden=(3072, 4096)):
    """The fast OverFeat network: (N, 3, 231, 231) to logits (N, classes); 145,920,872 parameters by default.

    Weights are normal with deviation 0.01, as in the paper.
    """
    with nn.init.skip():
        features = nn.Sequential(
            *conv(3, 96, 11, stride=4),  # 96 x 56 x 56
            nn.MaxPool2d(2),
            *conv(96, 256, 5),  # 256 x 24 x 24
            nn.MaxPool2d(2),
            *conv(256, 512, 3, padding=1),
            *conv(512, 1024, 3, padding=1),
            *conv(1024, 1024, 3, padding=1),  # 1024 x 12 x 12
            nn.MaxPool2d(2),
        )
        network = Plain(features, fully_connected(1024 * 6 * 6, hidden, classes))
    for layer in weighted(network):
        nn.init.normal_(layer.weight, 0.01)
    return network
