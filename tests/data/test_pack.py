"""Packed files: what is read is what was written, or an error that names the file and the place."""

import errno
import os
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpucnn.data import Packed, digits, pack
from gpucnn.data.pack import HEADER, INDEX
from tests.data.pictures import Listed, random_images

DATA = Listed(random_images((3, 5, 7), (1, 4, 4), (3, 9, 2)), [2, 0, 1])


def packed(tmp_path, data=DATA, **options):
    pack(data, tmp_path / "x.pack", **options)
    return tmp_path / "x.pack"


def same(found, data):
    assert len(found) == len(data)
    for i in range(len(data)):
        (image, label), (expected, number) = found[i], data[i]
        assert np.array_equal(image, expected) and label == number and isinstance(label, int)
        assert image.dtype == np.uint8 and not image.flags.writeable


@settings(max_examples=40)  # each synchronises the disk
@given(
    st.lists(st.tuples(*[st.integers(1, 6)] * 3), min_size=1, max_size=5), st.integers(0, 2**31 - 1), st.integers(0, 2)
)
def test_round_trip(tmp_path_factory, shapes, label, workers):
    data = Listed(random_images(*shapes), [label] * len(shapes))
    path = tmp_path_factory.getbasetemp() / "round.pack"
    pack(data, path, workers=workers)
    found = Packed(path)
    same(found, data)
    assert np.array_equal(found.mean, data.mean) and np.array_equal(found.std, data.std)
    assert found.labels.tolist() == [label] * len(shapes) and found.classes == ()


def test_classes_and_scalar_statistics(tmp_path):
    test = digits()[1][:5]
    found = Packed(packed(tmp_path, test))
    same(found, test)
    assert (float(found.mean), float(found.std)) == (test.mean, test.std)
    named = Listed([image for image, _ in DATA.items], [2, 0, 1])
    named.classes = ("a", "b", "ü")
    assert Packed(packed(tmp_path, named)).classes == named.classes
    named.classes = ("a", "b")
    with pytest.raises(ValueError, match="labels are less than the 2 classes, but record 0 has 2"):
        Packed(packed(tmp_path, named))


def test_the_layout_is_as_documented(tmp_path):
    """Read by the documentation alone: fixed little-endian header, pixels without gaps, index."""
    data = packed(tmp_path).read_bytes()
    magic, version, index_crc, count, start, text, end, text_crc, zero, crc = struct.unpack("<8sIIQQQQIQI", data[:64])
    assert (magic, version, count, end, zero) == (b"gpucnnpk", 1, 3, len(data), 0)
    assert data[64:start] == b"".join(image.tobytes() for image, _ in DATA.items)
    assert [zlib.crc32(data[a:b]) for a, b in ((0, 60), (start, text), (text, end))] == [crc, index_crc, text_crc]
    row = struct.unpack("<QIIIIII", data[start + 32 : start + 64])
    assert row == (64 + 105, 1, 4, 4, 0, zlib.crc32(DATA.items[1][0].tobytes()), 0)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """The bytes of a packed file."""
    return packed(tmp_path_factory.mktemp("good")).read_bytes()


