"""Data sets and loading: idx files, MNIST, the built-in digits, batches."""

from .idx import read_idx
from .loader import DataLoader
from .mnist import Images, digits, mnist

__all__ = ["DataLoader", "Images", "digits", "mnist", "read_idx"]
