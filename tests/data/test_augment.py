"""Augmentation: each beside what it says it does, and the laws that all obey, on NumPy and on CuPy's stand-in."""

import sys

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from gpucnn.data import (
    Brightness,
    ColourOffset,
    Contrast,
    Cutout,
    Draws,
    RandomCrop,
    RandomFlip,
    RandomWarp,
    Saturation,
    ScaleJitter,
    channel_statistics,
    colour_components,
    mean_image,
    mixup,
    normalise,
)
from tests.data.pictures import Listed, random_images, smooth
from tests.simt import fake_cupy

COMPONENTS = (np.array([0.2, 0.05, 0.01]), np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0])
ALL = [
    RandomFlip(),
    RandomCrop(2),
    RandomCrop(size=(5, 4)),
    RandomCrop(1, (9, 3)),
    Cutout(4, 9),
    Brightness(),
    Contrast(),
    Saturation(),
    ColourOffset(*COMPONENTS),
    RandomWarp(20, 0.2, 0.1, 0.1, 0.1),
    ScaleJitter(6, 9, 5),
]
ON_CUPY = [a for a in ALL if not isinstance(a, ScaleJitter)]
BATCH = np.stack(random_images(*[(3, 8, 7)] * 6))


@pytest.fixture
def cupy(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy)
    return fake_cupy


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("augmentation", ALL, ids=repr)
def test_laws(augmentation, dtype):
    """The dtype stays, the input too; the seed decides; a batch is its images; N = 0 is no error."""
    images = BATCH.astype(dtype)
    before, rows = images.copy(), np.arange(10, 16)
    out = augmentation(images, Draws(0, 1, rows))
    assert out.dtype == dtype and out.shape[:2] == (6, 3) and np.isfinite(out).all()
    assert np.array_equal(images, before)
    assert np.array_equal(out, augmentation(images, Draws(0, 1, rows)))
    assert not np.array_equal(out, augmentation(images, Draws(1, 1, rows)))
    for i in range(6):
        assert np.array_equal(out[i : i + 1], augmentation(images[i : i + 1], Draws(0, 1, rows[i : i + 1])))
    assert augmentation(images[:0], Draws(0, 1, rows[:0])).shape == (0, *out.shape[1:])


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("augmentation", ON_CUPY, ids=repr)
def test_on_the_device(augmentation, dtype, cupy):
    images, rows = BATCH.astype(dtype), np.arange(6)
    out = augmentation(cupy.asarray(images), Draws(0, 1, rows))
    assert isinstance(out, cupy.ndarray)
    assert np.array_equal(out.get(), augmentation(images, Draws(0, 1, rows)))


@pytest.mark.parametrize("augmentation", ON_CUPY, ids=repr)
def test_errors(augmentation):
    name = type(augmentation).__name__
    with pytest.raises(TypeError, match=f"{name}: images are uint8 or float32, but came float64"):
        augmentation(BATCH.astype(np.float64), Draws(0, 0, range(6)))
    with pytest.raises(ValueError, match=rf"{name}: images are \(N, (C|3), H, W\), but came \(3, 8, 7\)"):
        augmentation(BATCH[0], Draws(0, 0, [0]))


def test_colour_needs_three_channels_where_it_says_so():
    for augmentation in (Saturation(), ColourOffset(*COMPONENTS)):
        with pytest.raises(ValueError, match=r"\(N, 3, H, W\), but came"):
            augmentation(BATCH[:, :1], Draws(0, 0, range(6)))
    assert Contrast()(BATCH[:, :1], Draws(0, 0, range(6))).shape == (6, 1, 8, 7)


def test_flip_mirrors_half_of_the_images():
    images = np.broadcast_to(BATCH[:1], (1000, 3, 8, 7))
    out = RandomFlip()(images, Draws(0, 0, range(1000)))
    flipped = np.array([np.array_equal(image, BATCH[0][..., ::-1]) for image in out])
    kept = np.array([np.array_equal(image, BATCH[0]) for image in out])
    assert (flipped ^ kept).all() and 440 < flipped.sum() < 560
    assert np.array_equal(RandomFlip(0.0)(images, Draws(0, 0, range(1000))), images)


def test_crop_takes_every_part_of_the_padded_image():
    images = np.broadcast_to(BATCH[:1], (1000, 3, 8, 7))
    padded = np.zeros((3, 12, 11), np.uint8)
    padded[:, 2:10, 2:9] = BATCH[0]
    parts = {padded[:, y : y + 8, x : x + 7].tobytes(): (y, x) for y in range(5) for x in range(5)}
    places = [parts[image.tobytes()] for image in RandomCrop(2)(images, Draws(0, 0, range(1000)))]
    counts = np.array([places.count(place) for place in parts.values()])
    assert counts.min() > 15 and counts.max() < 70
    with pytest.raises(ValueError, match="RandomCrop: 9 x 7 pixels lie in the padded image"):
        RandomCrop(size=(9, 7))(images, Draws(0, 0, range(1000)))


