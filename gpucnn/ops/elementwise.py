"""Element by element: arithmetic with NumPy broadcasting, dtype and device changes."""

from .. import device as devices
from .. import dtype as dtypes
from ..autograd import Function
from ..device import array_module
from ..tensor import Tensor, as_tensor


def unbroadcast(grad, shape):
    """Sum a gradient over the axes along which an operand of ``shape`` was broadcast; sums in float32."""
    if grad.shape == shape:
        return grad
    lead = grad.ndim - len(shape)
    axes = tuple(range(lead)) + tuple(i + lead for i, n in enumerate(shape) if n == 1 and grad.shape[i + lead] != 1)
    summed = grad.sum(axis=axes, dtype=dtypes.accumulate(grad.dtype), keepdims=True)
    return summed.reshape(shape).astype(grad.dtype, copy=False)


def _operands(a, b):
    """Two operands, either of which may be a number, as tensors of their common dtype."""
    if isinstance(a, Tensor):
        b = as_tensor(b, like=a)
    else:
        b = as_tensor(b)
        a = as_tensor(a, like=b)
    if a.dtype != b.dtype:
        dtype = dtypes.promote(a.dtype, b.dtype)
        a, b = astype(a, dtype), astype(b, dtype)
    return a, b


def _binary(function, a, b, **parameters):
    return _broadcasting(function, *_operands(a, b), **parameters)


def _broadcasting(function, *operands, **parameters):
    try:
        return function.apply(*operands, **parameters)
    except ValueError as error:
        if "broadcast" not in str(error):
            raise
        shapes = " and ".join(str(t.shape) for t in operands)
        raise ValueError(f"{function.name()}: shapes broadcast together, but came {shapes}") from None


class Add(Function):
    pointwise = True

    def forward(self, a, b):
        self.shapes = a.shape, b.shape
        return a + b

    def backward(self, gy):
        return tuple(unbroadcast(gy, s) if need else None for s, need in zip(self.shapes, self.needs, strict=True))


class Sub(Function):
    pointwise = True

    def forward(self, a, b):
        self.shapes = a.shape, b.shape
        return a - b

    def backward(self, gy):
        ga = unbroadcast(gy, self.shapes[0]) if self.needs[0] else None
        gb = unbroadcast(-gy, self.shapes[1]) if self.needs[1] else None
        return ga, gb


class Mul(Function):
    pointwise = True

    def forward(self, a, b):
        self.save(a if self.needs[1] else None, b if self.needs[0] else None)
        self.shapes = a.shape, b.shape
        return a * b

    def backward(self, gy):
        a, b = self.saved
        ga = unbroadcast(gy * b, self.shapes[0]) if self.needs[0] else None
        gb = unbroadcast(gy * a, self.shapes[1]) if self.needs[1] else None
        return ga, gb


class Div(Function):
    pointwise = True

    def forward(self, a, b):
        self.save(a if self.needs[1] else None, b)
        self.shapes = a.shape, b.shape
        return a / b

    def backward(self, gy):
        a, b = self.saved
        ga = unbroadcast(gy / b, self.shapes[0]) if self.needs[0] else None
        gb = unbroadcast(-gy * a / b / b, self.shapes[1]) if self.needs[1] else None
        return ga, gb


class Pow(Function):
    pointwise = True

    def forward(self, a, b):
        self.save(a, b)
        return array_module(a).power(a, b)

    def backward(self, gy):
        a, b = self.saved
        xp, one = array_module(a), b.dtype.type(1)
        ga = gb = None
        if self.needs[0]:  # x**0 has gradient 0 at x = 0 too, where 0 * 0**-1 would be NaN
            slope = b * xp.power(xp.where(b == 0, one, a), b - one)
            ga = unbroadcast(gy * slope, a.shape)
        if self.needs[1]:  # a**b * log(a) -> 0 at a = 0
            slope = xp.power(a, b) * xp.log(xp.where(a == 0, one, a))
            gb = unbroadcast(gy * slope, b.shape)
        return ga, gb


class Maximum(Function):
    """The larger (or, with sign -1, the smaller) of two; a tie shares the gradient equally."""

    pointwise = True

    def forward(self, a, b):
        self.save(a, b)
        xp = array_module(a)
        return xp.maximum(a, b) if self.sign > 0 else xp.minimum(a, b)

    def backward(self, gy):
        a, b = self.saved
        half = gy.dtype.type(0.5)
        ahead = (a > b) if self.sign > 0 else (a < b)
        behind = (a < b) if self.sign > 0 else (a > b)
        share = ahead.astype(gy.dtype) + (a == b).astype(gy.dtype) * half
        other = behind.astype(gy.dtype) + (a == b).astype(gy.dtype) * half
        return unbroadcast(gy * share, a.shape), unbroadcast(gy * other, b.shape)


class Where(Function):
    pointwise = True

    def forward(self, condition, a, b):
        self.save(condition)
        self.shapes = a.shape, b.shape
        return array_module(a).where(condition, a, b).astype(a.dtype, copy=False)  # CuPy has float32 for bfloat16

    def backward(self, gy):
        (condition,) = self.saved
        xp, zero = array_module(gy), gy.dtype.type(0)
        ga = unbroadcast(xp.where(condition, gy, zero), self.shapes[0])
        gb = unbroadcast(xp.where(condition, zero, gy), self.shapes[1])
        return None, ga, gb


