"""Batches to the GPU while it computes: pinned host memory and a stream for the copies."""

import numpy as np

from ..device import cuda_problem, parse


class _Slot:
    """Pinned memory for one array on its way, and the event after which it may be written again."""

    def __init__(self, allocate):
        self.allocate, self.memory, self.copied = allocate, None, None

    def fill(self, array):
        if self.copied is not None:
            self.copied.synchronize()
        if self.memory is None or len(self.memory) < array.nbytes:
            pinned = self.allocate(array.nbytes)
            self.memory = np.frombuffer(pinned, np.uint8, array.nbytes)
        staged = self.memory[: array.nbytes].view(array.dtype).reshape(array.shape)
        staged[...] = array
        return staged


def staged(batches, device):
    """Yield each batch, a tuple of arrays, on a CUDA device, where the copy of the next one is already under way.

    Memory on the device belongs to the stream that is current here, where the batch is used, so that CuPy's pool
    does not reuse it too early: the copying stream waits until that stream has come to where the memory was taken,
    and that stream waits for the copy before the batch is handed out.
    """
    problem = cuda_problem()
    if problem:
        raise RuntimeError(problem)
    import cupy

    device = cupy.cuda.Device(parse(device)[1])
    with device:
        copies = cupy.cuda.Stream(non_blocking=True)
    turns = [{}, {}]  # slots by place in the tuple: one batch is copied while the next one is written

    def start(batch, slots):
        with device:
            arrays = [cupy.empty(array.shape, array.dtype) for array in batch]
            copies.wait_event(cupy.cuda.get_current_stream().record())
            for i, (array, out) in enumerate(zip(batch, arrays, strict=True)):
                slot = slots.setdefault(i, _Slot(cupy.cuda.alloc_pinned_memory))
                out.set(slot.fill(array), stream=copies)
                slot.copied = copies.record()
            return arrays, slot.copied

    def finish(arrays, copied):
        with device:
            cupy.cuda.get_current_stream().wait_event(copied)
        return tuple(arrays)

    under_way = None
    for i, batch in enumerate(batches):
        following = start(batch, turns[i % 2])
        if under_way is not None:
            yield finish(*under_way)
        under_way = following
    if under_way is not None:
        yield finish(*under_way)
    copies.synchronize()
