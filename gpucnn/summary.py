"""What a network costs, layer by layer: shapes, activations, parameters, multiply-adds, receptive fields."""

from contextlib import contextmanager
from dataclasses import dataclass
from math import prod

from . import nn, ops
from .autograd import Function
from .conv import ConvShape
from .create import zeros

# A layer that can leave its result where its input was: no activations of its own, and no row.
IN_PLACE = (nn.Dropout, nn.ELU, nn.Flatten, nn.Identity, nn.LeakyReLU, nn.ReLU, nn.Sigmoid, nn.Tanh)


@dataclass(frozen=True)
class Field:
    """The receptive field of an output pixel: ``size`` (h, w) input pixels; neighbours lie ``jump`` (h, w) apart."""

    size: tuple[int, int]
    jump: tuple[int, int]


@dataclass(frozen=True)
class Layer:
    """One layer on one image.

    name            path of the Module in its network, "features.0"; "input" for the image itself
    kind            class of the Module
    output          shape without the batch; ``activations`` is its size, ``bytes`` what they take
    parameters      of this Module that no layer before it has
    multiply_adds   of a convolution or a fully connected layer; other arithmetic is small and counts 0
    field           a Field, or None where the path from the image has an operation of unknown geometry
    """

    name: str
    kind: str
    output: tuple[int, ...]
    bytes: int
    parameters: int
    multiply_adds: int
    field: Field | None

    @property
    def activations(self):
        return prod(self.output)


@dataclass(frozen=True)
class Summary:
    """The layers that an evaluation of a network runs, in order, the input first, and the sums over them.

    unused      parameters of layers that the evaluation does not reach, such as heads for training
    """

    layers: tuple[Layer, ...]
    unused: int

    def total(self, column):
        """The sum of "activations", "bytes", "parameters" or "multiply_adds" over the layers."""
        return sum(getattr(layer, column) for layer in self.layers)


def summarize(network, image):
    """The Summary of a Module on one image of shape (C, H, W).

    The network runs on an empty batch, which has all shapes but costs no arithmetic; make it inside ``nn.init.skip()``
    to save its initial values too. Layers that can work in place (ReLU, dropout) have no row, nor have operations
    that are no Module, such as the sum of a residual block. Errors are those of the layers.

    >>> summary = summarize(nn.Sequential(nn.Conv2d(3, 10, 5, padding=2), nn.ReLU()), (3, 32, 32))
    >>> [layer.output for layer in summary.layers], summary.total("parameters"), summary.layers[1].field
    ([(3, 32, 32), (10, 32, 32)], 760, Field(size=(5, 5), jump=(1, 1)))
    """
    parameter = next(iter(network.parameters()), None)
    place = {} if parameter is None else {"dtype": parameter.dtype, "device": parameter.device}
    x = zeros(0, *image, **place, requires_grad=True)  # so that the graph says where a value comes from
    fields, counted = _Fields(x), set()
    layers = [Layer("input", "", tuple(image), _bytes(x), 0, 0, fields.of(x))]

    def called(name, module, inputs, y):
        own = [value for value in vars(module).values() if isinstance(value, nn.Parameter) and id(value) not in counted]
        counted.update(map(id, own))
        layers.append(
            Layer(
                name,
                type(module).__name__,
                y.shape[1:],
                _bytes(y),
                sum(value.size for value in own),
                _multiply_adds(module, inputs, y),
                fields.of(y),
            )
        )

    with _watched(network, called):
        network(x)
    every = sum(value.size for value in network.parameters())
    return Summary(tuple(layers), every - sum(layer.parameters for layer in layers))


def _bytes(tensor):
    return prod(tensor.shape[1:]) * tensor.dtype.itemsize


def _multiply_adds(module, inputs, y):
    """One row of the weight for every output value; of a transposed convolution, for every input value."""
    if not isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
        return 0
    values = inputs[0] if isinstance(module, nn.ConvTranspose2d) else y
    return prod(values.shape[1:]) * prod(module.weight.shape[1:])


@contextmanager
def _watched(network, called):
    """Evaluation mode, with ``called(name, module, inputs, output)`` after each layer that has a row."""
    modes = [(module, module.training) for module in network.modules()]
    layers = {id(module): (name, module) for name, module in _named(network) if _has_row(module)}

    def watch(name, module):
        forward = module.forward

        def forward_and_call(*inputs, **options):
            y = forward(*inputs, **options)
            called(name, module, inputs, y)
            return y

        module.forward = forward_and_call

    for name, module in layers.values():
        watch(name, module)
    network.eval()
    try:
        yield
    finally:
        for _, module in layers.values():
            del module.forward
        for module, mode in modes:
            module.training = mode


def _named(module, name=""):
    yield name, module
    for child_name, child in module.children():
        yield from _named(child, f"{name}.{child_name}" if name else child_name)


def _has_row(module):
    owns = any(isinstance(value, nn.Parameter) for value in vars(module).values())
    return (owns or not module.children()) and not isinstance(module, IN_PLACE)


class _Fields:
    """The receptive fields of tensors that were computed from an image, by walking their graph; each node once."""

    NOTHING = Field((0, 0), (0, 0))  # of what does not depend on the image

    def __init__(self, image):
        self.image, self.known = image, {}

    def of(self, tensor):
        return self._of(tensor if tensor.node is None else tensor.node)

    def _of(self, source):
        if source is self.image:
            return Field((1, 1), (1, 1))
        if not isinstance(source, Function):
            return self.NOTHING
        if source not in self.known:
            self.known[source] = self._after(source)
        return self.known[source]

    def _after(self, node):
        inputs = [(shape, self._of(edge)) for edge, (shape, _) in zip(node.edges, node.metas, strict=True)]
        found = []
        for shape, field in inputs:
            if field == self.NOTHING:
                continue
            window = _window(node, shape, node.output[0])
            if field is None or window is None:
                return None
            found.append(
                Field(
                    tuple(s + (w - 1) * j for s, w, j in zip(field.size, window[0], field.jump, strict=True)),
                    tuple(j * stride for j, stride in zip(field.jump, window[1], strict=True)),
                )
            )
        if not found:
            return self.NOTHING
        # Branches that meet, at pixels of one size or as a factor for whole planes.
        return Field(
            tuple(max(field.size[i] for field in found) for i in (0, 1)),
            tuple(min(field.jump[i] for field in found) for i in (0, 1)),
        )


def _window(node, before, after):
    """The window (h, w) and stride (h, w) through which a node sees the pixels before it; None where not known."""
    here = (1, 1), (1, 1)
    if isinstance(node, (ops.conv.Conv2d, ops.pool.MaxPool2d, ops.pool.AvgPool2d)):
        shape = node.shape
        return tuple(d * (n - 1) + 1 for d, n in zip(shape.dilation, (shape.R, shape.S), strict=True)), shape.stride
    if isinstance(getattr(node, "shape", None), ConvShape):
        return None
    if isinstance(node, ops.shape.GetItem):  # what pooling leaves out at an edge
        whole = isinstance(node.index, tuple) and all(isinstance(i, slice) and i.step is None for i in node.index)
        return here if whole else None
    if len(before) < 4 or (len(after) == 4 and before[2:] in (after[2:], (1, 1))):  # (1, 1): broadcast to planes
        return here
    if len(before) == 4 and (len(after) == 2 or after[2:] == (1, 1)):
        return before[2:], before[2:]  # the whole plane: flattened, or pooled to one pixel
    return None
