"""Encoded images (JPEG, PNG and what else Pillow reads) as pixels."""

import io

import numpy as np

from .resize import short_side_size

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP")


def decode_image(data, name, short_side=None):
    """The pixels of an encoded image, as RGB.

    data        bytes of a JPEG, PNG, BMP, GIF, PPM, TIFF or WebP file
    name        what an error names: the file, and where in it
    short_side  pixels of the shorter side of the result, or None to leave the size; a JPEG is decoded at the
                smallest of 1/1, 1/2, 1/4 and 1/8 of its size that is no smaller (Pillow's draft mode)
    returns     (3, H, W) uint8

    Bytes that Pillow cannot decode to the end are a ValueError; orientation tags are not followed.

    >>> from io import BytesIO
    >>> from PIL import Image
    >>> file = BytesIO()
    >>> Image.new("L", (5, 4), 7).save(file, "PNG")
    >>> decode_image(file.getvalue(), "seven.png").shape
    (3, 4, 5)
    """
    from PIL import Image  # here, because importing gpucnn is quick

    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            size = image.size[::-1]
            if short_side:
                size = short_side_size(size, short_side)
                image.draft("RGB", size[::-1])
            if "transparency" in image.info:
                image = image.convert("RGBA")
            image = image.convert("RGB")
            if image.size != size[::-1]:
                image = image.resize(size[::-1], Image.Resampling.BILINEAR)
            return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))
    except MemoryError:
        raise
    except Exception as error:  # Pillow's decoders raise many kinds, SyntaxError and struct.error among them
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"decode_image: {name}: a complete image is needed, but {reason}") from None
