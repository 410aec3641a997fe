"""Networks, by the name that ``gpucnn train --model`` takes."""

from .lenet import lenet

MODELS = {"lenet": lenet}

__all__ = ["MODELS", "lenet"]
