"""decode_image: formats, modes and sizes, and that broken files are told by name."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gpucnn.data import decode_image
from gpucnn.data.resize import short_side_size
from tests.data.pictures import encoded, random_images, smooth

(IMAGE,) = random_images((3, 6, 5))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "PPM", "TIFF"])
def test_lossless_formats(kind):
    image = decode_image(encoded(IMAGE, kind), "x")
    assert image.dtype == np.uint8 and image.flags.c_contiguous
    assert np.array_equal(image, IMAGE)


def test_jpeg_is_close():
    image = smooth(40, 60)
    assert np.abs(decode_image(encoded(image, "JPEG", quality=95), "x").astype(int) - image).max() < 12


def test_grey_palette_and_transparency_become_rgb():
    grey = IMAGE[0]
    assert np.array_equal(decode_image(encoded(grey), "x"), np.stack([grey] * 3))
    palette, file = Image.new("P", (3, 2), 1), io.BytesIO()
    palette.putpalette([9, 8, 7, 30, 20, 10])
    palette.save(file, "PNG", transparency=b"\x00\x80")
    assert decode_image(file.getvalue(), "x")[:, 0, 0].tolist() == [30, 20, 10]


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("size", [(300, 480), (480, 300), (64, 64), (31, 200)])
def test_short_side(kind, size):
    image = smooth(*size)
    small = decode_image(encoded(image, kind), "x", short_side=60)
    assert small.shape[1:] == short_side_size(size, 60)
    assert min(small.shape[1:]) == 60
    # Draft mode or not, it shows the same picture.
    whole = Image.fromarray(image.transpose(1, 2, 0)).resize(small.shape[:0:-1], Image.Resampling.BILINEAR)
    assert np.abs(small.transpose(1, 2, 0).astype(int) - np.asarray(whole)).mean() < 4


@pytest.mark.parametrize("data", [b"", b"junk", encoded(IMAGE)[:-40], encoded(smooth(50, 50), "JPEG")[:500]])
def test_broken(data):
    with pytest.raises(ValueError, match=r"decode_image: a/b\.png: a complete image is needed, but \S") as caught:
        decode_image(data, "a/b.png")
    assert "\n" not in str(caught.value)


FILES = {kind: encoded(smooth(9, 12), kind) for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")}


@settings(max_examples=200)
@given(st.sampled_from(sorted(FILES)), st.data())
def test_damaged_files_are_an_image_or_a_value_error(kind, data):
    """Formats without checksums may decode to other pixels; nothing but a ValueError comes out."""
    file = bytearray(FILES[kind])
    for _ in range(data.draw(st.integers(1, 3))):
        file[data.draw(st.integers(0, min(len(file) - 1, 80)))] = data.draw(st.integers(0, 255))
    file = file[: data.draw(st.integers(0, len(file)))]
    try:
        image = decode_image(bytes(file), "damaged")
    except ValueError as error:
        assert str(error).startswith("decode_image: damaged: ")
    else:
        assert image.dtype == np.uint8 and image.shape[0] == 3
