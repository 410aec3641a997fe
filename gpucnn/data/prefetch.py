"""Work done ahead of its use, on threads, in order."""

from collections import deque
from concurrent.futures import ThreadPoolExecutor


def prefetch(function, items, workers, ahead):
    """Yield function(item) for each item, in order; threads compute while the caller uses what it got.

    workers     threads; 0 computes each result when it is asked for
    ahead       results, at most, that are computed or being computed before they are asked for

    What function raises is raised here, in the place of its result. When the generator ends, by an error or by
    closing it as well, no thread of it is left. Threads and not processes, because what takes long (decoding,
    gathering, copying) is native code that releases the interpreter lock.

    >>> list(prefetch(str, [1, 2, 3], workers=2, ahead=2))
    ['1', '2', '3']
    """
    if not workers:
        yield from map(function, items)
        return
    pool, pending = ThreadPoolExecutor(workers, "gpucnn-data"), deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
