"""prefetch: order, how far ahead, errors, and that no thread is left behind."""

import threading
import time

import pytest

from gpucnn.data.prefetch import prefetch


def left():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("gpucnn-data")]


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("ahead", [0, 1, 5])
def test_order(workers, ahead):
    def slowly(i):
        time.sleep(0.002 * (i % 3))
        return i

    assert list(prefetch(slowly, range(20), workers, ahead)) == list(range(20))
    assert not left()


@pytest.mark.parametrize("ahead", [1, 3])
def test_no_more_than_ahead(ahead):
    """While result k is in use, at most ahead further ones were begun."""
    begun = []
    results = prefetch(lambda i: begun.append(i) or i, range(20), 4, ahead)
    for result in results:
        time.sleep(0.002)
        assert len(begun) <= result + 1 + ahead
    assert len(begun) == 20


def test_work_is_done_while_the_caller_is_busy():
    done = threading.Event()
    results = prefetch(lambda i: done.set() if i else None, range(2), 1, 1)
    next(results)
    assert done.wait(10)
    results.close()
    assert not left()


def test_an_error_comes_in_the_place_of_its_result():
    def fail(i):
        if i == 2:
            raise KeyError("two")
        return i

    results = prefetch(fail, range(10), 2, 4)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(KeyError, match="two"):
        next(results)
    assert not left()


def test_closing_early_cancels_what_was_not_begun():
    begun, hold = [], threading.Event()

    def wait(i):
        begun.append(i)
        return hold.wait(10) if i else i

    results = prefetch(wait, range(100), 1, 50)
    next(results)
    threading.Timer(0.05, hold.set).start()
    results.close()  # waits for the one that runs
    assert not left() and len(begun) <= 3


@pytest.mark.parametrize("workers", [0, 2])
def test_nothing_to_do(workers):
    assert list(prefetch(abs, [], workers, 2)) == []
    assert not left()
