"""Calls of native functions on NumPy arrays, between guard bands, in either build of the kernels."""

from dataclasses import dataclass

import ml_dtypes
import numpy as np
import pytest

from gpucnn.conv.algos import ALGOS
from gpucnn.layout import from_memory, in_memory

GUARD = 1 << 16  # bytes before and after each array: a mutant that writes rows too many must stay within
GUARD_BYTE = 0xFF  # NaN in every float dtype, so that a stray read shows, too
DTYPES = {"float32": np.dtype(np.float32), "float16": np.dtype(np.float16), "bfloat16": np.dtype(ml_dtypes.bfloat16)}


@dataclass
class Out:
    """An output array, filled with NaN (2139062143 for int32) before the call."""

    shape: tuple
    dtype: object = np.float32


@dataclass
class InOut:
    """An array that the call reads and writes."""

    array: np.ndarray


class Kernels:
    """A build: ``kernels(name, *args)`` returns the list of its outputs.

    NumPy arrays are copied to the device, ``Out`` and ``InOut`` become outputs, lists are lists of these, other values
    pass as they are. After the call the guard bands and the inputs must be what they were.
    """

    def __init__(self, lib, cupy=None):
        """lib is the extension; cupy the module that gives it memory, or None for the build that runs on the host."""
        self.lib, self.cupy = lib, cupy

    def multiprocessors(self):
        """Of the device: a kernel that stays on them takes several tiles a block only where there are more tiles."""
        return 2 if self.cupy is None else self.cupy.cuda.Device().attributes["MultiProcessorCount"]

    def memory(self, content):
        """A copy of the bytes at a multiple of 64, and its address."""
        if self.cupy is not None:
            with self.cupy.cuda.using_allocator():  # CuPy's pool would hide from compute-sanitizer where an array ends
                array = self.cupy.asarray(content)
            return array, array.data.ptr
        room = np.empty(content.size + 63, np.uint8)
        start = -room.ctypes.data % 64
        array = room[start : start + content.size]
        array[:] = content
        return array, array.ctypes.data

    def seed(self, number):
        """Order the fibers of simt anew; a GPU orders its threads itself."""
        if self.cupy is None:
            self.lib.seed(number)

    def __call__(self, name, *args):
        held = []

        def place(arg):
            if isinstance(arg, list):
                return [place(item) for item in arg]
            if isinstance(arg, Out):
                fill = GUARD_BYTE if np.dtype(arg.dtype).kind != "i" else 0x7F
                content = np.full(int(np.prod(arg.shape)) * np.dtype(arg.dtype).itemsize, fill, np.uint8)
            elif isinstance(arg, (np.ndarray, InOut)):
                array = arg.array if isinstance(arg, InOut) else arg
                content = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
            else:
                return arg
            guard = np.full(GUARD, GUARD_BYTE, np.uint8)
            before = np.concatenate([guard, content, guard])
            memory, address = self.memory(before)
            held.append((arg, before, memory))
            return address + GUARD

        values = [place(arg) for arg in args]
        stream = 0 if self.cupy is None else self.cupy.cuda.get_current_stream().ptr
        getattr(self.lib, name)(*values, stream)
        outputs = []
        for arg, before, memory in held:
            after = memory if self.cupy is None else self.cupy.asnumpy(memory)
            assert (after[:GUARD] == GUARD_BYTE).all(), f"{name} wrote before an array"
            assert (after[-GUARD:] == GUARD_BYTE).all(), f"{name} wrote after an array"
            if isinstance(arg, (Out, InOut)):
                like = arg.array if isinstance(arg, InOut) else arg
                outputs.append(after[GUARD:-GUARD].view(like.dtype).reshape(like.shape))
            else:
                assert np.array_equal(after, before), f"{name} changed an input"
        return outputs

    def workspace(self, row, direction, shape, dtype):
        """(least, best) bytes of a row."""
        return (0, 0) if row == "direct" else getattr(self.lib, f"conv_{row}_workspace")(shape, dtype, direction)

    def batch_norm(self, part, dtype, *args):
        """batch_norm_stats or batch_norm_bwd, ``part`` of it, with its workspace; the sizes are the first three of the
        numbers among the arguments."""
        sizes = [arg for arg in args if type(arg) is int][:3]
        size = self.lib.batch_norm_workspace(*sizes)
        return self(f"batch_norm_{part}", dtype, *args, Out((size,), np.uint8), size)[:-1]

    def conv(self, row, direction, shape, dtype, a, b, workspace=None, bias=None, relu=False):
        """One direction of a convolution, with a workspace of this many bytes (by default the best); fwd may have a
        bias (K,) and ReLU."""
        algo = ALGOS["cuda", direction][row]
        if lacking := algo.lacks(self.lib):
            pytest.skip(f"{row} needs {lacking}")
        if workspace is None:
            workspace = self.workspace(row, direction, shape, dtype)[1]
        if algo.transform:
            filters = Out((getattr(self.lib, f"conv_{row}_filters_bytes")(shape, dtype, direction),), np.uint8)
            (b,) = self(f"conv_{row}_filters", shape, dtype, direction, b, filters)
        last = shape.in_channels_last(direction)
        a, b = (in_memory(array, to) for array, to in zip((a, b), last[:2], strict=True))
        result = Out(in_memory(np.empty(shape.operands(direction)[2]), last[2]).shape, a.dtype)
        ends = (0 if bias is None else bias, relu) if direction == "fwd" else ()
        memory = Out((workspace,), np.uint8)
        (out, *_) = self(f"conv_{row}_{direction}", shape, dtype, a, b, *ends, result, memory, workspace)
        return from_memory(out, last[2])
