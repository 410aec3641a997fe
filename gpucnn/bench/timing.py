"""Times of contenders that take turns in one process, so that a slow moment of the machine meets all of them."""

import random
import time

import numpy as np

LEAST, LONGEST = 5, 20  # runs of each; seconds after which fewer are enough


def interleaved(calls, kind, seconds, least=LEAST, in_order=False):
    """{name: times in seconds}, of {name: function}; each ran before, so that nothing is a first time.

    They take turns in an order that is drawn anew for each round, as what ran before decides what the caches hold;
    phases, of which one needs what another leaves, are called ``in_order``.

    kind       "cpu", or "cuda": then times are those of CUDA events on the null stream, with the L2 cache full of
               other data before each call
    seconds    in all, at least
    least      runs of each where they fit into LONGEST seconds; one in any case
    """
    timed = _on_cuda() if kind == "cuda" else _on_cpu
    times = {name: [] for name in calls}
    order, began, rounds = random.Random(0), time.perf_counter(), 0
    while True:
        for name in calls if in_order else order.sample(list(calls), len(calls)):
            times[name].append(timed(calls[name]))
        rounds += 1
        spent = time.perf_counter() - began
        if (spent >= seconds and rounds >= least) or spent >= max(LONGEST, seconds):
            return times


def _on_cpu(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _on_cuda():
    import cupy

    other = cupy.empty(max(2 * cupy.cuda.Device().attributes["L2CacheSize"], 1), "uint8")

    def timed(call):
        start, end = cupy.cuda.Event(), cupy.cuda.Event()
        other.fill(0)
        start.record()
        call()
        end.record()
        end.synchronize()
        return cupy.cuda.get_elapsed_time(start, end) / 1e3

    return timed


def statistics(times):
    """What a record keeps of {name: seconds}, in milliseconds, and the number of runs."""
    return {
        "median_ms": {name: 1e3 * float(np.median(t)) for name, t in times.items()},
        "quartiles_ms": {name: [1e3 * float(q) for q in np.percentile(t, (25, 75))] for name, t in times.items()},
        "min_ms": {name: 1e3 * min(t) for name, t in times.items()},
        "runs": {name: len(t) for name, t in times.items()},
    }
