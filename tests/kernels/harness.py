"""Calls of native functions on NumPy arrays, between guard bands, in either build of the kernels."""

from dataclasses import dataclass

import ml_dtypes
import numpy as np

GUARD = 256  # bytes before and after each array: keeps the alignment that CuPy gives
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
            memory = before.copy() if self.cupy is None else self.cupy.asarray(before)
            held.append((arg, before, memory))
            return (memory.ctypes.data if self.cupy is None else memory.data.ptr) + GUARD

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

    def conv(self, row, direction, shape, dtype, a, b, workspace=None, bias=None, relu=False):
        """One direction of a convolution, with a workspace of this many bytes (by default the best); fwd may have a
        bias (K,) and ReLU."""
        if workspace is None:
            workspace = 0 if row == "direct" else self.lib.conv_im2col_workspace(shape, dtype, direction)[1]
        result = Out(shape.operands(direction)[2], a.dtype)
        ends = (0 if bias is None else bias, relu) if direction == "fwd" else ()
        memory = Out((workspace,), np.uint8)
        return self(f"conv_{row}_{direction}", shape, dtype, a, b, *ends, result, memory, workspace)[0]
