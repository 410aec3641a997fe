"""How well a network does on a data set."""

from dataclasses import dataclass

import numpy as np

from ..amp import autocast
from ..autograd import no_grad
from ..device import array_module, to_device
from ..ops import cross_entropy


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What ``evaluate`` found.

    loss        mean cross-entropy          top1, top5  shares of the images, 0..1
    confusion   (classes, classes) int64: images of each label (rows) that were taken for each class (columns)
    """

    loss: float
    top1: float
    top5: float
    confusion: np.ndarray


def placed(network, images, labels):
    """The batch on the device of the network, the images in the dtype of its parameters."""
    like = network.parameters()[0]
    return images.to(like.device).astype(like.dtype), labels.to(like.device)


def evaluate(network, loader, *, amp=None):
    """The loss, accuracies and confusion matrix of a network, in evaluation mode, over all batches of a loader.

    network     from images to logits (N, classes)
    loader      DataLoader, or any iterable of (images, labels)
    amp         None, "float16" or "bfloat16": as in ``autocast``
    returns     Evaluation

    The loss is computed in float32 and summed in float64. Of equal logits the first counts as the largest; with fewer
    than five classes top5 is 1. A loader without images is a ValueError.

    >>> from gpucnn.data import DataLoader, digits
    >>> found = evaluate(models.lenet(), DataLoader(digits()[1], 500))
    >>> found.confusion.shape, int(found.confusion.sum()), found.top1 <= found.top5
    ((10, 10), 2000, True)
    """
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    loss, images, in_five, confusion = 0.0, 0, 0, 0
    try:
        with no_grad(), autocast(amp), np.errstate(over="ignore", invalid="ignore"):  # the loss tells
            for x, labels in loader:
                x, labels = placed(network, x, labels)
                logits = network(x).astype("float32")
                loss += cross_entropy(logits, labels, reduction="sum").item()
                xp, classes, wanted = array_module(logits.data), logits.shape[1], labels.data
                best = xp.argsort(-logits.data, axis=1, kind="stable")[:, :5]
                in_five = in_five + (best == wanted[:, None]).sum()  # sums stay on the device
                counts = xp.bincount(wanted * classes + best[:, 0], minlength=classes**2)
                confusion = confusion + counts.reshape(classes, classes)
                images += len(wanted)
    finally:
        for module, mode in modes:
            module.training = mode
    if not images:
        raise ValueError("evaluate: a loader has images, but there are none")
    confusion = to_device(confusion, "cpu")
    return Evaluation(loss / images, int(np.trace(confusion)) / images, int(in_five) / images, confusion)