class Neg(Function):
    pointwise = True

    def forward(self, x):
        return -x

    def backward(self, gy):
        return -gy


class Abs(Function):
    pointwise = True

    def forward(self, x):
        self.save(x)
        return array_module(x).abs(x)

    def backward(self, gy):
        (x,) = self.saved
        return gy * array_module(x).sign(x)


class Exp(Function):
    pointwise = True

    def forward(self, x):
        y = array_module(x).exp(x)
        self.save(y)
        return y

    def backward(self, gy):
        (y,) = self.saved
        return gy * y


class Log(Function):
    pointwise = True

    def forward(self, x):
        self.save(x)
        return array_module(x).log(x)

    def backward(self, gy):
        (x,) = self.saved
        return gy / x


class Sqrt(Function):
    pointwise = True

    def forward(self, x):
        y = array_module(x).sqrt(x)
        self.save(y)
        return y

    def backward(self, gy):
        (y,) = self.saved
        return gy / (y + y)


class Clip(Function):
    pointwise = True

    def forward(self, x):
        xp, y = array_module(x), x
        if self.low is not None:
            y = xp.maximum(y, x.dtype.type(self.low))
        if self.high is not None:
            y = xp.minimum(y, x.dtype.type(self.high))
        self.save(y == x)
        return y

    def backward(self, gy):
        (inside,) = self.saved
        return gy * inside


class Compare(Function):
    pointwise = True

    def forward(self, a, b):
        return getattr(array_module(a), self.ufunc)(a, b)  # bools, which have no gradient


class Cast(Function):
    pointwise = True

    def forward(self, x):
        return x.astype(self.dtype)

    def backward(self, gy):
        return gy  # backward() casts every gradient to the dtype of its input


class ToDevice(Function):
    pointwise = True

    def forward(self, x):
        self.source = devices.device_of(x)
        return devices.to_device(x, self.device)

    def backward(self, gy):
        return devices.to_device(gy, self.source)


def add(a, b):
    """a + b, elementwise with NumPy broadcasting; either may be a number."""
    return _binary(Add, a, b)


def sub(a, b):
    """a - b, elementwise with NumPy broadcasting; either may be a number."""
    return _binary(Sub, a, b)


def mul(a, b):
    """a * b, elementwise with NumPy broadcasting; either may be a number."""
    return _binary(Mul, a, b)


def div(a, b):
    """a / b, elementwise with NumPy broadcasting; integers divide as float32."""
    a, b = _operands(a, b)
    return _binary(Div, _float(a), _float(b))


def pow(a, b):
    """a ** b, elementwise with NumPy broadcasting; either may be a number."""
    return _binary(Pow, a, b)


def maximum(a, b):
    """The larger of a and b, elementwise; where they are equal each gets half of the gradient."""
    return _binary(Maximum, a, b, sign=1)


def minimum(a, b):
    """The smaller of a and b, elementwise; where they are equal each gets half of the gradient."""
    return _binary(Maximum, a, b, sign=-1)


def where(condition, a, b):
    """a where condition holds, else b; all three broadcast. The condition is a bool tensor.

    >>> where(as_tensor([True, False]), as_tensor([1.0, 2.0]), 0.0)
    tensor([1., 0.])
    """
    condition = as_tensor(condition)
    if condition.dtype != bool:
        raise TypeError(f"where: the condition is a bool tensor, but came {condition.dtype.name} {condition.shape}")
    a = as_tensor(a, like=b if isinstance(b, Tensor) else condition)
    return _broadcasting(Where, condition, *_operands(a, b))


def neg(x):
    """-x."""
    return Neg.apply(as_tensor(x))


def abs(x):
    """|x|; the gradient at 0 is 0."""
    return Abs.apply(as_tensor(x))


def _float(x):
    x = as_tensor(x)
    return x if dtypes.is_float(x.dtype) else astype(x, dtypes.float32)


def exp(x):
    """e ** x, in float32 for integers."""
    return Exp.apply(_float(x))


def log(x):
    """Natural logarithm, in float32 for integers."""
    return Log.apply(_float(x))


def sqrt(x):
    """Square root, in float32 for integers."""
    return Sqrt.apply(_float(x))


def clip(x, low=None, high=None):
    """x limited to [low, high], of which one may be None; the gradient passes where x is inside."""
    if low is None and high is None:
        raise ValueError("clip: needs a lower or an upper limit, but came none")
    return Clip.apply(as_tensor(x), low=low, high=high)


def compare(name, a, b):
    """A bool tensor from "equal", "not_equal", "less", "less_equal", "greater" or "greater_equal"."""
    return _binary(Compare, a, b, ufunc=name)


def astype(x, dtype):
    """x in another dtype; the gradient comes back in the dtype of x."""
    x, dtype = as_tensor(x), dtypes.as_dtype(dtype)
    return x if x.dtype == dtype else Cast.apply(x, dtype=dtype)


def to_device(x, device):
    """x on "cpu", "cuda" or "cuda:1"; the gradient comes back to the device of x."""
    kind, number = devices.parse(device)
    if x.device == (kind if kind == "cpu" else f"cuda:{number}"):
        return x
    return ToDevice.apply(x, device=device)
