"""The idx file format of the MNIST database: a big-endian array with its type and sizes in front."""

import gzip
import math
import os
import zlib

import numpy as np

# Third byte of the file -> element type; all are stored big-endian.
TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
CHUNK = 1 << 20  # bytes asked for at once, so that a header which lies about its size costs no memory


def read_idx(path, ndim=None):
    """The array stored in an idx file, gzip-compressed or not (told apart by content, not by name).

    path        file: 0, 0, type, number of dimensions (one byte each); each size (4 bytes, big-endian); the elements
    ndim        the number of dimensions that the caller expects, or None for any
    returns     NumPy array in native byte order: uint8, int8, int16, int32, float32 or float64

    A file that is truncated, too long, corrupt or of another kind is a ValueError naming the file; a file that
    cannot be opened is the OSError of ``open``.
    """
    with open(path, "rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        with gzip.GzipFile(fileobj=raw) if packed else raw as stream:
            try:
                return _parse(stream, ndim)
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise ValueError(f"read_idx: {os.fspath(path)}: a complete gzip file is needed, but {error}") from None
            except ValueError as error:
                raise ValueError(f"read_idx: {os.fspath(path)}: {error}") from None


def _parse(stream, ndim):
    magic = _read(stream, 4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in TYPES:
        raise ValueError(
            f"an idx file starts with 00 00, a type and a rank, but this one with {magic.hex(' ') or 'nothing'}"
        )
    dtype, rank = np.dtype(TYPES[magic[2]]), magic[3]
    if not 1 <= rank <= 8:
        raise ValueError(f"an idx array has 1 to 8 dimensions, but the header says {rank}")
    if ndim is not None and rank != ndim:
        raise ValueError(f"{ndim} dimensions are expected, but the header says {rank}")
    header = _read(stream, 4 * rank)
    if len(header) < 4 * rank:
        raise ValueError(f"the header has {4 + 4 * rank} bytes, but the file ends after {4 + len(header)}")
    sizes = tuple(int(n) for n in np.frombuffer(header, ">u4"))
    if math.prod(max(n, 1) for n in sizes) * dtype.itemsize > 2**40:
        raise ValueError(f"at most 2**40 bytes of data are read, but the header says sizes {sizes}")
    expected = math.prod(sizes) * dtype.itemsize
    data = _read(stream, expected)
    if len(data) < expected:
        raise ValueError(
            f"sizes {sizes} need {expected} bytes of data, but only {len(data)} follow the header (truncated)"
        )
    if stream.read(1):
        raise ValueError(f"sizes {sizes} need {expected} bytes of data, but more follow the header (trailing bytes)")
    return np.frombuffer(data, dtype).astype(dtype.newbyteorder("=")).reshape(sizes)


def _read(stream, count):
    """Up to count bytes; fewer only at the end of the stream."""
    data = bytearray()
    while len(data) < count:
        chunk = stream.read(min(CHUNK, count - len(data)))
        if not chunk:
            break
        data += chunk
    return data
