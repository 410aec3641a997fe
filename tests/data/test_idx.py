"""read_idx: every type, and every way in which a file can be wrong."""

import gzip
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpucnn.data import read_idx
from gpucnn.data.idx import TYPES


def idx(array, code):
    sizes = b"".join(n.to_bytes(4, "big") for n in array.shape)
    return bytes([0, 0, code, array.ndim]) + sizes + array.astype(TYPES[code]).tobytes()


GOOD = idx(np.arange(24).reshape(2, 3, 4), 0x08)


@pytest.mark.parametrize("code", TYPES)
@pytest.mark.parametrize("packed", [False, True])
def test_every_type(tmp_path, code, packed):
    array = (np.arange(-6, 6).reshape(3, 4) if code != 8 else np.arange(12).reshape(3, 4)).astype(TYPES[code])
    data = idx(array, code)
    path = tmp_path / "name-says-nothing"
    path.write_bytes(gzip.compress(data) if packed else data)
    read = read_idx(path)
    assert read.dtype == np.dtype(TYPES[code]).newbyteorder("=")
    np.testing.assert_array_equal(read, array)
    read[0, 0] = 1  # the caller's own, writeable


def test_empty_array(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(idx(np.zeros((0, 28, 28)), 8))
    assert read_idx(path).shape == (0, 28, 28)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "nothing"),
        (b"\x00\x00\x08", "00 00 08"),
        (b"\x89PNG\r\n", "89 50 4e 47"),
        (b"\x00\x00\x07\x01\x00\x00\x00\x00", "starts with 00 00"),
        (b"\x00\x00\x08\x00", "1 to 8 dimensions"),
        (b"\x00\x00\x08\x09" + bytes(36), "1 to 8 dimensions"),
        (GOOD[:10], "the header has 16 bytes, but the file ends after 10"),
        (GOOD[:-1], "need 24 bytes of data, but only 23 follow"),
        (GOOD + b"\0", "trailing bytes"),
        (b"\x00\x00\x08\x03" + b"\xff" * 12, "2\\*\\*40"),
        (b"\x00\x00\x08\x02" + bytes(4) + b"\xff" * 4 + b"x", "trailing bytes"),
        (b"\x00\x00\x0e\x01\x7f\xff\xff\xff", "truncated"),
        (gzip.compress(GOOD)[:-9], "a complete gzip file"),
        (gzip.compress(GOOD)[:6], "a complete gzip file"),
        (gzip.compress(GOOD)[:-8] + bytes(8), "a complete gzip file"),
        (gzip.compress(GOOD)[:12] + b"\xff\xff" + gzip.compress(GOOD)[14:], "a complete gzip file"),
        (gzip.compress(GOOD) + b"junk", "a complete gzip file"),
    ],
)
def test_malformed(tmp_path, data, reason):
    path = tmp_path / "broken.idx"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=reason) as caught:
        read_idx(path)
    assert "broken.idx" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_expected_dimensions(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(GOOD)
    with pytest.raises(ValueError, match="1 dimensions are expected, but the header says 3"):
        read_idx(path, ndim=1)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_idx(tmp_path / "none")


@given(st.binary(max_size=64), st.booleans(), st.booleans())
def test_any_bytes_are_an_array_or_a_value_error(tmp_path_factory, tail, magic, packed):
    data = (b"\x00\x00\x08\x02" if magic else b"") + tail
    path = tmp_path_factory.getbasetemp() / "fuzz.idx"
    path.write_bytes(gzip.compress(data) if packed else data)
    try:
        array = read_idx(path)
    except ValueError as error:
        assert "fuzz.idx" in str(error)
    else:
        assert array.nbytes + 4 + 4 * array.ndim == len(data)


@given(st.data())
def test_damage_in_the_header_is_found_or_reads_the_same_size(tmp_path_factory, data):
    at = data.draw(st.integers(0, 15))
    value = data.draw(st.integers(0, 255))
    broken = GOOD[:at] + bytes([value]) + GOOD[at + 1 :]
    path = tmp_path_factory.getbasetemp() / "fuzz.idx"
    path.write_bytes(broken)
    try:
        array = read_idx(path)
    except ValueError:
        return
    assert math.prod(array.shape) * array.itemsize + 4 + 4 * array.ndim == len(broken)
