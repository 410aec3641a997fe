"""ResNet for 224 x 224 images (K. He, X. Zhang, S. Ren, J. Sun, Deep Residual Learning for Image Recognition, 2015)."""

from .. import nn, ops

# Blocks in the four stages.
STAGES = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
}


def conv(channels, filters, size, stride=1):
    """A convolution that keeps the image size, before any stride, without a bias: batch normalisation has one."""
    return nn.Conv2d(channels, filters, size, stride=stride, padding=size // 2, bias=False)


def projection(channels, filters, stride):
    """A shortcut that changes the shape by a 1 x 1 convolution (option B of the paper)."""
    return nn.Sequential(conv(channels, filters, 1, stride), nn.BatchNorm2d(filters))


def shortcut_of(channels, filters, stride, changed):
    """The identity, or ``changed(channels, filters, stride)`` where a block changes the shape."""
    return nn.Identity() if stride == 1 and channels == filters else changed(channels, filters, stride)


class BasicBlock(nn.Module):
    """relu(x + two 3 x 3 convolutions of x), batch normalisation behind each; ``drop`` acts on the convolved branch."""

    expansion = 1

    def __init__(self, channels, width, stride=1, shortcut=projection, drop=None):
        self.conv1, self.bn1 = conv(channels, width, 3, stride), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = conv(width, width, 3), nn.BatchNorm2d(width)
        self.drop = nn.Identity() if drop is None else drop
        self.downsample = shortcut_of(channels, width, stride, shortcut)

    def forward(self, x):
        y, shortcut = self.bn1.of(self.conv1, x, relu=True), self.downsample(x)
        if isinstance(self.drop, nn.Identity):
            return self.bn2.of(self.conv2, y, shortcut, relu=True)
        return ops.relu(self.drop(self.bn2.of(self.conv2, y)) + shortcut)


class Bottleneck(nn.Module):
    """relu(x + 1 x 1, 3 x 3 and 1 x 1 convolutions of x): ``width`` channels inside, four times as many outside.

    The stride is on the 3 x 3 convolution, as in later code of the authors and in torchvision; the paper has it on the
    first, which then skips three quarters of its input.
    """

    expansion = 4

    def __init__(self, channels, width, stride=1):
        outside = self.expansion * width
        self.conv1, self.bn1 = conv(channels, width, 1), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = conv(width, width, 3, stride), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = conv(width, outside, 1), nn.BatchNorm2d(outside)
        self.downsample = shortcut_of(channels, outside, stride, projection)

    def forward(self, x):
        y = self.bn1.of(self.conv1, x, relu=True)
        y = self.bn2.of(self.conv2, y, relu=True)
        return self.bn3.of(self.conv3, y, self.downsample(x), relu=True)


class ResNet(nn.Module):
    """ResNet of depth 18, 34 (basic blocks), 50, 101, 152 or 200 (bottlenecks).

    (N, channels, H, W) to logits (N, classes); 224 x 224 in the paper, 32 x 32 at least. Parameters have the names of
    torchvision's resnet18 to resnet152. Weights from ``init.he_normal_``, as in the paper.
    """

    def __init__(self, depth, classes=1000, channels=3):
        self.conv1 = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
        self.bn1, self.maxpool = nn.BatchNorm2d(64), nn.MaxPool2d(3, 2, padding=1)
        if depth not in STAGES:
            raise ValueError(f"ResNet: the depth is one of {', '.join(map(str, STAGES))}, but came {depth}")
        block, channels = Bottleneck if depth >= 50 else BasicBlock, 64
        for stage, count in enumerate(STAGES[depth]):
            width, blocks = 64 * 2**stage, []
            for i in range(count):
                blocks.append(block(channels, width, stride=2 if stage and not i else 1))
                channels = block.expansion * width
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, classes)

    def forward(self, x):
        x = self.maxpool(self.bn1.of(self.conv1, x, relu=True))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(ops.flatten(self.avgpool(x), 1))
