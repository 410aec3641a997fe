"""LeNet-5 (LeCun, Bottou, Bengio, Haffner: Gradient-Based Learning Applied to Document Recognition, 1998)."""

from .. import nn


def lenet(classes=10, channels=1):
    """LeNet-5 for 28 x 28 images: (N, channels, 28, 28) to logits (N, classes); 61,706 parameters by default.

    The layers and sizes of the paper (whose 32 x 32 input is the 28 x 28 image with padding 2); as is usual now,
    C3 is connected to all six maps, pooling takes the maximum, ReLU replaces the scaled tanh, and the output is
    a linear layer.
    """
    return nn.Sequential(
        nn.Conv2d(channels, 6, 5, padding=2),  # C1: 6 x 28 x 28
        nn.ReLU(),
        nn.MaxPool2d(2),  # S2: 6 x 14 x 14
        nn.Conv2d(6, 16, 5),  # C3: 16 x 10 x 10
        nn.ReLU(),
        nn.MaxPool2d(2),  # S4: 16 x 5 x 5
        nn.Conv2d(16, 120, 5),  # C5: 120 x 1 x 1
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(120, 84),  # F6
        nn.ReLU(),
        nn.Linear(84, classes),
    )
