"""Optimizer: a list of parameters, what is remembered about each, and the step that changes them in place."""

from ..device import array_module, to_device
from ..dtype import accumulate


class Optimizer:
    """Base of SGD and Adam: a subclass defines ``state_names`` and ``update``.

    params      Parameters (or Tensors that require grad), each once
    options     numbers that ``step`` reads, by name; change them between steps: ``optimizer.lr = 0.01``

    State and arithmetic are in float32 (float64 for float64 parameters). A float16 or bfloat16 parameter has a
    float32 master copy here, which takes the update; the parameter is the master rounded once. The master starts
    from the parameter, and starts anew when anything but ``step`` has changed the parameter.
    """

    state_names = ()

    def __init__(self, params, **options):
        self.params = list(params)
        name = type(self).__name__
        if not self.params:
            raise ValueError(f"{name}: needs at least one parameter, but came none")
        for i, p in enumerate(self.params):
            if not getattr(p, "requires_grad", False) or not p.is_leaf:
                raise ValueError(f"{name}: parameters are leaves that require grad, but number {i} is not")
        if len({id(p) for p in self.params}) < len(self.params):
            raise ValueError(f"{name}: each parameter is listed once, but one came twice")
        self.option_names = tuple(options)
        vars(self).update(options)
        self.state = [{} for _ in self.params]  # name -> array, per parameter
        self.steps = [0] * len(self.params)  # steps taken, per parameter
        self.written = [None] * len(self.params)  # (array, version) as step left them, where there is a master

    def zero_grad(self):
        """Forget the gradients of all parameters."""
        for p in self.params:
            p.grad = None

    def step(self):
        """Change every parameter that has a gradient, in place; no graph records it."""
        for i, p in enumerate(self.params):
            if p.grad is None:
                continue
            state, wide = self.state[i], accumulate(p.dtype)
            value = p.data
            if wide != p.dtype:
                if "master" not in state or self.written[i] != (id(p.data), p.version[0]):
                    state["master"] = p.data.astype(wide)
                value = state["master"]
            self.steps[i] += 1
            self.update(value, p.grad.data.astype(wide, copy=False), state, self.steps[i])
            if value is not p.data:
                p.data[...] = value.astype(p.dtype)
            p.version[0] += 1
            self.written[i] = (id(p.data), p.version[0])

    def update(self, value, grad, state, step):
        """Change the array ``value`` in place; ``grad`` must not be changed; ``step`` counts from 1."""
        raise NotImplementedError

    def state_dict(self):
        """{"options": {name: number}, "steps": [int], "arrays": {"3.velocity": array}}; the arrays are not copies."""
        return {
            "options": {name: getattr(self, name) for name in self.option_names},
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
            self.state[i][part] = to_device(array.astype(accumulate(p.dtype)), p.device)
        self.steps = list(saved["steps"])
        vars(self).update(saved["options"])
        self.written = [(id(p.data), p.version[0]) for p in self.params]

    def check_state_dict(self, saved):
        """Raise the ValueError that ``load_state_dict`` would raise; change nothing."""
        name = f"{type(self).__name__}.load_state_dict"
        if len(saved["steps"]) != len(self.params):
            raise ValueError(f"{name}: has {len(self.params)} parameters, but the state is of {len(saved['steps'])}")
        if saved["options"].keys() != set(self.option_names):
            raise ValueError(f"{name}: options are {[*self.option_names]}, but came {[*saved['options']]}")
        for key, array in saved["arrays"].items():
            number, _, part = key.partition(".")
            if part not in (*self.state_names, "master") or not number.isdigit() or int(number) >= len(self.params):
                raise ValueError(f"{name}: state is called N.{{{', '.join(self.state_names)}}}, but came {key}")
            shape = self.params[int(number)].shape
            if tuple(array.shape) != shape:
                raise ValueError(f"{name}: {key} has the shape of its parameter, {shape}, but came {array.shape}")

    def _check(self, rule, holds, value):
        if not holds:
            raise ValueError(f"{type(self).__name__}: {rule}, but came {value}")

    def _zeros(self, state, name, like):
        if name not in state:
            state[name] = array_module(like).zeros_like(like)
        return state[name]
