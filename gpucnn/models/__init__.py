"""Networks, by the name that the command line takes (``gpucnn train --model``, ``gpucnn summary``)."""

from functools import partial

from .alexnet import alexnet, alexnet_owt, alexnet_simple, zfnet
from .alphago import alphago_policy
from .cifar import cifar_preresnet, cifar_resnet, wide_resnet
from .densenet import DenseNet, densenet_121, densenet_bc
from .googlenet import GoogLeNet
from .lenet import lenet
from .overfeat import overfeat
from .resnet import ResNet
from .vgg import vgg

# The image (channels, height, width) that a network is made for, and what makes it.
_NETWORKS = {
    (1, 28, 28): {"lenet": lenet},
    (3, 227, 227): {"alexnet": alexnet, "alexnet-simple": alexnet_simple},
    (3, 231, 231): {"overfeat": overfeat},
    (3, 224, 224): {
        "alexnet-owt": alexnet_owt,
        "zfnet": zfnet,
        **{f"vgg-{name}": partial(vgg, name) for name in ("a", "a-lrn", "b", "c", "d", "e")},
        "googlenet": GoogLeNet,
        **{f"resnet-{depth}": partial(ResNet, depth) for depth in (18, 34, 50, 101, 152, 200)},
        "densenet-121": densenet_121,
    },
    (3, 32, 32): {
        **{f"cifar-resnet-{depth}": partial(cifar_resnet, depth) for depth in (20, 32, 44, 56, 110)},
        "cifar-preresnet-110": partial(cifar_preresnet, 110),
        "cifar-stochastic-resnet-110": partial(cifar_resnet, 110, drop=0.5),
        "wide-resnet-28-10": wide_resnet,
        "densenet-bc-100-12": densenet_bc,
    },
    (48, 19, 19): {"alphago-policy": alphago_policy},
}
MODELS = {name: make for networks in _NETWORKS.values() for name, make in networks.items()}
INPUTS = {name: image for image, networks in _NETWORKS.items() for name in networks}

__all__ = [
    "INPUTS",
    "MODELS",
    "DenseNet",
    "GoogLeNet",
    "ResNet",
    "alexnet",
    "alexnet_owt",
    "alexnet_simple",
    "alphago_policy",
    "cifar_preresnet",
    "cifar_resnet",
    "densenet_121",
    "densenet_bc",
    "lenet",
    "overfeat",
    "vgg",
    "wide_resnet",
    "zfnet",
]
