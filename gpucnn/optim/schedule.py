"""Learning rates over time: functions of the step or epoch t = 0, 1, 2, ... that ``Schedule`` multiplies the rate by.

    step(every)  multi_step(milestones)  linear(total)  cosine(total)  one_cycle(total)  Plateau()
    warm_up(steps, any of these)

t counts whatever the caller counts: call ``Schedule.step`` after each step or after each epoch.
"""

import math
from bisect import bisect_right


def step(every, factor=0.1):
    """1, then ``factor`` times less (or more) after every ``every`` counts.

    >>> [step(2)(t) for t in range(5)]
    [1.0, 1.0, 0.1, 0.1, 0.010000000000000002]
    """
    _positive("step", every=every, factor=factor)
    return lambda t: float(factor) ** (t // every)


def multi_step(milestones, factor=0.1):
    """1, times ``factor`` from each of the milestones on."""
    milestones = sorted(milestones)
    _positive("multi_step", factor=factor)
    return lambda t: float(factor) ** bisect_right(milestones, t)


def linear(total):
    """From 1 straight to 0 at ``total``, then 0."""
    _positive("linear", total=total)
    return lambda t: max(0.0, 1 - t / total)


def cosine(total, floor=0.0, cycles=1):
    """Half a cosine from 1 to ``floor`` at ``total`` (SGDR, Loshchilov & Hutter 2016), then ``floor``.

    cycles      restarts at 1 so often within ``total``: the end of each cycle is a snapshot for an ``Ensemble``
                (Huang et al. 2017, Snapshot Ensembles)
    """
    _positive("cosine", total=total, cycles=cycles)
    if not 0 <= floor <= 1:
        raise ValueError(f"cosine: floor lies in [0, 1], but came {floor}")

    def function(t):
        at = t * cycles / total % 1 if t < total else 1.0
        return floor + (1 - floor) * (1 + math.cos(math.pi * at)) / 2

    return function


def one_cycle(total, start=1 / 25, end=1e-4 / 25, rise=0.3):
    """Half a cosine from ``start`` up to 1 over the share ``rise`` of ``total``, then one down to ``end``.

    Smith & Topin 2017, Super-Convergence. The defaults are those of PyTorch's OneCycleLR.
    """
    _positive("one_cycle", total=total, start=start, end=end)
    if not 0 <= rise < 1:
        raise ValueError(f"one_cycle: rise lies in [0, 1), but came {rise}")
    peak, last = rise * total - 1, total - 1

    def function(t):
        if t < peak:
            return start + (1 - start) * (1 - math.cos(math.pi * t / peak)) / 2
        at = min(1.0, (t - peak) / (last - peak))
        return end + (1 - end) * (1 + math.cos(math.pi * at)) / 2

    return function


def warm_up(steps, then=lambda t: 1.0):
    """The smaller of (t + 1) / steps and ``then(t)``: a straight rise to wherever the other function is.

    >>> [warm_up(4, linear(10))(t) for t in range(6)]
    [0.25, 0.5, 0.75, 0.7, 0.6, 0.5]
    """
    _positive("warm_up", steps=steps)
    return lambda t: min((t + 1) / steps, then(t))


class Plateau:
    """``factor`` times less whenever a metric has not improved for more than ``patience`` reports.

    threshold   an improvement is a metric better than the best by this share of it
    mode        "min": smaller is better (a loss), "max": larger is (an accuracy)
    floor       the smallest value

    >>> plateau = Plateau(factor=0.1, patience=0)
    >>> for loss in (1.0, 0.5, 0.5):
    ...     plateau.report(loss)
    >>> plateau(3)
    0.1
    """

    def __init__(self, factor=0.1, patience=10, threshold=1e-4, mode="min", floor=0.0):
        if not 0 < factor < 1 or patience < 0 or threshold < 0 or mode not in ("min", "max"):
            raise ValueError(
                "Plateau: factor lies in (0, 1), patience and threshold are not negative, mode is min or max, "
                f"but came {factor}, {patience}, {threshold} and {mode!r}"
            )
        self.factor, self.patience, self.threshold, self.mode, self.floor = factor, patience, threshold, mode, floor
        self.value, self.best, self.waited = 1.0, None, 0

    def __call__(self, t):
        return self.value

    def report(self, metric):
        """Tell the metric of an epoch; a NaN is no improvement."""
        sign = 1 if self.mode == "min" else -1
        if self.best is None or sign * metric < sign * self.best - self.threshold * abs(self.best):
            self.best, self.waited = (None if math.isnan(metric) else float(metric)), 0
            return
        self.waited += 1
        if self.waited > self.patience:
            self.value, self.waited = max(self.floor, self.value * self.factor), 0

    def state_dict(self):
        """{"value", "best", "waited"}: JSON values."""
        return {"value": self.value, "best": self.best, "waited": self.waited}

    def load_state_dict(self, saved):
        """Continue from what ``state_dict`` gave."""
        self.value, self.best, self.waited = saved["value"], saved["best"], saved["waited"]


class Schedule:
    """Keeps ``optimizer.lr`` at its first value times ``function(t)``, for all groups alike.

    function    of t = 0, 1, ... : one of this module, or any other

    >>> from gpucnn import nn, optim
    >>> optimizer = optim.SGD(nn.Linear(2, 2).parameters(), lr=0.4)
    >>> rate = Schedule(optimizer, warm_up(2, cosine(4)))
    >>> for epoch in range(4):
    ...     print(round(optimizer.lr, 3), end=" ")
    ...     rate.step()
    0.2 0.341 0.2 0.059

    Checkpoints take the state as JSON: ``save_checkpoint(path, model, optimizer, rate=rate.state_dict())``.
    """

    def __init__(self, optimizer, function):
        self.optimizer, self.function = optimizer, function
        self.lr, self.t = optimizer.lr, 0
        self._set()

    def step(self):
        """Count one on and set the learning rate."""
        self.t += 1
        self._set()

    def _set(self):
        self.optimizer.lr = self.lr * self.function(self.t)

    def state_dict(self):
        """{"lr": of factor 1, "t": count}, and the "function"'s own state where it has one: JSON values."""
        saved = {"lr": self.lr, "t": self.t}
        if hasattr(self.function, "state_dict"):
            saved["function"] = self.function.state_dict()
        return saved

    def load_state_dict(self, saved):
        """Continue from what ``state_dict`` gave, and set the learning rate."""
        self.lr, self.t = saved["lr"], saved["t"]
        if "function" in saved:
            self.function.load_state_dict(saved["function"])
        self._set()


def _positive(name, **values):
    for key, value in values.items():
        if not value > 0:
            raise ValueError(f"{name}: {key} is positive, but came {value}")
