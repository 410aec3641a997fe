"""resize beside an independent antialiased filter, and the scale jitter."""

import numpy as np
import pytest

from gpucnn.data import Draws, ScaleJitter, resize, resize_short_side
from gpucnn.data.resize import short_side_size


def triangle(source, size, begin, end):
    """The matrix (size, source) of a triangle filter as wide as a pixel of the larger grid, float64."""
    scale = (end - begin) / size
    width = max(scale, 1)
    matrix = np.zeros((size, source))
    for i in range(size):
        centre = begin + (i + 0.5) * scale
        for j in range(source):
            if centre - width - 0.5 <= j < centre + width + 0.5:
                matrix[i, j] = max(0, 1 - abs(j + 0.5 - centre) / width)
    return matrix / matrix.sum(1, keepdims=True)


@pytest.mark.parametrize(
    ("size", "box"),
    [((4, 5), None), ((20, 30), None), ((11, 7), None), ((6, 6), (1.5, 2.25, 9.5, 6.75)), ((5, 3), (0, 0, 11, 7))],
)
def test_resize(size, box):
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 11, 7), dtype=np.uint8)
    top, left, bottom, right = box or (0, 0, 11, 7)
    expected = triangle(11, size[0], top, bottom) @ images.astype(np.float64) @ triangle(7, size[1], left, right).T
    if box is None or box[0] == 0:  # inside a box, Pillow's filter sees no pixel beyond it
        assert np.abs(resize(images.astype(np.float32), size, box) - expected).max() < 1e-3
        assert np.abs(resize(images, size, box).astype(int) - expected).max() < 1.6  # two roundings to integers
    assert resize(images, size, box).shape == (2, 3, *size)


def test_the_box_is_the_part():
    images = np.random.default_rng(0).integers(0, 256, (1, 3, 11, 7), dtype=np.uint8)
    assert np.array_equal(resize(images, (4, 3), (2, 1, 6, 4)), images[:, :, 2:6, 1:4])


def test_short_side():
    assert short_side_size((375, 500), 256) == (256, 341)
    assert short_side_size((500, 375), 256) == (341, 256)
    assert short_side_size((10, 10), 3) == (3, 3)
    assert resize_short_side(np.zeros((1, 1, 8, 6), np.float32), 3).shape == (1, 1, 4, 3)


def test_errors():
    with pytest.raises(TypeError, match="resize: takes NumPy arrays of uint8 or float32, but came numpy float64"):
        resize(np.zeros((1, 1, 2, 2)), (1, 1))
    with pytest.raises(ValueError, match=r"resize: takes .* but came"):
        resize(np.zeros((1, 2, 2), np.uint8), (1, 1))
    with pytest.raises(ValueError, match="size <= low <= high"):
        ScaleJitter(low=10, high=5, size=4)


@pytest.mark.parametrize("shape", [(1, 3, 40, 30), (1, 1, 20, 50), (1, 3, 8, 8)])
def test_scale_jitter(shape):
    """A ramp shows where a patch came from and at what scale."""
    images = np.broadcast_to(np.arange(shape[3], dtype=np.float32) * 2, shape).copy()
    jitter, scales, starts = ScaleJitter(low=16, high=32, size=8), [], []
    for i in range(60):
        patch = jitter(images, Draws(0, 0, [i]))
        assert patch.shape == (1, shape[1], 8, 8) and patch.dtype == np.float32
        slope = (patch[0, 0, 3, 5] - patch[0, 0, 3, 3]) / 4  # pixels of the source in a pixel of the patch
        scales.append(min(shape[2:]) / slope)
        starts.append(patch[0, 0, 3, 3])
    assert 14.5 < min(scales) < 18 and 30 < max(scales) < 33.5  # Pillow's filter follows a ramp to some percent
    assert len(set(starts)) > 50
    assert np.array_equal(jitter(images, Draws(0, 0, [5])), jitter(images, Draws(0, 0, [5])))
