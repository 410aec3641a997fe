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
    takes         (shape, dtype) -> bool: correct for this shape (not "good" for it)
    workspace     (shape, dtype) -> (least, best) bytes: it works with the first, and has no use for more than the last
    error         f of the tolerance law: the error is at most f u sqrt(L) (|a| conv |b|), u = 2**-24, L products
    bound         "element": that holds for each element; "plane": with the largest (|a| conv |b|) of the plane, as
                  transforms spread the error of a large value over its neighbours
    deterministic whether two runs give the same bits
    """

    run: Callable
    takes: Callable
    workspace: Callable
    error: float
    bound: str = "element"
    deterministic: bool = True


def _direct(direction):
    """Every output element is summed on its own, in the order of the definition: the reference meaning."""
    return Algo(
        run=lambda shape, dtype, a, b, out, workspace: launch(
            f"conv_direct_{direction}", shape, dtype, a, b, out, workspace, workspace.nbytes
        ),
        takes=lambda shape, dtype: True,
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
        takes=lambda shape, dtype: True,
        workspace=lambda shape, dtype: extension().conv_im2col_workspace(shape, dtype, direction),
        error=2.0,
    )


def _winograd(direction, tile, error):
    """Winograd's minimal filtering F(tile x tile, 3x3): fewer products, more additions (Lavin & Gray 2016)."""
    return Algo(
        run=lambda shape, dtype, a, b, out, workspace: launch(
            f"conv_winograd{tile}_{direction}", shape, dtype, a, b, out, workspace, workspace.nbytes
        ),
        takes=lambda shape, dtype: (
            (shape.R, shape.S, shape.stride, shape.dilation) == (3, 3, (1, 1), (1, 1)) and dtype != "float64"
        ),
        workspace=lambda shape, dtype: native.cpu().conv_winograd_workspace(shape, dtype, direction, tile),
        error=error,
        bound="plane",
    )


def _depthwise(direction):
    """Sums of shifted planes, for one input channel a group: a plane is read once, padded, and stays in cache."""
    extra = (0, False) if direction == "fwd" else ()  # bias, relu
    return Algo(
        run=lambda shape, dtype, a, b, out, workspace: launch(
            f"conv_depthwise_{direction}", shape, dtype, a, b, *extra, out, workspace, workspace.nbytes
        ),
        takes=lambda shape, dtype: (
            shape.C == shape.groups
            and max(shape.H + 2 * shape.pad[0], shape.W + 2 * shape.pad[1]) <= 2**20
            and dtype != "float64"
        ),
        workspace=lambda shape, dtype: native.cpu().conv_depthwise_workspace(shape, dtype, direction),
        error=2.0,
    )


ALGOS = {
    (device, direction): {"direct": _direct(direction), "im2col": _im2col(device, direction)}
    for device in ("cpu", "cuda")
    for direction in DIRECTIONS
}
for direction in DIRECTIONS:
    ALGOS["cpu", direction] |= {
        "winograd2": _winograd(direction, 2, 2.0),
        "winograd4": _winograd(direction, 4, 12.0),
        "depthwise": _depthwise(direction),
    }
