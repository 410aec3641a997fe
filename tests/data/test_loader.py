"""DataLoader: what it yields, and that order and augmentation depend on seed, epoch and image alone."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpucnn
from gpucnn.data import Cutout, DataLoader, Images, RandomCrop, RandomFlip, ScaleJitter
from tests.data.pictures import Listed, random_images

AUGMENT = (RandomCrop(2), RandomFlip(), Cutout(3))
SIZES = [(3, 9, 12), (3, 15, 8), (3, 8, 8), (3, 20, 11), (3, 9, 9)]
MIXED = Listed(random_images(*SIZES * 4))
JITTER = (ScaleJitter(8, 12, 7),)


def numbered(count=23):
    """Image i holds the pixel i, so that a batch shows which rows it took."""
    labels = np.arange(count)
    return Images(np.broadcast_to(labels[:, None, None, None], (count, 1, 3, 2)).astype(np.uint8), labels, 0.25, 0.5)


def rows(loader):
    return [labels.numpy().tolist() for _, labels in loader]


def test_batches_in_order():
    loader = DataLoader(numbered(), 10)
    assert rows(loader) == [list(range(10)), list(range(10, 20)), [20, 21, 22]]
    assert len(loader) == 3


def test_drop_last():
    loader = DataLoader(numbered(), 10, drop_last=True)
    assert [len(batch) for batch in rows(loader)] == [10, 10]
    assert len(loader) == 2


def test_values():
    for images, labels in DataLoader(numbered(), 7, shuffle=True, seed=3):
        assert images.dtype == np.float32
        assert labels.dtype == np.int64
        assert not images.requires_grad
        expected = (labels.numpy()[:, None, None, None] / 255 - 0.25) / 0.5 * np.ones((1, 1, 3, 2))
        np.testing.assert_allclose(images.numpy(), expected, rtol=0, atol=3e-7)


def test_order_depends_on_seed_and_epoch_alone():
    one, two = DataLoader(numbered(), 5, shuffle=True, seed=1), DataLoader(numbered(), 5, shuffle=True, seed=1)
    first, second = rows(one), rows(one)
    assert first != second
    np.random.seed(0)  # global state has no say
    two.epoch = 1
    assert rows(two) == second
    assert rows(DataLoader(numbered(), 5, shuffle=True, seed=2)) != first
    assert sorted(row for batch in first for row in batch) == list(range(23))
    # Seed 1 in epoch 0 and seed 0 in epoch 1 are different orders.
    assert DataLoader(numbered(), shuffle=True, seed=0).order(1).tolist() != one.order(0).tolist()


def test_the_set_is_not_changed():
    data = numbered()
    before = data.images.copy()
    for images, labels in DataLoader(data, 4):
        images.numpy()[...] = 7
        labels.numpy()[...] = 7
    np.testing.assert_array_equal(data.images, before)
    assert data.labels.tolist() == list(range(23))


def test_bad_arguments():
    with pytest.raises(ValueError, match="batch_size is positive, but it is 0"):
        DataLoader(numbered(), 0)
    with pytest.raises(ValueError, match="seed is not negative"):
        DataLoader(numbered(), seed=-1)
    with pytest.raises(ValueError, match="ahead is positive, but it is 0"):
        DataLoader(numbered(), ahead=0)
    with pytest.raises(ValueError, match="workers is not negative, but it is -1"):
        DataLoader(numbered(), workers=-1)
    with pytest.raises(ValueError, match="device: takes"):
        DataLoader(numbered(), device="tpu")


def epoch(loader):
    """Every batch as (images, labels)."""
    return [(images.numpy(), labels.numpy()) for images, labels in loader]


def same(a, b):
    return len(a) == len(b) and all(
        np.array_equal(x, y) for p, q in zip(a, b, strict=True) for x, y in zip(p, q, strict=True)
    )


@settings(max_examples=25)
@given(
    st.integers(0, 4),
    st.integers(1, 5),
    st.integers(1, 30),
    st.integers(0, 9),
    st.sampled_from([0, 1, 2]),
    st.booleans(),
)
def test_workers_change_nothing(workers, ahead, batch_size, seed, kind, drop_last):
    data, transform = ((numbered(), ()), (MIXED, JITTER), (Listed(random_images(*[(3, 7, 6)] * 9)), ()))[kind]
    given = {"shuffle": True, "seed": seed, "transform": transform, "augment": AUGMENT, "drop_last": drop_last}
    alone = DataLoader(data, batch_size, **given)
    helped = DataLoader(data, batch_size, workers=workers, ahead=ahead, **given)
    for _ in range(2):
        assert same(epoch(alone), epoch(helped))


def test_augmentation_is_of_the_image_not_of_the_batch():
    """By label, every image looks the same whatever batch it is in."""

    def pictures(**options):
        loader = DataLoader(MIXED, seed=5, transform=JITTER, augment=AUGMENT, **options)
        return {
            int(label): image for images, labels in epoch(loader) for label, image in zip(labels, images, strict=True)
        }

    ordered, shuffled = pictures(batch_size=20), pictures(batch_size=3, shuffle=True)
    assert len(ordered) == 20
    assert all(np.array_equal(ordered[label], shuffled[label]) for label in ordered)


def test_another_epoch_and_seed_is_another_augmentation():
    loader = DataLoader(MIXED, 20, transform=JITTER, augment=AUGMENT)
    other = DataLoader(MIXED, 20, transform=JITTER, augment=AUGMENT, seed=1)
    first, second, third = epoch(loader), epoch(loader), epoch(other)
    assert not same(first, second) and not same(first, third) and not same(second, third)


def test_each_image_and_the_batch_draw_other_numbers():
    """The same augmentation twice, as transform and as augment, is not the same one twice."""
    data = Listed(random_images(*[(3, 30, 30)] * 40))
    each = epoch(DataLoader(data, 40, transform=[Cutout(3)]))[0][0]
    batch = epoch(DataLoader(data, 40, augment=[Cutout(3)]))[0][0]
    assert sum(np.array_equal(a, b) for a, b in zip(each, batch, strict=True)) < 4


def test_statistics_per_channel_and_per_pixel():
    data = Listed(random_images((3, 4, 5), (3, 4, 5)))
    ((images, _),) = epoch(DataLoader(data, 2))
    raw = np.stack([image for image, _ in data.items]) / 255
    expected = (raw - np.reshape(data.mean, (3, 1, 1))) / np.reshape(data.std, (3, 1, 1))
    np.testing.assert_allclose(images, expected, atol=2e-6)
    ((images, _),) = epoch(DataLoader(data, 2, mean=raw.mean(0), std=1))
    np.testing.assert_allclose(images.sum(0), 0, atol=1e-6)


class Failing(Listed):
    """Raises where an image is asked for that is in ``bad``."""

    bad = ()

    def __getitem__(self, i):
        if i in self.bad:
            raise ValueError(f"x.pack: record {i} is damaged")
        return self.items[i]


def left():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("gpucnn-data")]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_names_the_image_and_comes_in_its_place(workers):
    data = Failing(random_images(*[(3, 4, 4)] * 20))
    data.bad = {13}
    loader, seen = DataLoader(data, 4, workers=workers, ahead=4), []
    with pytest.raises(
        RuntimeError, match=r"DataLoader: image 13 of the data set: x\.pack: record 13 is damaged"
    ) as caught:
        for _, labels in loader:
            seen += labels.numpy().tolist()
    assert seen == list(range(12)) and isinstance(caught.value.__cause__, ValueError)
    assert not left()


@pytest.mark.parametrize("workers", [0, 2])
def test_errors_of_augmentation_and_of_sizes(workers):
    def fail(images, draws):
        raise ZeroDivisionError("no")

    data = Listed(random_images(*[(3, 4, 4)] * 6))
    with pytest.raises(RuntimeError, match=r"DataLoader: batch of images 0, 1, 2, 3, \.\.\.: no"):
        epoch(DataLoader(data, 5, augment=[fail], workers=workers))
    with pytest.raises(RuntimeError, match="DataLoader: image 0 of the data set: no"):
        epoch(DataLoader(data, 5, transform=[fail], workers=workers))
    with pytest.raises(RuntimeError, match=r"image 1 of the data set: images of a batch have one .* \(3, 15, 8\)"):
        epoch(DataLoader(MIXED, 5, workers=workers))


def test_breaking_off_leaves_no_thread():
    loader = DataLoader(numbered(), 2, workers=3, ahead=5)
    for _ in loader:
        break
    assert not left()
    batches = iter(loader)
    next(batches)
    del batches
    assert not left()


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("drop_last", [False, True])
def test_the_position_is_kept(workers, drop_last):
    """Stopped after any batch, also ahead of which others were made, another loader goes on with the next."""

    def loader():
        return DataLoader(
            numbered(), 5, shuffle=True, seed=2, augment=AUGMENT[:1], workers=workers, drop_last=drop_last
        )

    whole = loader()
    straight = epoch(whole) + epoch(whole)
    for stop in range(2 * len(whole) + 1):
        first, resumed, found = loader(), loader(), []
        for _ in range(2):
            for images, labels in first:
                if len(found) == stop:
                    break
                found.append((images.numpy(), labels.numpy()))
                state = json.loads(json.dumps(first.state_dict()))
            if len(found) == stop:
                break
        if not stop:
            state = loader().state_dict()
        resumed.load_state_dict(state)
        while len(found) < len(straight):
            found += epoch(resumed)
        assert same(found, straight)


def test_a_position_that_cannot_be():
    for state in ({"epoch": -1, "batch": 0}, {"epoch": 0, "batch": 3}, {"epoch": 0, "batch": -1}):
        with pytest.raises(ValueError, match="an epoch has 3 batches, but the state is"):
            DataLoader(numbered(), 10).load_state_dict(state)


def test_an_empty_set():
    assert epoch(DataLoader(numbered(0), 3, workers=1)) == []


ENDLESS = """
import sys, numpy as np
from gpucnn.data import DataLoader, Images
data = Images(np.zeros((1000, 1, 8, 8), np.uint8), np.zeros(1000, np.int64))
loader = DataLoader(data, 10, workers=3, ahead=8)
try:
    while True:
        for batch in loader:
            print("batch", flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
    sys.exit(130)
"""


def test_ctrl_c_ends_it_at_once(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(Path(gpucnn.__file__).parents[1])}
    child = subprocess.Popen(
        [sys.executable, "-c", ENDLESS],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        child.stdout.readline()
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=30)
    finally:
        child.kill()
    assert child.returncode == 130 and out.endswith("interrupted\n") and not err
