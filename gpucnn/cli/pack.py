"""``gpucnn pack``: a data set as one file of decoded images."""

import os
import time
from pathlib import Path

from ..data import open_dataset
from ..data import pack as write
from .progress import Progress


def pack(source, out, part="train", short_side=None, workers=None):
    """Write the packed file and one line about it; returns the exit code."""
    data = open_dataset(source, part, short_side)
    workers = len(os.sched_getaffinity(0)) if workers is None else workers
    start = time.perf_counter()
    with Progress(len(data)) as progress:
        write(data, out, workers=workers, progress=progress.add)
        seconds = time.perf_counter() - start
        progress.line(
            f"{len(data)} images, {Path(out).stat().st_size / 1e6:.1f} MB, in {out}: "
            f"{seconds:.1f} s, {len(data) / seconds:.0f} images/s"
        )
    return 0
