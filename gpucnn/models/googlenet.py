"""GoogLeNet (C. Szegedy et al., Going Deeper with Convolutions, 2014, table 1 and figure 3)."""

from .. import nn, ops
from .plain import conv

# Channels in; #1x1, #3x3 reduce, #3x3, #5x5 reduce, #5x5, pool proj.
INCEPTIONS = {
    "3a": (192, 64, 96, 128, 16, 32, 32),
    "3b": (256, 128, 128, 192, 32, 96, 64),
    "4a": (480, 192, 96, 208, 16, 48, 64),
    "4b": (512, 160, 112, 224, 24, 64, 64),
    "4c": (512, 128, 128, 256, 24, 64, 64),
    "4d": (512, 112, 144, 288, 32, 64, 64),
    "4e": (528, 256, 160, 320, 32, 128, 128),
    "5a": (832, 256, 160, 320, 32, 128, 128),
    "5b": (832, 384, 192, 384, 48, 128, 128),
}
AUXILIARY_WEIGHT = 0.3


class Inception(nn.Module):
    """Convolutions of 1 x 1, 3 x 3 and 5 x 5 and a 3 x 3 pooling of one image, their channels joined in that order."""

    def __init__(self, channels, one, reduce3, three, reduce5, five, projected):
        self.one = nn.Sequential(*conv(channels, one, 1))
        self.three = nn.Sequential(*conv(channels, reduce3, 1), *conv(reduce3, three, 3, padding=1))
        self.five = nn.Sequential(*conv(channels, reduce5, 1), *conv(reduce5, five, 5, padding=2))
        self.pool = nn.Sequential(nn.MaxPool2d(3, 1, padding=1), *conv(channels, projected, 1))

    def forward(self, x):
        return ops.cat([self.one(x), self.three(x), self.five(x), self.pool(x)], 1)


class GoogLeNet(nn.Module):
    """(N, 3, 224, 224) to logits (N, classes); in training (logits, logits of head 1, logits of head 2), for ``loss``.

    6,998,552 parameters by default, and 6,379,728 in the two auxiliary heads, which only training uses. Evaluation
    takes other image sizes too. The paper leaves the initial values open; these are from ``init.he_normal_``.
    """

    def __init__(self, classes=1000):
        self.stem = nn.Sequential(
            *conv(3, 64, 7, stride=2, padding=3),
            nn.MaxPool2d(3, 2, ceil_mode=True),
            nn.LocalResponseNorm(),
            *conv(64, 64, 1),
            *conv(64, 192, 3, padding=1),
            nn.LocalResponseNorm(),
            nn.MaxPool2d(3, 2, ceil_mode=True),  # 192 x 28 x 28
        )
        for name, sizes in INCEPTIONS.items():
            setattr(self, f"inception{name}", Inception(*sizes))
        self.pool = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.4), nn.Linear(1024, classes))
        self.auxiliary1, self.auxiliary2 = _auxiliary(512, classes), _auxiliary(528, classes)

    def forward(self, x):
        x = self.pool(self.inception3b(self.inception3a(self.stem(x))))  # 480 x 14 x 14
        early = self.inception4a(x)
        late = self.inception4d(self.inception4c(self.inception4b(early)))
        x = self.pool(self.inception4e(late))  # 832 x 7 x 7
        logits = self.head(self.inception5b(self.inception5a(x)))
        return (logits, self.auxiliary1(early), self.auxiliary2(late)) if self.training else logits

    @staticmethod
    def loss(outputs, labels):
        """Cross-entropy of the three outputs of training with labels (N,); the auxiliary ones weigh 0.3."""
        logits, *auxiliary = (ops.cross_entropy(output, labels) for output in outputs)
        return logits + AUXILIARY_WEIGHT * sum(auxiliary)


def _auxiliary(channels, classes):
    """A classifier on 14 x 14 pixels in the middle of the network."""
    return nn.Sequential(
        nn.AvgPool2d(5, 3),  # 4 x 4
        *conv(channels, 128, 1),
        nn.Flatten(),
        *(nn.Linear(128 * 4 * 4, 1024), nn.ReLU(), nn.Dropout(0.7)),
        nn.Linear(1024, classes),
    )
