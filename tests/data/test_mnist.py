"""The built-in digits, and MNIST folders that are complete, incomplete or wrong."""

import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest

from gpucnn.data import Images, digits, mnist
from gpucnn.data.mnist import DIGITS

SHA256 = "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"


def write(folder, part, images, labels, packed=False):
    for kind, array in (("images", images), ("labels", labels)):
        sizes = b"".join(n.to_bytes(4, "big") for n in array.shape)
        data = bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()
        name = f"{part}-{kind}-idx{array.ndim}-ubyte"
        (folder / (name + ".gz" * packed)).write_bytes(gzip.compress(data) if packed else data)


def folder_of(tmp_path, count=5, **changes):
    rng = np.random.default_rng(0)
    for part in ("train", "t10k"):
        images = rng.integers(0, 256, (count, 28, 28))
        write(tmp_path, part, changes.get("images", images), changes.get("labels", np.arange(count)))
    return tmp_path


def test_built_in_digits():
    train, test = digits()
    assert train.images.shape == (8000, 1, 28, 28)
    assert test.images.shape == (2000, 1, 28, 28)
    assert train.images.dtype == np.uint8
    assert train.labels.dtype == np.int64
    assert np.bincount(train.labels).min() > 600
    assert sorted(set(test.labels)) == list(range(10))
    # That of the original distribution's file, decompressed: the rebuilt one is the same to the last byte.
    content = gzip.decompress((DIGITS / "t10k-images-idx3-ubyte.gz").read_bytes())
    assert hashlib.sha256(content).hexdigest() == SHA256
    assert test.labels[-1] == 6
    assert "CC BY-SA 3.0" in (DIGITS / "LICENSE.txt").read_text()


@pytest.mark.parametrize("packed", [False, True])
def test_folder(tmp_path, packed):
    images = np.random.default_rng(1).integers(0, 256, (3, 28, 28))
    for part in ("train", "t10k"):
        write(tmp_path, part, images, np.array([9, 0, 4]), packed)
    train, test = mnist(tmp_path)
    np.testing.assert_array_equal(train.images[:, 0], images)
    assert test.labels.tolist() == [9, 0, 4]
    assert (train.mean, train.std) == (0.1307, 0.3081)


def test_folder_as_text(tmp_path):
    assert len(mnist(str(folder_of(tmp_path)))[0]) == 5


def test_missing_file_is_named(tmp_path):
    (folder_of(tmp_path) / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match=r"t10k-labels-idx1-ubyte or t10k-labels-idx1-ubyte.gz is expected"):
        mnist(tmp_path)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"images": np.zeros((5, 28, 27))}, "28 x 28, but they are 28 x 27"),
        ({"images": np.zeros((4, 28, 28))}, "there are 4 images and 5 labels"),
        ({"images": np.zeros((0, 28, 28)), "labels": np.zeros(0)}, "there are 0 images"),
        ({"labels": np.array([0, 1, 10, 3, 4])}, "labels are 0 to 9, but label 2 is 10"),
        ({"labels": np.zeros((5, 1))}, "is expected in"),
    ],
)
def test_wrong_content(tmp_path, changes, reason):
    with pytest.raises((ValueError, FileNotFoundError), match=reason):
        mnist(folder_of(tmp_path, **changes))


def test_images_check_their_shapes():
    with pytest.raises(ValueError, match=r"\(3, 1, 2, 2\) and \(4,\)"):
        Images(np.zeros((3, 1, 2, 2), np.uint8), np.zeros(4, np.int64))


def test_full_mnist():
    folder = Path(__file__).parents[3] / "shared/data/mnist"
    if not folder.is_dir():
        pytest.skip("the full MNIST files are not beside this checkout")
    train, test = mnist(folder)
    assert (len(train), len(test)) == (60000, 10000)
    assert abs(train.images.mean() / 255 - train.mean) < 1e-4
    assert abs(train.images.std() / 255 - train.std) < 1e-4
