"""warp beside a slow, obvious sampler and beside exact moves: shifts, mirrors, quarter turns."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpucnn.data import Draws, RandomWarp, warp
from tests.data.pictures import random_images, smooth

IDENTITY = np.array([[[1.0, 0, 0], [0, 1, 0]]])


def slow(image, matrix, lens):
    """One image, pixel by pixel, in float64."""
    C, H, W = image.shape
    out = np.empty((C, H, W))
    for i in range(H):
        for j in range(W):
            x, y = j - (W - 1) / 2, i - (H - 1) / 2
            bend = 1 + lens * (x * x + y * y) / ((H / 2) ** 2 + (W / 2) ** 2)
            sx, sy = matrix @ (x * bend, y * bend, 1)
            sx, sy = min(max(sx + (W - 1) / 2, 0), W - 1), min(max(sy + (H - 1) / 2, 0), H - 1)
            left, top = min(int(sx), max(W - 2, 0)), min(int(sy), max(H - 2, 0))
            right, bottom, u, v = min(left + 1, W - 1), min(top + 1, H - 1), sx - left, sy - top
            out[:, i, j] = (1 - v) * ((1 - u) * image[:, top, left] + u * image[:, top, right]) + v * (
                (1 - u) * image[:, bottom, left] + u * image[:, bottom, right]
            )
    return out


@given(
    st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)),
    st.integers(0, 2**32 - 1),
)
def test_as_the_slow_one(shape, seed):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, shape).astype(np.float32)
    matrices, lens = IDENTITY + rng.normal(0, 0.3, (shape[0], 2, 3)) * (1, 1, 3), rng.normal(0, 0.2, shape[0])
    out = warp(images, matrices, lens)
    expected = np.stack([slow(*given) for given in zip(images, matrices, lens, strict=True)])
    # Places are float32: off by a few 2**-24 of about 30 pixels, times a slope of at most 255 a pixel.
    assert np.abs(out - expected).max() < 255 * 30 * 8 * 2.0**-24
    rounded = warp(images.astype(np.uint8), matrices, lens)
    assert rounded.dtype == np.uint8 and np.abs(rounded - expected).max() < 0.51


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_exact_moves(dtype):
    images = np.stack(random_images((3, 6, 6), (3, 6, 6))).astype(dtype)
    two = np.ones((2, 1, 1))
    assert np.array_equal(warp(images, IDENTITY * two), images)
    shifted = warp(images, (IDENTITY + np.array([[0, 0, 2], [0, 0, -1]])) * two)
    assert np.array_equal(shifted[:, :, 1:, :-2], images[:, :, :-1, 2:])
    assert np.array_equal(shifted[:, :, 0, :-2], images[:, :, 0, 2:]), "the edge goes on"
    assert np.array_equal(warp(images, np.array([[[-1, 0, 0], [0, 1, 0]]]) * two), images[..., ::-1])
    assert np.array_equal(warp(images, np.array([[[0, 1, 0], [-1, 0, 0]]]) * two), np.rot90(images, -1, (2, 3)))


def test_chunks_are_the_whole(monkeypatch):
    images, rows = np.stack(random_images(*[(3, 6, 5)] * 7)), np.arange(7)
    whole = RandomWarp(10, 0.1, 0.1, 0.1, 0.1)(images, Draws(0, 0, rows))
    monkeypatch.setitem(warp.__globals__, "CHUNK", 200)
    assert np.array_equal(RandomWarp(10, 0.1, 0.1, 0.1, 0.1)(images, Draws(0, 0, rows)), whole)


def test_errors():
    images = np.zeros((2, 1, 3, 3), np.uint8)
    for matrices, lens in ((IDENTITY, None), (np.zeros((2, 3, 2)), None), (IDENTITY.repeat(2, 0), np.zeros(3))):
        with pytest.raises(ValueError, match=r"warp: one \(2, 3\) matrix and one lens an image, but came"):
            warp(images, matrices, lens)


@pytest.mark.parametrize("name", ["rotation", "stretch", "shear", "translation", "lens"])
def test_each_limit_does_its_part(name):
    """With all limits 0 the image stays; with one it moves, but for its centre where that stays by definition."""
    image = smooth(31, 41)[None].astype(np.float32)
    assert np.array_equal(RandomWarp()(image, Draws(0, 0, [0])), image)
    moved = RandomWarp(**{name: 5.0 if name == "rotation" else 0.1})(image, Draws(0, 0, [0]))
    assert np.abs(moved - image).max() > 1
    assert np.abs(moved - image).max() < 60
    if name != "translation":
        assert np.abs(moved - image)[0, :, 15, 20].max() < 1e-3


def test_rotation_turns_by_its_angle():
    """A quarter turn, drawn at the limit by a stand-in for Draws: positive is anticlockwise."""

    class Limit:
        def uniform(self, low, high, count=None):
            return np.full(1 if count is None else (1, count), high)

    (image,) = random_images((1, 7, 7))
    assert np.array_equal(RandomWarp(rotation=90)(image[None], Limit())[0], np.rot90(image, 1, (1, 2)))
