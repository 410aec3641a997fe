"""A network of MODELS for the images and classes of a data set."""

from inspect import signature

from ..autograd import no_grad
from ..create import zeros
from ..models import INPUTS, MODELS


def build(name, classes, image):
    """The network ``name`` of ``MODELS``, in float32 on the CPU.

    classes     number of them
    image       (C, H, W) of the images that it is to train on

    A network is given the channels, and VGG the height, of the image. What does not fit is a ValueError.

    >>> network = build("cifar-resnet-20", classes=7, image=(1, 40, 40))
    >>> network(ones(2, 1, 40, 40)).shape
    (2, 7)
    """
    if name not in MODELS:
        raise ValueError(f"build: one of {', '.join(MODELS)} is known, but came {name}")
    takes = signature(MODELS[name]).parameters
    given = {"classes": classes, "channels": image[0], "image": image[1]}
    try:
        network = MODELS[name](**{key: value for key, value in given.items() if key in takes})
    except ValueError as error:
        raise ValueError(f"build: {name} does not take {_size(image)} images: {error}") from None
    check_fit(name, network, classes, image)
    return network.train()


def check_fit(name, network, classes, image, training=True):
    """Raise a ValueError unless images (C, H, W) go through the network to so many classes.

    training    through what only training uses, too

    An empty batch is sent through: it has all shapes, but costs no arithmetic.
    """
    network.eval()
    network.training = training  # of the network alone: its layers draw nothing and keep their statistics
    place = network.parameters()[0]
    try:
        with no_grad():
            outputs = network(zeros(0, *image, dtype=place.dtype, device=place.device))
    except ValueError as error:
        wanted = _size(INPUTS[name])
        raise ValueError(f"build: {name} is made for {wanted} images, but came {_size(image)}: {error}") from None
    finally:
        network.eval()
    for logits in outputs if isinstance(outputs, tuple) else (outputs,):
        if logits.shape != (0, classes):
            raise ValueError(f"build: {name} knows {logits.shape[1:]} classes, but the data has {classes}")


def _size(image):
    return "x".join(map(str, image))
