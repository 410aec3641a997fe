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
                  twice what ``gpucnn bench accuracy`` measures, and at least 1
    bound         "element": that holds for each element; "plane": with the largest (|a| conv |b|) of the plane, as
                  transforms spread the error of a large value over its neighbours
    deterministic whether two runs give the same bits
    filters       (shape, dtype) -> bytes of the transformed filters that run takes for b, at a multiple of 64 bytes;
                  None: run takes the filters as they are
    transform     (shape, dtype, b, filters) -> None: writes them, whatever the order of images in memory; worth keeping
                  while the weight does not change
    lacks         (extension) -> what it needs that the current device has not, or None
    statistics    None, or (run, workspace) of a fwd that measures its result for batch normalisation: this run has
                  float32 (K,) arrays mean and var (biased) behind out, and no bias or relu
    channels_last whether it reads and writes images in (N, H, W, C) order, where the shape says so; else ``run`` copies
    """

    run: Callable
    takes: Callable
    workspace: Callable
    error: float
    bound: str = "element"
    deterministic: bool = True
    filters: Callable | None = None
    transform: Callable | None = None
    lacks: Callable = lambda extension: None
    statistics: tuple[Callable, Callable] | None = None
    channels_last: bool = False


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


def _winograd(direction):
    """The pixels of a channel of one image are numbered in 31 bits. For few products, see _fft."""

    def takes(shape, dtype):
        fits = max(shape.H * shape.W, shape.P * shape.Q) < 2**31 and not 1 <= shape.terms(direction) < 25
        plain = (shape.R, shape.S, shape.stride, shape.dilation) == (3, 3, (1, 1), (1, 1))
        return fits and plain and dtype != "float64"

    return takes


def _depthwise(shape, dtype):
    """The pixels of a channel, and the taps of all, are numbered in 31 bits."""
    pixels, taps = shape.N * max(shape.H * shape.W, shape.P * shape.Q), shape.K * shape.R * shape.S
    return max(pixels, taps) < 2**31 and shape.groups == shape.C and dtype != "float64"


def _fft(direction):
    """A transform rounds as often for few products as for many: sums of fewer than 16 could pass the error factor."""

    def takes(shape, dtype):
        plain = (shape.stride, shape.dilation) == ((1, 1), (1, 1)) and dtype != "float64"
        return plain and max(shape.R, shape.S) <= 128 and not 1 <= shape.terms(direction) < 16

    return takes


def _implicit(shape, dtype):
    """The elements of a group's image and filter are numbered in 32 bits; in channels_last order groups are mixed."""
    image = max(shape.C * shape.H * shape.W, shape.K * shape.P * shape.Q)
    image //= 1 if shape.channels_last else shape.groups
    filters = (max(shape.C, shape.K) // shape.groups + 8) * shape.R * shape.S
    return max(image, filters) < 2**31


def _hopper(direction):
    """What tensor maps of images can say. wgrad adds up few enough terms at a time by itself.

    In the model of tensor cores, a sum of L 16-bit products of one sign is low by 0.38 L units of 2**-24.
    """

    def takes(shape, dtype):
        reach = (d * (taps - 1) for d, taps in zip(shape.dilation, (shape.R, shape.S), strict=True))
        fits = max(shape.stride) <= 8 and max(*shape.pad, *reach) <= 127 and _implicit(shape, dtype)
        few = direction == "wgrad" or shape.terms(direction) <= 6144
        return fits and few and shape.groups == 1 and dtype in ("float16", "bfloat16")

    return takes


def _lacks_hopper(extension):
    return None if extension.implicit_hopper_available() else "a GPU of compute capability 9.0, and code for sm_90a"


def _measure_hopper(shape, dtype, a, b, out, mean, var, workspace):
    name = "conv_implicit_hopper_fwd_statistics"
    launch(name, shape, dtype, a, b, out, mean, var, workspace, workspace.nbytes)


def _measuring_hopper(shape, dtype):
    return native.cuda().conv_implicit_hopper_workspace(shape, dtype, "fwd_statistics")


def _split(direction):
    """A product of split operands is off by up to 8 units of 2**-24: too much for the law where few are summed."""
    return lambda shape, dtype: _implicit(shape, dtype) and dtype == "float32" and shape.terms(direction) >= 32


def _winograd_split(direction):
    """As winograd and _split; and 36 planes of each channel, 16 times over, are numbered in 31 bits."""
    winograd, split = _winograd(direction), _split(direction)
    return lambda shape, dtype: winograd(shape, dtype) and split(shape, dtype) and max(shape.C, shape.K) < 2**21


def _rows(device, direction):
    """direct     each output element summed on its own, as the definition says: the reference meaning
    im2col     receptive fields become columns of a matrix, and one GEMM does the rest (Chellapilla et al. 2006; Caffe)
    gemm       1x1 filters with stride 1: the images are the matrices
    winograd   minimal filtering F(m x m, 3x3): fewer products, more additions (Lavin & Gray 2016)
    depthwise  for one input channel a group: each output summed from shifted rows of pixels, in registers
    fft        products of the spectra of overlapping tiles: pays for large filters (Vasilache et al. 2015)
    implicit   the product of im2col without its columns: tiles are gathered as they are needed (Chetlur et al. 2014)
    implicit_split  the same at float32 accuracy on tensor cores, by operands in two parts (Ootomo & Yokota 2022);
                    an infinite operand gives NaN
    implicit_hopper    the same for 16 bits on GPUs of compute capability 9.0, whose copy engine gathers the tiles
    winograd4_split  winograd4 with the products of implicit_split
    winograd2_fused  winograd2 in one kernel, whose planes never reach memory: for few channels, which make few products
                     of them (Yan, Wang & Chu 2020); not for wgrad
    """
    rows = {
        "direct": _row(device, direction, "direct", _any, error=2.0),
        "im2col": _row(device, direction, "im2col", _any, error=2.0),
        "gemm": replace(_row(device, direction, "gemm", _pointwise, error=2.0), channels_last=True),
    }
    transforms = direction != "wgrad"
    errors = (1.0, 6.0) if transforms else (2.0, 10.0)  # 0.7 and 4.4 of three channels; of 16, 0.2 and 0.9
    for name, error in zip(("winograd2", "winograd4"), errors, strict=True):
        rows[name] = _row(device, direction, name, _winograd(direction), error, "plane", transforms)
    rows["depthwise"] = _row(device, direction, "depthwise", _depthwise, error=1.3)
    rows["fft"] = _row(device, direction, "fft", _fft(direction), 2.0, "plane", transforms)
    if device == "cuda":
        for name, takes, error, bound in (
            ("implicit", _implicit, 4.0, "element"),  # by sums of one sign in 16 bits; of other sums, below 1
            ("implicit_split", _split(direction), 2.0, "element"),
            ("implicit_hopper", _hopper(direction), 32.0, "element"),  # the same; the terms are limited for it
            ("winograd4_split", _winograd_split(direction), 4.0, "plane"),
        ):
            row = _row(device, direction, name, takes, error, bound, transforms)
            rows[name] = replace(row, channels_last=name.startswith("implicit"))
        if transforms:
            name = "winograd2_fused"
            rows[name] = _row(device, direction, name, _winograd(direction), errors[0], "plane", transforms)
        measures = (_measure_hopper, _measuring_hopper) if direction == "fwd" else None
        rows["implicit_hopper"] = replace(rows["implicit_hopper"], lacks=_lacks_hopper, statistics=measures)
    return rows


ALGOS = {(device, direction): _rows(device, direction) for device in ("cpu", "cuda") for direction in DIRECTIONS}
