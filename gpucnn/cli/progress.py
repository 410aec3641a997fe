"""Progress of long work: a bar on a terminal, a line now and then elsewhere."""

import sys
import time

from ..device import memory_in_use

INTERVAL = 10  # seconds between plain lines


class Progress:
    """Counts images towards a total; a context manager.

    total       images of the whole run
    done        images of it that an earlier session trained
    device      whose memory is shown: ``gpucnn.device.memory_in_use``
    """

    def __init__(self, total, done=0, device="cpu"):
        self.total, self.done, self.device, self.bar = total, done, device, None
        self.start, self.first = time.perf_counter(), done
        self.next = self.start + INTERVAL
        if sys.stderr.isatty():
            from tqdm import tqdm

            self.bar = tqdm(total=total, initial=done, unit=" images", unit_scale=True, dynamic_ncols=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.bar is not None:
            self.bar.close()

    def add(self, images):
        """Count images that were trained."""
        self.done += images
        if self.bar is not None:
            self.bar.set_postfix_str(self.memory(), refresh=False)
            self.bar.update(images)
            return
        now = time.perf_counter()
        if now >= self.next:
            self.next = now + INTERVAL
            rate = (self.done - self.first) / (now - self.start)
            print(
                f"{100 * self.done / self.total:.0f} % of the run, {rate:.0f} images/s, "
                f"{self.memory()}, {(self.total - self.done) / rate:.0f} s left",
                flush=True,
            )

    def memory(self):
        """Of the device, in words."""
        return f"{memory_in_use(self.device) / 2**20:.0f} MiB"

    def line(self, text):
        """Print a line, above the bar where there is one."""
        if self.bar is not None:
            self.bar.write(text)
        else:
            print(text, flush=True)
