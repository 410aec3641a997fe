"""Packed data sets: decoded images end to end in one file, with an index and checksums.

All numbers are little-endian. The file is

    header      64 bytes: magic "gpucnnpk", version, sizes, CRC-32 of index and description, CRC-32 of itself
    records     the pixels of each image, (C, H, W) uint8, without gaps
    index       32 bytes a record: offset (8 bytes), C, H, W, label, CRC-32 of the pixels, 0 (4 bytes each)
    description JSON: classes, mean, std

Every byte lies under a checksum. A CRC-32 finds every damage of up to 32 adjacent bits, and all others but for
one in 2**32.
"""

import json
import struct
import zlib
from pathlib import Path

import numpy as np

from ..atomic import replacing
from .dataset import row
from .prefetch import prefetch

MAGIC, VERSION = b"gpucnnpk", 1
# magic, version, CRC of the index, records, start of the index, start of the description, size of the file, CRC of
# the description, reserved, CRC of the 60 bytes before
HEADER = struct.Struct("<8sIIQQQQIQI")
INDEX = np.dtype([(name, "<u8" if name == "offset" else "<u4") for name in "offset C H W label crc zero".split()])


def pack(data, path, *, workers=0, progress=lambda images: None):
    """Write a data set as one packed file, which takes the place of what is at ``path`` when it is complete.

    data        a data set of at least one image; its ``mean``, ``std`` and ``classes`` are kept
    workers     threads that decode; 0 decodes on this one
    progress    is told the images of each step, 1

    An image that cannot be read is that error, and an OSError says that the disk is full; ``path`` is as it was then.
    """
    if not len(data):
        raise ValueError(f"pack: a data set has images, but there are none to write to {path}")
    index = np.zeros(len(data), INDEX)
    with replacing(path, "pack") as file:
        file.write(bytes(HEADER.size))
        for i, (image, label) in enumerate(prefetch(data.__getitem__, range(len(data)), workers, 4 * workers)):
            if image.ndim != 3 or image.dtype != np.uint8 or not image.size or not 0 <= label < 2**31:
                raise ValueError(
                    "pack: images are uint8 (C, H, W) and labels from 0 on, "
                    f"but image {i} is {image.dtype} {image.shape} with label {label}"
                )
            pixels = image.tobytes()
            index[i] = (file.tell(), *image.shape, label, zlib.crc32(pixels), 0)
            file.write(pixels)
            progress(1)
        about = {name: np.asarray(getattr(data, name)).tolist() for name in ("mean", "std")}
        about["classes"] = list(getattr(data, "classes", ()))
        rows, text = index.tobytes(), json.dumps(about).encode()
        start = file.tell()
        sizes = (len(index), start, start + len(rows), start + len(rows) + len(text))
        file.write(rows + text)
        file.seek(0)
        file.write(_header(sizes, zlib.crc32(rows), zlib.crc32(text)))


def _header(sizes, index_crc, text_crc):
    fields = HEADER.pack(MAGIC, VERSION, index_crc, *sizes, text_crc, 0, 0)[:-4]
    return fields + struct.pack("<I", zlib.crc32(fields))


class Packed:
    """The data set in a packed file, read through a memory map: what is not asked for is not read.

    data[i]     (image (C, H, W) uint8, label)      a read-only copy, compared with its checksum each time
    labels      (N,) int64                          classes     names, or an empty tuple
    mean, std   of pixels scaled to 0..1

    A file that is truncated, too long, damaged or of another kind is a ValueError that names it and, where one is
    damaged, the record and its bytes; a damaged image is never returned. The file must not be shortened while it is
    in use; ``pack`` never does that to an existing one.
    """

    def __init__(self, path):
        self.path = Path(path)
        if self.path.stat().st_size < HEADER.size:
            self._fail(f"a header has {HEADER.size} bytes, but the file ends after {self.path.stat().st_size}")
        self._bytes = np.asarray(np.memmap(self.path, np.uint8, "r"))  # as ndarray: memmap is slow to slice
        self._index, about = self._read()
        self.labels = self._index["label"].astype(np.int64)
        try:
            about = json.loads(about)
            self.classes = tuple(about["classes"])
            self.mean, self.std = (np.array(about[name], np.float64) for name in ("mean", "std"))
        except (ValueError, KeyError, TypeError, RecursionError):
            self._fail("the description is JSON with classes, mean and std, but it is not")
        if self.classes and self.labels.max() >= len(self.classes):
            at = int(self.labels.argmax())
            self._fail(f"labels are less than the {len(self.classes)} classes, but record {at} has {self.labels[at]}")

    def _fail(self, reason):
        raise ValueError(f"Packed: {self.path}: {reason}")

    def _read(self):
        """(index, description) after every check that needs no pixels."""
        header = self._bytes[: HEADER.size].tobytes()
        magic, version, index_crc, count, start, text, end, text_crc, _, crc = HEADER.unpack(header)
        if magic != MAGIC:
            self._fail(f"a packed file starts with {MAGIC!r}, but this one with {magic!r}")
        if zlib.crc32(header[:-4]) != crc:
            self._fail(f"the header matches its checksum, but bytes 0 to {HEADER.size} do not (damaged)")
        if version != VERSION:
            self._fail(f"version {VERSION} is read, but the file has {version}")
        if len(self._bytes) != end:
            kind = "truncated" if len(self._bytes) < end else "trailing bytes"
            self._fail(f"the file has {end} bytes, but {len(self._bytes)} are there ({kind})")
        if not count or not HEADER.size <= start <= text <= end or text - start != count * INDEX.itemsize:
            self._fail(f"{count} records have {count * INDEX.itemsize} bytes of index, but they are {start} to {text}")
        parts = self._bytes[start:text].tobytes(), self._bytes[text:end].tobytes()
        for name, part, expected, at in zip(
            ("index", "description"), parts, (index_crc, text_crc), ((start, text), (text, end)), strict=True
        ):
            if zlib.crc32(part) != expected:
                self._fail(f"the {name} matches its checksum, but bytes {at[0]} to {at[1]} do not (damaged)")
        index = np.frombuffer(parts[0], INDEX)
        sizes = np.prod([index[name].astype(np.float64) for name in "CHW"], axis=0)  # float64: no overflow
        ends = np.cumsum(sizes) + HEADER.size
        starts = np.concatenate([[HEADER.size], ends[:-1]])
        wrong = np.flatnonzero((sizes < 1) | (index["offset"] != starts) | (ends > start))
        if len(wrong) or ends[-1] != start:
            at = int(wrong[0]) if len(wrong) else int(count) - 1
            self._fail(f"records fill bytes {HEADER.size} to {start} without gaps, but record {at} does not fit")
        return index, parts[1]

    def __len__(self):
        return len(self._index)

    def __getitem__(self, i):
        i = row(i, len(self))
        offset, C, H, W, label, crc, _ = self._index[i].item()
        pixels = self._bytes[offset : offset + C * H * W].tobytes()  # checked and returned is one and the same copy
        if zlib.crc32(pixels) != crc:
            self._fail(f"record {i} matches its checksum, but bytes {offset} to {offset + C * H * W} do not (damaged)")
        return np.frombuffer(pixels, np.uint8).reshape(C, H, W), label
