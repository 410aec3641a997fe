"""Batches on their way to the GPU, on a stand-in for CuPy whose copies are made as late as CUDA may make them."""

import sys

import numpy as np
import pytest

from gpucnn.data import Cutout, DataLoader, Images, RandomCrop, RandomFlip, ScaleJitter, staging
from tests.data.pictures import Listed, random_images
from tests.simt import fake_cupy

DATA = Images(np.stack(random_images(*[(3, 8, 7)] * 23)), np.arange(23), (0.4, 0.5, 0.6), 0.25)


@pytest.fixture
def _cupy(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy)
    monkeypatch.setattr(staging, "cuda_problem", lambda: None)


def epoch(loader):
    """Each batch is looked at when it is handed out, as kernels on the current stream would."""
    return [(images.numpy(), labels.numpy()) for images, labels in loader]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("transform", [(), (ScaleJitter(8, 9, 6),)])
def test_the_same_batches_as_on_the_cpu(_cupy, workers, transform):
    given = {"shuffle": True, "augment": (RandomCrop(2), RandomFlip(), Cutout(3)), "transform": transform}
    loader = DataLoader(DATA, 4, workers=workers, device="cuda", **given)
    on_cpu = DataLoader(DATA, 4, **given)
    for _ in range(2):
        found, expected = epoch(loader), epoch(on_cpu)
        assert len(found) == len(expected) == 6
        for (images, labels), (others, numbers) in zip(found, expected, strict=True):
            assert np.array_equal(images, others) and np.array_equal(labels, numbers)


def test_batches_stay_as_they_were_handed_out(_cupy):
    """No pinned memory or array is written again while its batch is in use."""
    batches = list(DataLoader(DATA, 5, device="cuda:0"))
    assert {images.device for images, _ in batches} == {"cuda:0"}
    assert [label for _, labels in batches for label in labels.numpy().tolist()] == list(range(23))


def test_the_next_copy_is_under_way(_cupy):
    """When a batch is handed out, that of the next one has been ordered and not yet waited for."""
    ordered = []

    def batches():
        for i in range(4):
            ordered.append(i)
            yield (np.full(3, i),)

    seen = []
    for (array,) in staging.staged(batches(), "cuda"):
        seen.append((array.get().tolist(), ordered[-1]))
    assert seen == [([0] * 3, 1), ([1] * 3, 2), ([2] * 3, 3), ([3] * 3, 3)]


def test_batches_that_grow_and_shrink(_cupy):
    sizes = [3, 7, 1, 0, 9, 2]
    found = [array.get() for (array,) in staging.staged(((np.arange(n),) for n in sizes), "cuda")]
    assert all(np.array_equal(array, np.arange(n)) for array, n in zip(found, sizes, strict=True))


def test_the_stand_in_shows_a_missing_wait(_cupy):
    """The test of the test: without the waits, batches are wrong."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fake_cupy.Stream, "wait_event", lambda self, event: None)
        (first, *_) = [array.get() for (array,) in staging.staged([(np.arange(3),)], "cuda")]
    assert not np.array_equal(first, np.arange(3))


def test_pinned_memory_waits_for_its_copy(_cupy):
    stream, out = fake_cupy.Stream(), fake_cupy.empty((3,), np.int64)
    slot = staging._Slot(fake_cupy.cuda.alloc_pinned_memory)
    out.set(slot.fill(np.arange(3)), stream=stream)
    slot.copied = stream.record()
    slot.fill(np.zeros(3, np.int64))
    assert out.get().tolist() == [0, 1, 2]


def test_an_error_of_data_ends_the_iteration(_cupy):
    data = Listed(random_images((3, 4, 4), (3, 4, 4), (3, 5, 4)))
    with pytest.raises(RuntimeError, match="DataLoader: image 2 of the data set"):
        epoch(DataLoader(data, 3, device="cuda", workers=1))


def test_without_a_gpu_the_reason_is_told():
    if not staging.cuda_problem():
        pytest.skip("there is a GPU")
    with pytest.raises(RuntimeError, match="cuda"):
        next(iter(DataLoader(DATA, 4, device="cuda")))
