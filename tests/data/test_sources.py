"""The two parts of a data set, and the names of its classes."""

import numpy as np
import pytest

from gpucnn.data import (
    ImageFolder,
    Images,
    Packed,
    check_classes,
    cifar10,
    class_names,
    digits,
    mnist,
    open_dataset,
    open_parts,
    pack,
)
from tests.data.pictures import Listed, random_images, write_cifar, write_folders, write_mnist


def test_mnist_and_cifar_have_both_parts(tmp_path):
    for name in ("mnist", "cifar"):
        (tmp_path / name).mkdir()
    write_mnist(tmp_path / "mnist", *(part[:9] for part in digits()))
    write_cifar(tmp_path / "cifar")
    for name, read in (("mnist", mnist), ("cifar", cifar10)):
        for found, expected in zip(open_parts(tmp_path / name), read(tmp_path / name), strict=True):
            assert np.array_equal(found.images, expected.images)
    assert open_parts(tmp_path / "cifar")[1].classes[3] == "cat"


@pytest.mark.parametrize("name", ["test", "val"])
def test_folders_train_and_test(tmp_path, name):
    write_folders(tmp_path)
    (tmp_path / "test").rename(tmp_path / name)
    (tmp_path / ".hidden").mkdir()
    train, test = open_parts(tmp_path)
    assert isinstance(train, ImageFolder) and train.paths[0] == tmp_path / "train/cat/0.png"
    assert test.paths[0] == tmp_path / name / "cat/0.png"
    assert open_dataset(tmp_path, short_side=9)[0][0].shape[1] == 9


def test_a_folder_with_more_than_train_and_test_has_them_as_classes(tmp_path):
    write_folders(tmp_path, ("train", "test", "bus"))
    assert open_dataset(tmp_path / "train").classes == ("bus", "test", "train")


def test_packed_files(tmp_path):
    write_folders(tmp_path / "images")
    for part in ("train", "test"):
        (tmp_path / "packed").mkdir(exist_ok=True)
        pack(open_dataset(tmp_path / "images", part), tmp_path / f"packed/{part}.pack")
    for parts in (
        open_parts(tmp_path / "packed"),
        open_parts(tmp_path / "packed/train.pack", tmp_path / "packed/test.pack"),
        open_parts(tmp_path / "packed/train.pack", tmp_path / "images"),
    ):
        assert isinstance(parts[0], Packed) and parts[1].classes == ("cat", "dog", "eel")
        assert np.array_equal(parts[1][0][0], open_dataset(tmp_path / "images", "test")[0][0])


def test_one_part_alone(tmp_path):
    write_folders(tmp_path)
    with pytest.raises(ValueError, match=r"open_parts: training takes a second data set .*, but .*train holds one"):
        open_parts(tmp_path / "train")
    with pytest.raises(FileNotFoundError):
        open_parts(tmp_path / "none")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(ValueError, match=r"open_dataset: .*text: a packed file or an"):
        open_parts(tmp_path / "text")


def test_names():
    images = Listed(random_images((1, 2, 2), (1, 2, 2)), [0, 4])
    images.labels = [0, 4]
    assert class_names(images) == ("0", "1", "2", "3", "4")
    images.classes = ("a", "b", "c", "d", "e", "f")
    assert class_names(images) == images.classes
    named = Images(np.zeros((2, 1, 3, 3), np.uint8), np.arange(2), classes=("x", "y"))
    assert class_names(named[:1]) == ("x", "y")


def test_classes_that_differ():
    images = Images(np.zeros((2, 1, 3, 3), np.uint8), np.array([0, 2]))
    check_classes(images, ("a", "b", "c"), "here")
    with pytest.raises(ValueError, match="check_classes: here: labels are less than 2, but one is 2"):
        check_classes(images, ("a", "b"), "here")
    names = tuple(map(str, range(30)))
    named = Images(images.images, images.labels, classes=names[::-1])
    with pytest.raises(ValueError, match=r"are 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ... \(30\), but the data has 29, 28"):
        check_classes(named, names, "here")
