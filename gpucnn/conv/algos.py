"""ALGOS: the convolution algorithms, one row each. Tests, accuracy reports and benchmarks iterate over this table."""

from collections.abc import Callable
from dataclasses import dataclass

from .. import native
from ..device import launch
from .shape import DIRECTIONS


@dataclass(frozen=True)
class Algo:
    """One way to compute one direction of a convolution.

    run           (shape, dtype, a, b, out, workspace) -> None; arrays as in ConvShape.operands, workspace uint8
    takes         shape -> bool: correct for this shape (not "good" for it)
    workspace     (shape, dtype) -> (least, best) bytes: it works with the first, and has no use for more than the last
    error         f of the tolerance law: the error is at most f u sqrt(L) (|a| conv |b|), u = 2**-24, L products
    deterministic whether two runs give the same bits
    """

    run: Callable
    takes: Callable
    workspace: Callable
    error: float
    deterministic: bool = True


def _direct(direction):
    """Every output element is summed on its own, in the order of the definition: the reference meaning."""
    return Algo(
        run=lambda shape, dtype, a, b, out, workspace: launch(
            f"conv_direct_{direction}", shape, dtype, a, b, out, workspace, workspace.nbytes
        ),
        takes=lambda shape: True,
        workspace=lambda shape, dtype: (0, 0),
        error=2.0,
    )


def _im2col(device, direction):
    """Receptive fields become columns of a matrix, and one GEMM does the rest (Chellapilla et al. 2006; Caffe)."""
    extension = getattr(native, device)
    return Algo(
        run=lambda shape, dtype, a, b, out, workspace: launch(
            f"conv_im2col_{direction}", shape, dtype, a, b, out, workspace, workspace.nbytes
        ),
        takes=lambda shape: True,
        workspace=lambda shape, dtype: extension().conv_im2col_workspace(shape, dtype, direction),
        error=2.0,
    )


ALGOS = {
    (device, direction): {"direct": _direct(direction), "im2col": _im2col(device, direction)}
    for device in ("cpu", "cuda")
    for direction in DIRECTIONS
}
