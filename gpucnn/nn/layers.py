"""The layers: each holds parameters and calls one function of gpucnn; there is no mathematics here."""

import numpy as np

from .. import ops
from ..checks import pair
from . import init
from .module import Buffer, Module, Parameter


class Conv2d(Module):
    """Two-dimensional convolution, ``gpucnn.conv2d``.

    weight      (out_channels, in_channels/groups, R, S), from ``init.he_normal_``
    bias        (out_channels,), zeros; None with ``bias=False``
    """

    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size,
        stride=1,
        padding=0,
        dilation=1,
        groups=1,
        bias=True,
        algorithm="auto",
    ):
        r, s = pair(kernel_size, "kernel_size")
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(
                f"Conv2d: groups divides both channel counts, but came {groups} for {in_channels} -> {out_channels}"
            )
        self.options = {
            "stride": stride,
            "padding": padding,
            "dilation": dilation,
            "groups": groups,
            "algorithm": algorithm,
        }
        self.weight = init.he_normal_(_parameter(out_channels, in_channels // groups, r, s))
        self.bias = _parameter(out_channels) if bias else None

    def forward(self, x):
        return ops.conv2d(x, self.weight, self.bias, **self.options)

    def extra(self):
        defaults = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "algorithm": "auto"}
        k, c, r, s = self.weight.shape
        text = f"{c * self.options['groups']}, {k}, kernel_size=({r}, {s})"
        text += "".join(f", {name}={value!r}" for name, value in self.options.items() if value != defaults[name])
        return text + ("" if self.bias is not None else ", bias=False")


class Linear(Module):
    """y = x weight^T + bias, ``gpucnn.linear``.

    weight      (out_features, in_features), from ``init.he_normal_``
    bias        (out_features,), zeros; None with ``bias=False``
    """

    def __init__(self, in_features, out_features, bias=True):
        self.weight = init.he_normal_(_parameter(out_features, in_features))
        self.bias = _parameter(out_features) if bias else None

    def forward(self, x):
        return ops.linear(x, self.weight, self.bias)

    def extra(self):
        out_features, in_features = self.weight.shape
        return f"{in_features}, {out_features}" + ("" if self.bias is not None else ", bias=False")


class MaxPool2d(Module):
    """Largest value of each window, ``gpucnn.max_pool2d``; stride defaults to kernel_size."""

    def __init__(self, kernel_size, stride=None, padding=0, dilation=1):
        self.options = {
            "kernel_size": kernel_size,
            "stride": stride,
            "padding": padding,
            "dilation": dilation,
        }

    def forward(self, x):
        return ops.max_pool2d(x, **self.options)

    def extra(self):
        return _options(self.options)


class AvgPool2d(Module):
    """Mean of each window, ``gpucnn.avg_pool2d``; stride defaults to kernel_size."""

    def __init__(self, kernel_size, stride=None, padding=0, count_include_pad=True):
        self.options = {
            "kernel_size": kernel_size,
            "stride": stride,
            "padding": padding,
            "count_include_pad": count_include_pad,
        }

    def forward(self, x):
        return ops.avg_pool2d(x, **self.options)

    def extra(self):
        return _options(self.options)


class BatchNorm2d(Module):
    """Batch normalisation of each channel, ``gpucnn.batch_norm``: batch statistics in training, running ones in eval.

    weight, bias                    (channels,), ones and zeros
    running_mean, running_var       (channels,) buffers, zeros and ones; they move by ``momentum`` each training step
    """

    def __init__(self, channels, eps=1e-5, momentum=0.1):
        self.eps, self.momentum = eps, momentum
        self.weight, self.bias = _parameter(channels), _parameter(channels)
        self.weight.data[...] = 1
        self.running_mean = Buffer(np.zeros(channels, np.float32))
        self.running_var = Buffer(np.ones(channels, np.float32))

    def forward(self, x):
        return ops.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            training=self.training,
            momentum=self.momentum,
            eps=self.eps,
        )

    def extra(self):
        return f"{self.weight.shape[0]}, eps={self.eps}, momentum={self.momentum}"


class ReLU(Module):
    """max(x, 0), ``gpucnn.relu``."""

    def forward(self, x):
        return ops.relu(x)


class Sigmoid(Module):
    """1 / (1 + exp(-x)), ``gpucnn.sigmoid``."""

    def forward(self, x):
        return ops.sigmoid(x)


class Tanh(Module):
    """``gpucnn.tanh``."""

    def forward(self, x):
        return ops.tanh(x)


class Dropout(Module):
    """Zero each element with probability p and scale the rest by 1/(1 - p), in training only: ``gpucnn.dropout``."""

    def __init__(self, p=0.5):
        if not 0 <= p < 1:
            raise ValueError(f"Dropout: p is in [0, 1), but came {p}")
        self.p = p

    def forward(self, x):
        return ops.dropout(x, self.p, self.training)

    def extra(self):
        return f"p={self.p}"


class Flatten(Module):
    """(N, ...) to (N, features)."""

    def forward(self, x):
        return ops.flatten(x, 1)


class Softmax(Module):
    """``gpucnn.softmax`` over an axis, the last by default."""

    def __init__(self, axis=-1):
        self.axis = axis

    def forward(self, x):
        return ops.softmax(x, self.axis)

    def extra(self):
        return f"axis={self.axis}"


class LogSoftmax(Softmax):
    """``gpucnn.log_softmax`` over an axis, the last by default."""

    def forward(self, x):
        return ops.log_softmax(x, self.axis)


class CrossEntropyLoss(Module):
    """``gpucnn.cross_entropy`` of logits (N, classes) and labels (N,)."""

    def __init__(self, reduction="mean"):
        self.reduction = reduction

    def forward(self, logits, labels):
        return ops.cross_entropy(logits, labels, reduction=self.reduction)

    def extra(self):
        return f"reduction={self.reduction!r}"


class MSELoss(CrossEntropyLoss):
    """``gpucnn.mse_loss`` of two tensors of the same shape."""

    def forward(self, x, target):
        return ops.mse_loss(x, target, reduction=self.reduction)


class Sequential(Module):
    """Modules applied one after the other; named "0", "1", ... and reached by index.

    >>> net = Sequential(Linear(4, 3), ReLU())
    >>> net[0].weight.shape
    (3, 4)
    """

    def __init__(self, *modules):
        for i, module in enumerate(modules):
            if not isinstance(module, Module):
                raise TypeError(f"Sequential: takes Modules, but argument {i} is a {type(module).__name__}")
            setattr(self, str(i), module)

    def forward(self, x):
        for _, module in self.children():
            x = module(x)
        return x

    def __len__(self):
        return len(self.children())

    def __getitem__(self, index):
        return self.children()[index][1]


def _parameter(*shape):
    if min(shape) < 1:
        raise ValueError(f"nn: the sizes of a parameter are positive, but came {shape}")
    return Parameter(np.zeros(shape, np.float32))


def _options(options):
    return ", ".join(f"{name}={value!r}" for name, value in options.items())
