"""A network of gpucnn as PyTorch runs it: the operations of one training step, recorded, each as PyTorch's own."""

from contextlib import contextmanager

import numpy as np

from gpucnn import native
from gpucnn.autograd import Function
from gpucnn.device import to_device


@contextmanager
def recorded():
    """Note every operation inside the block, in order: a list of (class name, parameters, inputs, output)."""
    calls, apply = [], Function.__dict__["apply"]

    def noted(cls, *inputs, **parameters):
        out = apply.__func__(cls, *inputs, **parameters)
        calls.append((cls.__name__, parameters, inputs, out))
        return out

    Function.apply = classmethod(noted)
    try:
        yield calls
    finally:
        Function.apply = apply


def _conv(parameters):
    from torch.nn import functional

    shape = parameters["shape"]
    settings = (shape.stride, shape.pad, shape.dilation, shape.groups)
    if parameters["relu"]:
        return lambda x, w, b=None: functional.relu(functional.conv2d(x, w, b, *settings))
    return lambda x, w, b=None: functional.conv2d(x, w, b, *settings)


def _max_pool(parameters):
    from torch.nn import functional

    shape = parameters["shape"]
    window, pad, ceil = (shape.R, shape.S), shape.pad, reaches_over(parameters)
    if ceil:
        pad = tuple(p - s for p, s in zip(shape.pad, shape.stride, strict=True))
    return lambda x: functional.max_pool2d(x, window, shape.stride, pad, shape.dilation, ceil)


def reaches_over(parameters):
    """Whether a pooling window was padded by a stride more, for a size rounded up; the next operation cuts that off."""
    shape = parameters["shape"]
    return 2 * shape.pad[0] > shape.R


def _batch_norm(parameters):
    import torch

    running = [parameters[name] for name in ("running_mean", "running_var")]
    mean, var = (_tensor(t.data.copy()) for t in running)
    options = {"training": parameters["training"], "momentum": parameters["momentum"], "eps": parameters["eps"]}

    def run(x, w, b, *residual):
        y = sum(residual, torch.nn.functional.batch_norm(x, mean, var, w, b, **options))
        return torch.relu(y) if parameters["relu"] else y

    return run


def _dropout(parameters):
    from torch.nn import functional

    if parameters["shared"] is Ellipsis:
        return lambda x: functional.dropout(x, parameters["p"])
    return lambda x: x * functional.dropout(x.new_ones(len(x), *[1] * (x.ndim - 1)), parameters["p"])


def operation(name, parameters):
    """The function of PyTorch for an operation of gpucnn; a ValueError where there is none here."""
    import torch
    from torch.nn import functional

    p = parameters
    table = {
        "Add": lambda p: torch.add,
        "AvgPool2d": lambda p: (
            lambda x: functional.avg_pool2d(
                x, (p["shape"].R, p["shape"].S), p["shape"].stride, p["shape"].pad, False, p["count_include_pad"]
            )
        ),
        "BatchNorm": _batch_norm,
        "Cast": lambda p: lambda x: x.to(getattr(torch, p["dtype"].name)),
        "Cat": lambda p: lambda *parts: torch.cat(parts, p["axis"]),
        "Conv2d": _conv,
        "CrossEntropy": lambda p: lambda x, labels: functional.cross_entropy(x, labels, label_smoothing=p["smoothing"]),
        "Dropout": _dropout,
        "GetItem": lambda p: lambda x: x[p["index"]],
        "Linear": lambda p: functional.linear,
        "LocalResponseNorm": lambda p: (
            lambda x: functional.local_response_norm(x, p["size"], p["alpha"] * p["size"], p["beta"], p["k"])
        ),
        "MaxPool2d": _max_pool,
        "Mul": lambda p: torch.mul,
        "Relu": lambda p: functional.relu,
        "Reshape": lambda p: lambda x: x.reshape(p["shape"]),
        "Sum": lambda p: lambda x: x.sum(p["axes"], p["keepdims"]),
    }
    if name not in table:
        raise ValueError(f"--compare torch: the network's operations are {', '.join(table)}, but it has {name}")
    return table[name](p)


def _tensor(data):
    """An array as a tensor of PyTorch on the same device, of the same dtype."""
    import torch

    host = to_device(data, "cpu")
    if host.dtype == np.int64:
        tensor = torch.from_numpy(host.copy())
    else:  # bfloat16 arrays of ml_dtypes are unknown to PyTorch; every bfloat16 is a float32
        tensor = torch.from_numpy(host.astype(np.float32)).to(getattr(torch, host.dtype.name))
    return tensor if type(data) is np.ndarray else tensor.cuda(data.device.id)


class TorchStep:
    """A ``net.Step`` in PyTorch: the same batch, weights and phases, by SGD with momentum.

    channels_last    whether images and filters have that order in memory
    """

    def __init__(self, step, channels_last=False):
        import torch

        torch.set_num_threads(native.cpu().num_threads())
        with recorded() as calls:
            step.forward()
        self.expected, step.loss = step.loss.item(), None
        self.values, self.program, self.dropped = {}, [], any(name == "Dropout" for name, *_ in calls)
        parameters, self.parameters = {id(p) for p in step.model.parameters()}, []
        made, cut = set(), set()
        for name, given, inputs, out in calls:
            for tensor in inputs:
                if id(tensor) not in made and id(tensor) not in self.values:
                    value = _tensor(tensor.data)
                    if channels_last and value.ndim == 4:
                        value = value.contiguous(memory_format=torch.channels_last)
                    if id(tensor) in parameters:
                        self.parameters.append(value.requires_grad_())
                    self.values[id(tensor)] = value
            made.add(id(out))
            if name == "MaxPool2d" and reaches_over(given):
                cut.add(id(out))
            run = (lambda x: x) if name == "GetItem" and id(inputs[0]) in cut else operation(name, given)
            self.program.append((run, [id(tensor) for tensor in inputs], id(out)))
        self.optimiser = torch.optim.SGD(self.parameters, lr=1e-4, momentum=0.9)
        self.loss = None

    def forward(self):
        values = dict(self.values)
        for run, inputs, out in self.program:
            values[out] = run(*(values[i] for i in inputs))
        self.loss = values[out]

    def backward(self):
        self.optimiser.zero_grad()
        self.loss.backward()

    def update(self):
        self.loss = None
        self.optimiser.step()

    def check(self, tolerance):
        """A ValueError where the loss is not that of gpucnn; where nothing is dropped at random, it must be."""
        self.forward()
        found = float(self.loss.detach())
        if not self.dropped and not abs(found - self.expected) <= tolerance * abs(self.expected):
            raise ValueError(f"--compare torch: the loss is gpucnn's, {self.expected:.6g}, but it is {found:.6g}")
