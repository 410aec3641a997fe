"""Activations. Those with a formula of their own compute in float32 for 16-bit dtypes and round once."""

from .. import checks
from .. import dtype as dtypes
from ..autograd import Function
from ..device import array_module, launch
from ..tensor import as_tensor
from .elementwise import _float, unbroadcast


class LeakyRelu(Function):
    """ReLU where the slope is 0."""

    pointwise = True
    slope = 0.0

    def forward(self, x):
        xp = array_module(x)
        y = xp.empty(x.shape, x.dtype)
        positive = xp.empty(x.shape, bool) if self.needs[0] else 0  # a byte per element, not x; 0: not wanted
        launch("leaky_relu_fwd", x.dtype, self.slope, x.size, xp.ascontiguousarray(x), y, positive)
        if self.needs[0]:
            self.save(positive)
        return y

    def backward(self, gy):
        return sloped(gy, *self.saved, self.slope)


class Relu(LeakyRelu):
    """Apart for its name in reports and errors."""


def sloped(gy, positive, slope=0.0):
    """gy where x was positive, else slope gy: the gradient of (leaky) ReLU."""
    xp = array_module(gy)
    gx = xp.empty(gy.shape, gy.dtype)
    launch("leaky_relu_bwd", gy.dtype, slope, gy.size, xp.ascontiguousarray(gy), positive, gx)
    return gx


class Prelu(Function):
    pointwise = True

    def forward(self, x, slope):
        self.save(x, slope)
        return array_module(x).where(x > 0, x, x * slope).astype(x.dtype, copy=False)  # CuPy has float32 for bfloat16

    def backward(self, gy):
        x, slope = self.saved
        xp, positive = array_module(x), x > 0
        gx = xp.where(positive, gy, gy * slope) if self.needs[0] else None
        if not self.needs[1]:
            return gx, None
        wide = dtypes.accumulate(x.dtype)
        products = xp.where(positive, wide.type(0), gy.astype(wide, copy=False) * x)
        return gx, unbroadcast(products, slope.shape)


class WithSlope(Function):
    """What has a native function, of the name of the class, that takes one ``option`` and gives value and slope."""

    pointwise = True

    def forward(self, x):
        xp = array_module(x)
        y = xp.empty(x.shape, x.dtype)
        slope = xp.empty(x.shape, x.dtype) if self.needs[0] else 0  # 0: not wanted
        launch(self.name(), x.dtype, self.option, x.size, xp.ascontiguousarray(x), y, slope)
        if self.needs[0]:
            self.save(slope)
        return y

    def backward(self, gy):
        (slope,) = self.saved
        return gy * slope


class Elu(WithSlope):
    """option: alpha."""


class Gelu(WithSlope):
    """option: whether by tanh."""


class Sigmoid(Function):
    pointwise = True

    def forward(self, x):
        xp, wide = array_module(x), x.astype(dtypes.accumulate(x.dtype), copy=False)
        one, power = wide.dtype.type(1), xp.exp(-xp.abs(wide))  # at most 1: no overflow, and no digits lost
        y = (xp.where(wide < 0, power, one) / (one + power)).astype(x.dtype)
        self.save(y)
        return y

    def backward(self, gy):
        (y,) = self.saved
        return gy * y * (y.dtype.type(1) - y)


class Tanh(Function):
    pointwise = True

    def forward(self, x):
        y = array_module(x).tanh(x)
        self.save(y)
        return y

    def backward(self, gy):
        (y,) = self.saved
        one = y.dtype.type(1)
        return gy * ((one - y) * (one + y))  # the factors keep the digits that 1 - y y loses


def relu(x):
    """max(x, 0), in float32 for integers; the gradient is zero where x <= 0. A NaN stays a NaN.

    >>> relu(as_tensor([-1.0, 0.0, 2.0]))
    tensor([0., 0., 2.])
    """
    return Relu.apply(_float(x))


def leaky_relu(x, slope=0.01):
    """x where it is positive, else slope x; at 0 the gradient is the slope (Maas et al. 2013).

    >>> leaky_relu(as_tensor([-1.0, 2.0]), 0.1)
    tensor([-0.1,  2. ])
    """
    x = as_tensor(x)
    checks.floats("leaky_relu", x)
    return LeakyRelu.apply(x, slope=float(slope))


def prelu(x, weight):
    """x where it is positive, else weight x, with a learned weight (He et al. 2015, eq. 1).

    x         (N, C, ...)        float
    weight    (1,) or (C,)       one slope for all channels, or one a channel; same dtype and device as x

    >>> prelu(as_tensor([[-1.0, -1.0]]), as_tensor([0.5, 0.25]))
    tensor([[-0.5 , -0.25]])
    """
    x, weight = as_tensor(x), as_tensor(weight)
    checks.floats("prelu", x, weight)
    if x.ndim < 2 or weight.shape not in ((1,), x.shape[1:2]):
        raise ValueError(f"prelu: weight has one value, or one a channel, but came {weight.shape} (x {x.shape})")
    return Prelu.apply(x, weight.reshape(1, -1, *[1] * (x.ndim - 2)))


def elu(x, alpha=1.0):
    """x where it is positive, else alpha (e ** x - 1) (Clevert, Unterthiner & Hochreiter 2016)."""
    x = as_tensor(x)
    checks.floats("elu", x)
    return Elu.apply(x, option=float(alpha))


def gelu(x, approximate="none"):
    """x times the probability that a standard normal number is below x (Hendrycks & Gimpel 2016).

    approximate    "none": that probability to a few units in the last place, also where it is small;
                   "tanh": (1 + tanh(sqrt(2 / pi) (x + 0.044715 x ** 3))) / 2 in its place

    >>> gelu(as_tensor([-1.0, 0.0, 1.0]))
    tensor([-0.1587,  0.    ,  0.8413])
    """
    x = as_tensor(x)
    checks.floats("gelu", x)
    if approximate not in ("none", "tanh"):
        raise ValueError(f"gelu: approximate is none or tanh, but came {approximate!r} ({x.shape})")
    return Gelu.apply(x, option=approximate == "tanh")


def sigmoid(x):
    """1 / (1 + e ** -x)."""
    return Sigmoid.apply(_float(x))


def tanh(x):
    """Hyperbolic tangent."""
    return Tanh.apply(_float(x))
