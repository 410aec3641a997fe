"""The policy network of AlphaGo (D. Silver et al., Mastering the Game of Go with Deep Neural Networks, 2016)."""

import numpy as np

from .. import nn, ops
from .plain import conv


class PointBias(nn.Module):
    """Planes (N, 1, H, W) as rows (N, H W), each point with a bias of its own."""

    def __init__(self, points):
        self.bias = nn.Parameter(np.zeros(points, np.float32))

    def forward(self, x):
        return ops.flatten(x, 1) + self.bias


def alphago_policy(filters=192, planes=48, layers=11, board=19):
    """48 feature planes of a board (N, 48, 19, 19) to one logit a point (N, 361); softmax gives move probabilities.

    3,882,793 parameters by default: a 5 x 5 convolution, eleven of 3 x 3, and one filter of 1 x 1 with a bias of its
    own at each point. Weights from ``init.he_normal_``.
    """
    hidden = [*conv(planes, filters, 5, padding=2)]
    for _ in range(layers):
        hidden += conv(filters, filters, 3, padding=1)
    return nn.Sequential(*hidden, nn.Conv2d(filters, 1, 1, bias=False), PointBias(board * board))
