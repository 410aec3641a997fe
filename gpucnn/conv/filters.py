"""Transformed filters, kept beside a weight for as long as it does not change: inference transforms them once."""

import threading
import weakref

from .. import config

_lock = threading.RLock()  # a weight may die, and call _forget, while this thread holds it
_kept = {}  # id(weight) -> (weak reference to it, version, {key: filters})


def kept_filters(weight, version, key, make):
    """make(), or what it gave for the same weight, version and key before.

    All that is kept stays below the setting ``workspace``; beyond, nothing more is added until a weight changes
    or dies.
    """
    with _lock:
        entry = _kept.get(id(weight))
        if entry is None or entry[0]() is not weight or entry[1] != version:
            entry = _kept[id(weight)] = (weakref.ref(weight, _forget(id(weight))), version, {})
        filters = entry[2].get(key)
    if filters is None:
        filters = make()
        with _lock:
            if kept_bytes() + filters.nbytes <= config.get("workspace"):
                entry[2][key] = filters
    return filters


def drop_filters():
    """Give up all that is kept."""
    with _lock:
        _kept.clear()


def kept_bytes():
    """Bytes of all transformed filters that are kept."""
    with _lock:
        return sum(filters.nbytes for _, _, by_key in _kept.values() for filters in by_key.values())


def _forget(number):
    def forget(reference):
        with _lock:
            if number in _kept and _kept[number][0] is reference:
                del _kept[number]

    return forget
