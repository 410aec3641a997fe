"""CIFAR-10 in both forms, complete and malformed."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpucnn.data import channel_statistics, cifar10, open_dataset
from gpucnn.data.cifar import BINARY, RECORD, jpeg_images
from tests.data.pictures import encoded, random_images, smooth

NAMES = BINARY["train"] + BINARY["test"]


def binary(folder, records=3):
    """Six batches of random images whose labels count up; returns images and labels of all."""
    images = np.stack(random_images(*[(3, 32, 32)] * (6 * records)))
    labels = np.arange(len(images)) % 10
    rows = np.concatenate([labels[:, None].astype(np.uint8), images.reshape(len(images), -1)], 1)
    for name, part in zip(NAMES, np.split(rows, 6), strict=True):
        (folder / name).write_bytes(part.tobytes())
    return images, labels


def arrays(count=4):
    """The three arrays of an .npz."""
    files = [encoded(smooth(32, 32) // (i + 1), "JPEG") for i in range(count)]
    return {
        "jpeg": np.frombuffer(b"".join(files), np.uint8),
        "offset": np.cumsum([0, *map(len, files)]).astype(np.uint32),
        "label": np.arange(count).astype(np.uint8),
    }


def test_binary(tmp_path):
    images, labels = binary(tmp_path)
    train, test = cifar10(tmp_path)
    assert np.array_equal(train.images, images[:15]) and np.array_equal(train.labels, labels[:15])
    assert np.array_equal(test.images, images[15:]) and np.array_equal(test.labels, labels[15:])
    image, label = test[-1]
    assert np.array_equal(image, images[-1]) and label == labels[-1] and isinstance(label, int)
    assert np.array_equal(open_dataset(tmp_path, "test").images, test.images)


def test_binary_missing(tmp_path):
    binary(tmp_path)
    (tmp_path / "data_batch_4.bin").unlink()
    with pytest.raises(FileNotFoundError, match=r"data_batch_4.bin .* is expected in"):
        cifar10(tmp_path)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda data: data[:-1], "it has 9218 bytes: record 2 at byte 6146 is incomplete"),
        (lambda data: data + b"\0", "record 3 at byte 9219 is incomplete"),
        (lambda data: b"", "it has 0 bytes"),
        (lambda data: data[:RECORD] + b"\x0a" + data[RECORD + 1 :], "record 1 at byte 3073 has 10"),
    ],
)
def test_binary_malformed(tmp_path, damage, reason):
    binary(tmp_path)
    path = tmp_path / "data_batch_2.bin"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=rf"data_batch_2.bin: .*{reason}"):
        cifar10(tmp_path)


def test_jpeg(tmp_path):
    np.savez(tmp_path / "train.npz", **arrays())
    np.savez(tmp_path / "test.npz", **arrays(2))
    train, test = cifar10(tmp_path)
    assert (len(train), len(test)) == (4, 2)
    image, label = train[2]
    assert image.shape == (3, 32, 32) and image.dtype == np.uint8 and label == 2
    assert np.abs(image.astype(int) - smooth(32, 32) // 3).mean() < 8
    assert len(open_dataset(tmp_path / "test.npz")) == 2
    with pytest.raises(IndexError, match="indices are less than 4, but came 4"):
        train[4]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"jpeg": np.zeros(5, np.int64)}, "jpeg is uint8 .* but came int64"),
        ({"label": np.zeros(5, np.uint8)}, r"uint8 \(5,\)"),
        ({"label": np.array([0, 10, 1, 1], np.uint8)}, "label 1 is 10"),
        ({"offset": np.zeros(5, np.uint32)}, "offset 4 is 0"),
        ({"offset": np.array([0, 9, 5, 10, 20], np.uint32)}, "offset 2 is 5"),
        ({"offset": np.array([3, 9, 15, 16, 20], np.uint32)}, "offset 0 is 3"),
        ({"offset": np.array([0, 2**63, 3, 4, 5], np.uint64)}, "offset 1 is"),
        ({"offset": None}, "offset is not a file"),
        ({"jpeg": np.array([{}])}, "Object arrays cannot be loaded"),
    ],
)
def test_jpeg_malformed(tmp_path, changes, reason):
    given = {name: array for name, array in {**arrays(), **changes}.items() if array is not None}
    np.savez(tmp_path / "x.npz", **given)
    with pytest.raises(ValueError, match=rf"cifar10: .*x\.npz: .*{reason}"):
        jpeg_images(tmp_path / "x.npz")


def test_a_broken_jpeg_is_named(tmp_path):
    good = arrays()
    begin, end = good["offset"][1:3]
    broken = good["jpeg"].copy()
    broken[begin + 300 : end] = 0
    np.savez(tmp_path / "x.npz", **{**good, "jpeg": broken})
    data = jpeg_images(tmp_path / "x.npz")
    assert data[0][0].shape == (3, 32, 32)
    broken[begin:end] = 0
    with pytest.raises(ValueError, match=rf"x\.npz: image 1, bytes {begin} to {end} of jpeg: a complete image"):
        np.savez(tmp_path / "x.npz", **{**good, "jpeg": broken})
        jpeg_images(tmp_path / "x.npz")[1]


def test_a_jpeg_of_another_size(tmp_path):
    file = np.frombuffer(encoded(smooth(32, 31), "JPEG"), np.uint8)
    np.savez(tmp_path / "x.npz", jpeg=file, offset=np.array([0, len(file)], np.uint32), label=np.zeros(1, np.uint8))
    with pytest.raises(ValueError, match=r"image 0, bytes 0 to .* images are 32 x 32, but it is 32 x 31"):
        jpeg_images(tmp_path / "x.npz")[0]


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    path = tmp_path_factory.mktemp("npz") / "good.npz"
    np.savez_compressed(path, **arrays(2))
    return path.read_bytes()


@given(data=st.data())
def test_a_damaged_npz_is_a_value_error_or_the_same(archive, tmp_path_factory, data):
    """The zip file has a CRC-32 of each array; what lies outside of them may be changed without effect."""
    at, bits = data.draw(st.integers(0, len(archive) - 1)), data.draw(st.integers(1, 255))
    path = tmp_path_factory.getbasetemp() / "fuzz.npz"
    path.write_bytes(archive[:at] + bytes([archive[at] ^ bits]) + archive[at + 1 :])
    try:
        found = jpeg_images(path)
    except ValueError as error:
        assert "fuzz.npz" in str(error)
    else:
        assert np.array_equal(found.data, arrays(2)["jpeg"]) and found.labels.tolist() == [0, 1]


def test_truncated_npz(archive, tmp_path):
    for size in (0, 3, 100, len(archive) - 1):
        (tmp_path / "x.npz").write_bytes(archive[:size])
        with pytest.raises(ValueError, match=r"x\.npz"):
            jpeg_images(tmp_path / "x.npz")
    with pytest.raises(FileNotFoundError):
        jpeg_images(tmp_path / "none.npz")


def test_the_full_set():
    folder = Path(__file__).parents[3] / "shared/data/cifar10"
    if not folder.is_dir():
        pytest.skip("the CIFAR-10 files are not beside this checkout")
    train, test = cifar10(folder)
    assert (len(train), len(test)) == (50000, 10000)
    assert np.bincount(train.labels).tolist() == [5000] * 10
    mean, std = channel_statistics([test[i] for i in range(0, 10000, 9)])
    assert np.abs(mean - test.mean).max() < 0.02 and np.abs(std - test.std).max() < 0.02
