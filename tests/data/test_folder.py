"""Image folders, and what kind of data set open_dataset finds at a path."""

import numpy as np
import pytest

from gpucnn.data import ImageFolder, Images, Packed, open_dataset, pack
from tests.data.pictures import encoded, random_images

IMAGES = random_images((3, 5, 7), (3, 4, 4), (3, 9, 2), (3, 3, 3))


@pytest.fixture
def folder(tmp_path):
    """Two classes; dog/b.PNG, dog/a.png, cat/z.png, cat/y.png."""
    root = tmp_path / "root"
    for name, image in zip(("dog/b.PNG", "dog/a.png", "cat/z.png", "cat/y.bmp"), IMAGES, strict=True):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(encoded(image))
    (root / "dog" / "Thumbs.db").write_bytes(b"x")
    (root / ".hidden").mkdir()
    (root / "readme.txt").write_text("x")
    return root


def test_classes_and_order(folder):
    data = ImageFolder(folder)
    assert data.classes == ("cat", "dog") and len(data) == 4
    assert [p.name for p in data.paths] == ["y.bmp", "z.png", "a.png", "b.PNG"]
    assert [data[i][1] for i in range(4)] == [0, 0, 1, 1]
    for i, expected in enumerate(IMAGES[::-1]):
        assert np.array_equal(data[i][0], expected)
    assert np.array_equal(data[-1][0], IMAGES[0])
    assert isinstance(open_dataset(folder), ImageFolder)


def test_short_side(folder):
    data = open_dataset(folder, short_side=6)
    assert [data[i][0].shape[1:] for i in range(4)] == [(6, 6), (27, 6), (6, 6), (6, 8)]


def test_errors(folder, tmp_path):
    (folder / "dog" / "a.png").write_bytes(b"junk")
    with pytest.raises(ValueError, match=r"root/dog/a\.png: a complete image is needed"):
        ImageFolder(folder)[2]
    (folder / "ant").mkdir()
    with pytest.raises(ValueError, match="root/ant: a class has images, but there are none"):
        ImageFolder(folder)
    with pytest.raises(ValueError, match="holds one folder a class, but there is no folder"):
        ImageFolder(folder / "dog")
    with pytest.raises(FileNotFoundError):
        ImageFolder(tmp_path / "none")


def test_open_dataset_by_content(tmp_path):
    data = Images(np.stack(random_images((1, 28, 28), (1, 28, 28))), np.arange(2))
    pack(data, tmp_path / "no-suffix")
    assert isinstance(open_dataset(tmp_path / "no-suffix"), Packed)
    with pytest.raises(ValueError, match="only a folder of images is resized"):
        open_dataset(tmp_path / "no-suffix", short_side=9)
    for part in ("train", "t10k"):
        for kind, array in (("images", data.images[:, 0]), ("labels", data.labels.astype(np.uint8))):
            sizes = b"".join(n.to_bytes(4, "big") for n in array.shape)
            name = f"{part}-{kind}-idx{array.ndim}-ubyte"
            (tmp_path / name).write_bytes(bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes())
    assert np.array_equal(open_dataset(tmp_path, "test").images, data.images)
    (tmp_path / "text").write_text("hello")
    with pytest.raises(ValueError, match=r"text: a packed file or an \.npz of JPEGs is expected"):
        open_dataset(tmp_path / "text")
    with pytest.raises(ValueError, match="part is train or test, but came 'valid'"):
        open_dataset(tmp_path, "valid")
    with pytest.raises(FileNotFoundError):
        open_dataset(tmp_path / "none")
