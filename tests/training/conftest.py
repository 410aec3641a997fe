"""Small data sets as files."""

import pytest

from gpucnn.data import digits
from tests.data.pictures import write_cifar, write_mnist


@pytest.fixture(scope="session")
def small_mnist(tmp_path_factory):
    """A folder with 600 training and 200 test digits as idx files."""
    return str(write_mnist(tmp_path_factory.mktemp("mnist"), digits()[0][:600], digits()[1][:200]))


@pytest.fixture(scope="session")
def small_cifar(tmp_path_factory):
    """A folder with 60 training and 30 test images as CIFAR-10 has them."""
    return str(write_cifar(tmp_path_factory.mktemp("cifar")))
