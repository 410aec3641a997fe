"""ALGOS: the convolution algorithms, one row each. Tests, accuracy reports and benchmarks iterate over this table."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from .. import native
from ..device import launch
from .shape import DIRECTIONS


@dataclass(frozen=True)
class Algo:
    """One way to compute one direction of a convolution.

    run           (shape, dtype, a, b, out, workspace, bias=None, relu=False) -> None; arrays as in ConvShape.operands,
                  workspace uint8. Only fwd takes bias (K,) and relu: out = max(a * b + bias, 0)
    takes         (shape, dtype) -> bool: correct for this shape (not "good" for it)
    workspace     (shape, dtype) -> (least, best) bytes: it works with the first, and has no use for more than the last
    error         f of the tolerance law: the error is at most f u sqrt(L) (|a| conv |b|), u = 2**-24, L products; about
                  twice what ``python -m bench.accuracy`` measures, and at least 1
    bound         "element": that holds for each element; "plane": with the largest (|a| conv |b|) of the plane, as
                  transforms spread the error of a large value over its neighbours
    deterministic whether two runs give the same bits
    filters       (shape, dtype) -> bytes of the transformed filters that run takes for b, at a multiple of 64 bytes;
                  None: run takes the filters as they are
    transform     (shape, dtype, b, filters) -> None: writes them; worth keeping while the weight does not change
    """

    run: Callable
    takes: Callable
    workspace: Callable
    error: float
    bound: str = "element"
    deterministic: bool = True
    filters: Callable | None = None
    transform: Callable | None = None


def _row(device, direction, name, takes, error, bound="element", transforms=False):
    """The row of the native functions conv_<name>_<direction>, conv_<name>_workspace and conv_<name>_filters."""
    extension = getattr(native, device)

    def run(shape, dtype, a, b, out, workspace, bias=None, relu=False):
        ends = (0 if bias is None else bias, relu) if direction == "fwd" else ()
        launch(f"conv_{name}_{direction}", shape, dtype, a, b, *ends, out, workspace, workspace.nbytes)

    def workspace(shape, dtype):
        return getattr(extension(), f"conv_{name}_workspace")(shape, dtype, direction)

    def filters(shape, dtype):
        return getattr(extension(), f"conv_{name}_filters_bytes")(shape, dtype, direction)

    def transform(shape, dtype, b, filters):
        launch(f"conv_{name}_filters", shape, dtype, direction, b, filters)

    row = Algo(run, takes, workspace if name != "direct" else lambda shape, dtype: (0, 0), error, bound)
    return replace(row, filters=filters, transform=transform) if transforms else row


def _any(shape, dtype):
    return True


def _pointwise(shape, dtype):
    return (shape.R, shape.S, shape.stride, shape.pad) == (1, 1, (1, 1), (0, 0))


def _winograd(shape, dtype):
    return (shape.R, shape.S, shape.stride, shape.dilation) == (3, 3, (1, 1), (1, 1)) and dtype != "float64"


def _rows(device, direction):
    """direct     each output element summed on its own, as the definition says: the reference meaning
    im2col     receptive fields become columns of a matrix, and one GEMM does the rest (Chellapilla et al. 2006; Caffe)
    gemm       1x1 filters with stride 1: the images are the matrices
    winograd   minimal filtering F(m x m, 3x3): fewer products, more additions (Lavin & Gray 2016)
    """
    rows = {
        "direct": _row(device, direction, "direct", _any, error=2.0),
        "im2col": _row(device, direction, "im2col", _any, error=2.0),
    }
    if device == "cpu":
        rows["gemm"] = _row(device, direction, "gemm", _pointwise, error=2.0)
        transforms = direction != "wgrad"
        errors = (1.0, 4.0) if transforms else (2.0, 10.0)
        for name, error in zip(("winograd2", "winograd4"), errors, strict=True):
            rows[name] = _row(device, direction, name, _winograd, error, "plane", transforms)
    return rows


ALGOS = {(device, direction): _rows(device, direction) for device in ("cpu", "cuda") for direction in DIRECTIONS}
