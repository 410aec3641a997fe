"""Module: a tree of layers with named parameters and buffers."""

import numpy as np

from .. import autograd, config
from ..device import to_device
from ..dtype import accumulate, as_dtype, is_float
from ..layout import LAYOUTS
from ..tensor import Tensor, as_tensor


class Parameter(Tensor):
    """A tensor or array that training changes, on the same memory: it requires grad, and its Module lists it."""

    def __init__(self, data):
        data = as_tensor(data)
        super().__init__(data.data, requires_grad=True, version=data.version)


class Buffer(Tensor):
    """A tensor or array that is state of its Module but is not trained, such as a running mean."""

    def __init__(self, data):
        data = as_tensor(data)
        super().__init__(data.data, version=data.version)


def new_parameter(*shape):
    """A float32 Parameter of zeros."""
    if min(shape) < 1:
        raise ValueError(f"nn: the sizes of a parameter are positive, but came {shape}")
    return Parameter(np.zeros(shape, np.float32))


def shown(options):
    """Options as ``repr`` of a layer shows them: "stride=2, padding=1"."""
    return ", ".join(f"{name}={value!r}" for name, value in options.items())


class Module:
    """A layer or a network: ``forward``, and as attributes its parameters, buffers and child Modules.

    Every attribute that is a Parameter, Buffer or Module is part of the state, under its attribute name, in the
    order of assignment; there is nothing to register. Names in ``state_dict`` are joined with dots as in PyTorch:
    "conv1.weight".
    """

    training = True
    layout = None  # the order in memory that images are brought to, where ``to`` was told one

    def forward(self, *inputs):
        raise NotImplementedError(f"{type(self).__name__}: a Module defines forward, but this one does not")

    def __call__(self, *inputs, **options):
        if self.layout:
            inputs = [x.to(self.layout) if isinstance(x, Tensor) and x.ndim == 4 else x for x in inputs]
        if config.get("debug") < 3:
            return self.forward(*inputs, **options)
        token = autograd.running.set((self, self._path()))
        try:
            return self.forward(*inputs, **options)
        finally:
            autograd.running.reset(token)

    def _path(self):
        """The path from the outermost Module that runs to this one, which runs next; "" where this is the outermost."""
        caller, path = autograd.running.get()
        if caller is None:
            return ""
        name = next((name for name, module in caller.named_modules() if module is self), type(self).__name__)
        return f"{path}.{name}" if path else name

    def children(self):
        """(name, Module) of each direct child."""
        return [(name, value) for name, value in vars(self).items() if isinstance(value, Module)]

    def named_modules(self, prefix=""):
        """(path, Module) of this Module, whose path is "", and of every Module below it, parents first."""
        yield prefix, self
        for name, child in self.children():
            yield from child.named_modules(f"{prefix}.{name}" if prefix else name)

    def modules(self):
        """This Module and every Module below it, parents first."""
        return (module for _, module in self.named_modules())

    def _named(self, kind, prefix=""):
        for name, value in vars(self).items():
            if isinstance(value, kind):
                yield prefix + name, value
        for name, child in self.children():
            yield from child._named(kind, f"{prefix}{name}.")

    def named_parameters(self):
        """(name, Parameter) of the whole tree, each Parameter once, even where two Modules share it."""
        seen = set()
        for name, parameter in self._named(Parameter):
            if id(parameter) not in seen:
                seen.add(id(parameter))
                yield name, parameter

    def parameters(self):
        """Every Parameter of the tree once: what an optimiser takes."""
        return [parameter for _, parameter in self.named_parameters()]

    def named_buffers(self):
        """(name, Buffer) of the whole tree."""
        yield from self._named(Buffer)

    def buffers(self):
        """Every Buffer of the tree."""
        return [buffer for _, buffer in self.named_buffers()]

    def train(self, mode=True):
        """Set training mode (dropout active, batch statistics used) in the whole tree; returns self."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self):
        """The opposite of ``train``; returns self."""
        return self.train(False)

    def requires_grad_(self, requires_grad=True):
        """Freeze (False) or thaw (True) every parameter of the tree; returns self.

        An optimiser leaves frozen parameters alone. Batch norm in training mode still moves its running statistics:
        ``eval()`` stops that, too.
        """
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self):
        """Forget all gradients."""
        for parameter in self.parameters():
            parameter.grad = None

    def to(self, target, dtype=None):
        """Move to a device ("cuda"), change the dtype of the parameters ("bfloat16"), or both; returns self.

        Or ask for an order in memory ("channels_last", "channels_first"; ``gpucnn.to_layout``): images that this Module
        is called with are brought to it, once, and what is inside keeps it. Parameters have one order.

        The Parameter objects stay the same, so an optimiser made before keeps working. Buffers take the dtype in
        which sums are kept (float32 for the half types): running statistics lose no bits. Gradients are forgotten.
        """
        if dtype is None and isinstance(target, str) and target in LAYOUTS:
            self.layout = target
            return self
        device = target if dtype is not None or _is_device(target) else None
        dtype = dtype if device is not None else target
        dtype = None if dtype is None else as_dtype(dtype)
        if dtype is not None and not is_float(dtype):
            raise TypeError(f"Module.to: parameters are floating point, but the dtype asked for is {dtype}")
        for tensor in [*self.parameters(), *self.buffers()]:
            data = tensor.data
            if dtype is not None and is_float(data.dtype):
                wanted = dtype if isinstance(tensor, Parameter) else accumulate(dtype)
                data = data.astype(wanted, copy=False)
            tensor.data = data if device is None else to_device(data, device)
            tensor.grad = None
        return self

    def state_dict(self):
        """{name: array} of all parameters and buffers: the arrays themselves, not copies."""
        return {name: tensor.data for name, tensor in [*self._named(Parameter), *self._named(Buffer)]}

    def load_state_dict(self, state, strict=True):
        """Copy the arrays of state into the parameters and buffers, each keeping its device and dtype.

        state       {name: array or tensor}; tensors of other libraries come over DLPack
        strict      the names must be exactly those of ``state_dict()``; else names on one side only are left alone

        Names and shapes are checked before anything changes; errors are ValueErrors naming them.
        """
        own = dict([*self._named(Parameter), *self._named(Buffer)])
        name = type(self).__name__
        if strict and own.keys() != dict(state).keys():
            missing, extra = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
            raise ValueError(f"{name}.load_state_dict: names must match, but missing are {missing}, unknown {extra}")
        given = {key: as_tensor(state[key]).data for key in own if key in state}
        for key, array in given.items():
            if array.shape != own[key].shape:
                raise ValueError(
                    f"{name}.load_state_dict: {key} has shape {own[key].shape}, but the state has {array.shape}"
                )
        for key, array in given.items():
            tensor = own[key]
            # A copy: training must not change the caller's arrays.
            tensor.data = to_device(array.astype(tensor.data.dtype), tensor.device)

    def extra(self):
        """What ``repr`` shows between the parentheses of a layer without children."""
        return ""

    def __repr__(self):
        children = self.children()
        if not children:
            return f"{type(self).__name__}({self.extra()})"
        lines = [f"  ({name}): {child!r}".replace("\n", "\n  ") for name, child in children]
        return "\n".join([f"{type(self).__name__}(", *lines, ")"])


def _is_device(target):
    return isinstance(target, str) and (target == "cpu" or target.startswith("cuda"))