@settings(max_examples=300)
@given(data=st.data())
def test_any_flipped_byte_is_found(good, tmp_path_factory, data):
    path, file = tmp_path_factory.getbasetemp() / "flipped.pack", bytearray(good)
    at = data.draw(st.integers(0, len(file) - 1))
    file[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(file)
    with pytest.raises(ValueError, match=r"Packed: .*flipped\.pack: "):
        found = Packed(path)
        for i in range(3):
            found[i]


def test_a_damaged_record_is_named_and_the_others_are_read(tmp_path):
    path = packed(tmp_path)
    file = bytearray(path.read_bytes())
    file[64 + 105 + 3] ^= 1
    path.write_bytes(file)
    found = Packed(path)
    assert np.array_equal(found[0][0], DATA[0][0]) and np.array_equal(found[2][0], DATA[2][0])
    with pytest.raises(ValueError, match=r"x\.pack: record 1 matches its checksum, but bytes 169 to 185 do not"):
        found[1]


def damaged(data, at, value):
    """The bytes with others at a place, and the checksums made right again, as another program would write them."""
    data = bytearray(data)
    data[at : at + len(value)] = value
    start, text = struct.unpack_from("<QQ", data, 24)
    struct.pack_into("<I", data, 12, zlib.crc32(data[start:text]))
    struct.pack_into("<I", data, 48, zlib.crc32(data[text:]))
    struct.pack_into("<I", data, 60, zlib.crc32(data[:60]))
    return bytes(data)


def index_at(record, name):
    """The place in the file of a number of the index."""
    return 64 + 105 + 16 + 54 + record * INDEX.itemsize + INDEX.fields[name][1]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda d: b"", "a header has 64 bytes, but the file ends after 0"),
        (lambda d: d[:63], "the file ends after 63"),
        (lambda d: b"\x89PNG" + d[4:], r"starts with b'gpucnnpk', but this one with b'\\x89PNGnnpk'"),
        (lambda d: damaged(d, 8, b"\2"), "version 1 is read, but the file has 2"),
        (lambda d: d[:20] + b"\xff" + d[21:], "bytes 0 to 64 do not"),
        (lambda d: d[:-1], r"the file has \d+ bytes, but \d+ are there \(truncated\)"),
        (lambda d: d[:64], "truncated"),
        (lambda d: d + b"\0", "trailing bytes"),
        (lambda d: damaged(d, 16, bytes(8)), "0 records have 0 bytes of index"),
        (lambda d: damaged(d, 16, b"\xff" * 8), "records have .* bytes of index, but they are"),
        (lambda d: damaged(d, index_at(1, "offset"), b"\0"), "record 1 does not fit"),
        (lambda d: damaged(d, index_at(1, "H"), b"\xff\xff\xff\xff"), "record 1 does not fit"),
        (lambda d: damaged(d, index_at(2, "W"), b"\1"), "record 2 does not fit"),
        (lambda d: damaged(d, index_at(0, "C"), b"\0"), "record 0 does not fit"),
        (lambda d: damaged(d, len(d) - 1, b"x"), "the description is JSON"),
        (lambda d: damaged(d, d.index(b"mean"), b"fool"), "the description is JSON"),
        (lambda d: d[: index_at(1, "label")] + b"\7" + d[index_at(1, "label") + 1 :], "the index matches its checksum"),
    ],
)
def test_malformed(tmp_path, change, reason):
    path = packed(tmp_path)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ValueError, match=rf"Packed: .*x\.pack: .*{reason}") as caught:
        Packed(path)
    assert "\n" not in str(caught.value)


@given(st.binary(max_size=200))
def test_any_bytes(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "any.pack"
    path.write_bytes(damaged(b"gpucnnpk" + data, 8, b"\1\0\0\0") if len(data) > 60 else data)
    with pytest.raises(ValueError, match=r"any\.pack"):
        Packed(path)


def test_what_cannot_be_packed(tmp_path):
    with pytest.raises(ValueError, match="a data set has images, but there are none"):
        packed(tmp_path, Listed([]))
    for image, label in ((np.zeros((2, 2), np.uint8), 0), (np.zeros((1, 2, 2)), 0), (np.zeros((1, 2, 2), "u1"), -1)):
        with pytest.raises(ValueError, match=r"pack: images are uint8 .* but image 1 is"):
            packed(tmp_path, Listed([DATA[0][0], image], [0, label]))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_leaves_what_was_there(tmp_path, workers):
    path = packed(tmp_path)
    before = path.read_bytes()

    class Broken(Listed):
        def __getitem__(self, i):
            if i == 2:
                raise ValueError("image 2 is broken")
            return self.items[i]

    with pytest.raises(ValueError, match="image 2 is broken"):
        pack(Broken([image for image, _ in DATA.items]), path, workers=workers)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_a_full_disk(tmp_path, monkeypatch):
    path = packed(tmp_path)
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="pack: No space left on device; what was there is kept"):
        pack(Listed(random_images((1, 2, 2))), path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_progress_and_missing_file(tmp_path):
    counts = []
    packed(tmp_path, progress=counts.append)
    assert counts == [1, 1, 1]
    with pytest.raises(FileNotFoundError):
        Packed(tmp_path / "none")
    assert HEADER.size == 64 and INDEX.itemsize == 32
