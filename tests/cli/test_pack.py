"""``gpucnn pack`` as a user runs it."""

import numpy as np

from gpucnn.data import Packed, mnist
from tests.data.pictures import encoded, random_images


def test_mnist(run, small_mnist, tmp_path):
    code, out, err = run("pack", small_mnist, "test.pack", "--part", "test")
    assert (code, err) == (0, "")
    assert out.startswith("200 images, 0.2 MB, in test.pack: ")
    found, test = Packed(tmp_path / "test.pack"), mnist(small_mnist)[1]
    assert np.array_equal(np.stack([found[i][0] for i in range(200)]), test.images)
    assert np.array_equal(found.labels, test.labels)


def test_folder_resized(run, tmp_path):
    for name, image in zip(("a/1.png", "b/1.png"), random_images((3, 12, 8), (3, 5, 20)), strict=True):
        (tmp_path / "images" / name).parent.mkdir(parents=True)
        (tmp_path / "images" / name).write_bytes(encoded(image))
    assert run("pack", "images", "out", "--short-side", 4, "--workers", 2)[0] == 0
    found = Packed(tmp_path / "out")
    assert [found[i][0].shape for i in range(2)] == [(3, 6, 4), (3, 4, 16)] and found.classes == ("a", "b")


def test_errors_are_one_line_and_leave_nothing(run, tmp_path):
    (tmp_path / "images/a").mkdir(parents=True)
    (tmp_path / "images/a/1.png").write_bytes(b"junk")
    for arguments, reason in (
        (("none", "out"), "none: No such file or directory"),
        (("images", "out"), "images/a/1.png: a complete image is needed"),
        (("images", "no/folder/out"), "no/folder/out"),
        (("images", "out", "--short-side", 0), "is a whole number from 1 on"),
    ):
        code, _, err = run("pack", *arguments)
        assert code == 2 and err.startswith("gpucnn pack: ") and err.count("\n") == 1 and reason in err
    assert [p.name for p in tmp_path.iterdir()] == ["images"]