def test_cutout_covers_one_square():
    images = np.full((300, 2, 9, 8), 5, np.uint8)
    out = Cutout(3, value=1)(images, Draws(0, 0, range(300)))
    sizes = set()
    for image in out:
        rows, columns = np.nonzero(image[0] == 1)
        assert np.array_equal(image[0], image[1]) and set(np.unique(image)) <= {1, 5}
        sizes.add((np.ptp(rows) + 1, np.ptp(columns) + 1))
        assert len(rows) == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
    assert sizes == {(h, w) for h in (2, 3) for w in (2, 3)}


@pytest.mark.parametrize(
    ("augmentation", "oracle"),
    [(Brightness, ImageEnhance.Brightness), (Contrast, ImageEnhance.Contrast), (Saturation, ImageEnhance.Color)],
)
@pytest.mark.parametrize("seed", range(6))
def test_colour_as_in_pillow(augmentation, oracle, seed):
    """Within the roundings of Pillow, which blends with an 8-bit grey value."""
    image = smooth(20, 30)
    out = augmentation(0.4)(image[None], Draws(seed, 0, [0]))[0]
    factor = float(np.float32(Draws(seed, 0, [0]).uniform(0.6, 1.4)[0]))
    expected = oracle(Image.fromarray(image.transpose(1, 2, 0))).enhance(factor)
    assert np.abs(out.transpose(1, 2, 0).astype(int) - np.asarray(expected)).max() <= 1


def test_colour_offset_is_one_colour_along_the_components():
    values, vectors = COMPONENTS
    images = np.full((4000, 3, 1, 2), 100, np.float32)
    offsets = (ColourOffset(values, vectors, 0.1)(images, Draws(0, 0, range(4000))) - 100)[:, :, 0]
    assert np.array_equal(offsets[..., 0], offsets[..., 1])
    along = offsets[..., 0].astype(np.float64) @ vectors / 255
    np.testing.assert_allclose(along.std(0), 0.1 * values, rtol=0.05)
    assert np.abs(np.corrcoef(along.T) - np.eye(3)).max() < 0.06


def test_components_and_statistics_of_a_set():
    data = Listed(random_images((3, 5, 7), (3, 4, 4), (3, 9, 2)))
    pixels = np.concatenate([image.reshape(3, -1) for image, _ in data.items], 1) / 255
    mean, std = channel_statistics(data)
    np.testing.assert_allclose(mean, pixels.mean(1), rtol=1e-12)
    np.testing.assert_allclose(std, pixels.std(1), rtol=1e-12)
    values, vectors = colour_components(data)
    assert (np.diff(values) < 0).all()
    np.testing.assert_allclose(vectors * values @ vectors.T, np.cov(pixels, bias=True), atol=1e-12)
    same = Listed(random_images((3, 4, 4), (3, 4, 4)))
    np.testing.assert_allclose(mean_image(same) * 255, np.mean([image for image, _ in same.items], 0))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("shape", [(), (3,), (3, 8, 7)])
def test_normalise(shape, dtype, cupy):
    rng = np.random.default_rng(0)
    mean, std = rng.random(shape), 0.1 + rng.random(shape)
    out = normalise(BATCH.astype(dtype), mean, std)
    wide = [value[:, None, None] if value.ndim == 1 else value for value in map(np.asarray, (mean, std))]
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, (BATCH / 255 - wide[0]) / wide[1], rtol=0, atol=4e-6)
    assert np.array_equal(normalise(cupy.asarray(BATCH.astype(dtype)), mean, std).get(), out)


def test_normalise_errors():
    with pytest.raises(ValueError, match=r"mean is a number, \(C,\) or \(C, H, W\), but it is \(2,\)"):
        normalise(BATCH, (0.1, 0.2), 1)
    with pytest.raises(ValueError, match="std is positive, but its least is 0"):
        normalise(BATCH, 0, (1, 0, 1))


def test_mixup(cupy):
    images, labels = np.eye(6, dtype=np.float32).reshape(6, 1, 2, 3), np.arange(6)
    mixed, first, other, weight = mixup(images, labels, np.random.default_rng(3), alpha=1.0)
    assert first.numpy().tolist() == labels.tolist() and sorted(other.numpy().tolist()) == labels.tolist()
    expected = weight * images + (1 - weight) * images[other.numpy()]
    np.testing.assert_allclose(mixed.numpy(), expected, rtol=1e-6)
    on_device = mixup(cupy.asarray(images), cupy.asarray(labels), np.random.default_rng(3), alpha=1.0)
    assert np.array_equal(on_device[0].data.get(), mixed.numpy()) and on_device[3] == weight
    with pytest.raises(TypeError, match="mixup: images are floats, but came uint8"):
        mixup(BATCH, labels, np.random.default_rng(0))
    for alpha, rows in ((0, labels), (1, labels[:5])):
        with pytest.raises(ValueError, match="mixup: alpha is positive and every image has a label"):
            mixup(images, rows, np.random.default_rng(0), alpha)
