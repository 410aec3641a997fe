"""Optimizer: parameters in groups, what is remembered about each, and the step that changes them in place."""

from functools import partial
from types import SimpleNamespace
from typing import NamedTuple

from ..device import array_module, device_of, launch, to_device
from ..dtype import accumulate
from ..nn import Parameter


class Part(NamedTuple):
    """One parameter during a step; all arrays are C-contiguous."""

    stored: object  # what the network computes with
    value: object  # the same array, or for a 16-bit one its float32 master: takes the update
    grad: object  # in the dtype of stored or of value; not to be changed
    state: dict  # name -> array
    device: str


class Optimizer:
    """Base of the optimisers: a subclass defines ``state_names``, ``check`` and ``rule``.

    params      Parameters (or Tensors that require grad), each once; or groups of them, dicts of ``params`` and of
                what differs in the group: ``lr_scale``, which multiplies the learning rate, and any option but ``lr``
    options     numbers that ``step`` reads, by name; change them between steps: ``optimizer.lr = 0.01``, or for a
                group ``optimizer.groups[0]["lr_scale"] = 1``

    A parameter without a gradient, or frozen by ``requires_grad_(False)``, is left alone, weight decay included.
    State and arithmetic are in float32 (float64 for float64 parameters). A float16 or bfloat16 parameter has a
    float32 master copy here, which takes the update; the parameter is the master rounded once. The master starts
    from the parameter, and starts anew when anything but ``step`` has changed the parameter.

    Fine-tuning at 1/100 of the rate in the body and 1/10 in the layer below a new head:

    >>> from gpucnn import nn, optim
    >>> body, top, head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)
    >>> optimizer = optim.SGD(
    ...     [
    ...         {"params": body.parameters(), "lr_scale": 1 / 100},
    ...         {"params": top.parameters(), "lr_scale": 1 / 10},
    ...         {"params": head.parameters(), "weight_decay": 0},
    ...     ],
    ...     lr=0.1, weight_decay=1e-4,
    ... )
    """

    state_names = ()

    def __init__(self, params, **options):
        name, params = type(self).__name__, list(params)
        groups = params if params and all(isinstance(group, dict) for group in params) else [{"params": params}]
        self.option_names = tuple(options)
        vars(self).update(options)
        self.groups = [{"lr_scale": 1.0, **group, "params": list(group.get("params", ()))} for group in groups]
        self.params = [p for group in self.groups for p in group["params"]]
        if not self.params:
            raise ValueError(f"{name}: needs at least one parameter, but came none")
        for i, p in enumerate(self.params):
            trained = getattr(p, "requires_grad", False) or isinstance(p, Parameter)  # which may be frozen
            if not trained or not p.is_leaf:
                raise ValueError(f"{name}: parameters are leaves that require grad, but number {i} is not")
        if len({id(p) for p in self.params}) < len(self.params):
            raise ValueError(f"{name}: each parameter is listed once, but one came twice")
        self._check_groups(name, options, self._settings())
        self.state = [{} for _ in self.params]  # name -> array, per parameter
        self.steps = [0] * len(self.params)  # steps taken, per parameter
        self.written = [None] * len(self.params)  # (array, version) as step left them, where there is a master

    def zero_grad(self):
        """Forget the gradients of all parameters."""
        for p in self.params:
            p.grad = None

    def step(self):
        """Change every parameter that has a gradient, in place; no graph records it."""
        number = 0
        for group, settings in zip(self.groups, self._settings(), strict=True):
            options = self._options({name: getattr(self, name) for name in self.option_names}, settings)
            batches = {}  # of parameters that one native call can take
            for i, p in enumerate(group["params"], number):
                if p.grad is not None and p.requires_grad:
                    part = self._part(i, p)
                    self.steps[i] += 1
                    kind = (part.device, part.stored.dtype, part.grad.dtype, self.steps[i])
                    batches.setdefault(kind, []).append((i, p, part))
            number += len(group["params"])
            for (*_, step), batch in batches.items():
                self.update([part for *_, part in batch], options, step)
                for i, p, part in batch:
                    if part.stored is not p.data:
                        p.data[...] = part.stored
                    p.version[0] += 1
                    self.written[i] = (id(p.data), p.version[0])

    def _part(self, i, p):
        data, grad, state = p.data, p.grad.data, self.state[i]
        dtype, wide, device = data.dtype, accumulate(data.dtype), device_of(data)
        if grad.shape != data.shape or device_of(grad) != device:
            raise ValueError(
                f"{type(self).__name__}.step: a gradient has shape and device of its parameter, but came"
                f" {grad.shape} on {device_of(grad)} ({data.shape} on {device})"
            )
        if grad.dtype != dtype and grad.dtype != wide:
            grad = grad.astype(wide)
        stored = value = _contiguous(data)
        if dtype != wide:
            if "master" not in state or self.written[i] != (id(data), p.version[0]):
                state["master"] = stored.astype(wide)
            value = state["master"]
        return Part(stored, value, _contiguous(grad), state, device)

    def update(self, parts, options, step):
        """Take a step on parameters that share options, device, dtypes and ``step``, which counts from 1."""
        for part in parts:
            grad = part.grad.astype(part.value.dtype, copy=False)
            self.rule(part.value, grad, partial(self.slot, part), options, step)
            if part.stored is not part.value:
                part.stored[...] = part.value.astype(part.stored.dtype)

    def rule(self, value, grad, slot, options, step):
        """Change the array ``value`` in place, and the arrays ``slot(name)`` of the state, but not ``grad``."""
        raise NotImplementedError

    def launch(self, name, parts, slots, *numbers):
        """Call the native step ``name`` once for all parts; ``slots`` are names in their state, None for no array."""
        stored = [0 if part.stored is part.value else part.stored for part in parts]
        lists = [[self.slot(part, slot) if slot else 0 for part in parts] for slot in slots]
        values, grads = [part.value for part in parts], [part.grad for part in parts]
        dtypes = parts[0].stored.dtype.name, parts[0].grad.dtype.name
        launch(name, *dtypes, [value.size for value in values], values, grads, *lists, stored, *numbers)

    def slot(self, part, name):
        """The array ``name`` of a parameter's state, zeros at first; it follows the parameter's device and dtype."""
        array, like = part.state.get(name), part.value
        if array is None:
            array = part.state[name] = array_module(like).zeros_like(like)
        elif array.shape != like.shape:
            raise ValueError(
                f"{type(self).__name__}.step: a parameter keeps its shape, but came {like.shape} ({array.shape} before)"
            )
        elif array.dtype != like.dtype or device_of(array) != part.device:
            array = part.state[name] = to_device(array.astype(like.dtype), part.device)
        return array

    def check(self, options):
        """Raise a ValueError where an option of ``options`` cannot be."""

    def require(self, rule, holds, value):
        """Raise the ValueError of ``check`` unless the rule holds."""
        if not holds:
            raise ValueError(f"{type(self).__name__}: {rule}, but came {value}")

    def _settings(self):
        """What differs in each group: all but its parameters."""
        return [{name: value for name, value in group.items() if name != "params"} for group in self.groups]

    def _options(self, options, settings):
        """The options of one group, as attributes."""
        found = SimpleNamespace(**{**options, **settings})
        found.lr *= found.lr_scale
        return found

    def _check_groups(self, name, options, settings):
        known = {"lr_scale", *options} - {"lr"}
        for setting in settings:
            if not {"lr_scale"} <= setting.keys() <= known:
                came = ", ".join(sorted(setting.keys() - known)) or "none of these"
                raise ValueError(f"{name}: a group takes params, {', '.join(sorted(known))}, but came {came}")
            self.require("lr_scale is not negative", setting["lr_scale"] >= 0, setting["lr_scale"])
            self.check(self._options(options, setting))

    def state_dict(self):
        """What ``load_state_dict`` takes: JSON values, and under "arrays" the arrays themselves, not copies.

        {"options": {name: number}, "groups": [{name: number}], "steps": [int], "arrays": {"3.velocity": array}}
        """
        return {
            "options": {name: getattr(self, name) for name in self.option_names},
            "groups": self._settings(),
            "steps": list(self.steps),
            "arrays": {f"{i}.{name}": array for i, state in enumerate(self.state) for name, array in state.items()},
        }

    def load_state_dict(self, saved):
        """Continue from what ``state_dict`` gave; load the parameters first. Wrong names and shapes: ValueError."""
        self.check_state_dict(saved)
        self.state = [{} for _ in self.params]
        for key, array in saved["arrays"].items():
            i, part = int(key.partition(".")[0]), key.partition(".")[2]
            p = self.params[i]
            self.state[i][part] = to_device(_contiguous(array.astype(accumulate(p.dtype))), p.device)
        self.steps = list(saved["steps"])
        vars(self).update(saved["options"])
        for group, settings in zip(self.groups, saved["groups"], strict=True):
            params = group["params"]
            group.clear()
            group.update(params=params, **settings)
        self.written = [(id(p.data), p.version[0]) for p in self.params]

    def check_state_dict(self, saved):
        """Raise the ValueError that ``load_state_dict`` would raise; change nothing."""
        name = f"{type(self).__name__}.load_state_dict"
        if len(saved["steps"]) != len(self.params):
            raise ValueError(f"{name}: has {len(self.params)} parameters, but the state is of {len(saved['steps'])}")
        if saved["options"].keys() != set(self.option_names):
            raise ValueError(f"{name}: options are {[*self.option_names]}, but came {[*saved['options']]}")
        groups = saved.get("groups", ())
        if len(groups) != len(self.groups):
            raise ValueError(f"{name}: has {len(self.groups)} groups, but the state is of {len(groups)}")
        self._check_groups(name, saved["options"], groups)
        for key, array in saved["arrays"].items():
            number, _, part = key.partition(".")
            if part not in (*self.state_names, "master") or not number.isdigit() or int(number) >= len(self.params):
                raise ValueError(f"{name}: state is called N.{{{', '.join(self.state_names)}}}, but came {key}")
            shape = self.params[int(number)].shape
            if tuple(array.shape) != shape:
                raise ValueError(f"{name}: {key} has the shape of its parameter, {shape}, but came {array.shape}")


def _contiguous(array):
    return array if array.flags.c_contiguous else array.copy()
