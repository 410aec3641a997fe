"""Averages at test time: of the weights along a run, and of the predictions of several networks."""

import copy

import numpy as np

from .. import autograd
from ..dtype import accumulate, is_float
from ..nn import Buffer, Module
from ..ops import softmax


def _tensors(model):
    """Parameters and buffers, each once."""
    return list({id(tensor): tensor for tensor in [*model.parameters(), *model.buffers()]}.values())


def _frozen_copy(model):
    """A copy of a network in evaluation mode, without gradients."""
    twin = copy.deepcopy(model).eval()
    for parameter in twin.parameters():
        parameter.requires_grad, parameter.grad = False, None
    return twin


class MovingAverage(Module):
    """A network whose weights are the average of those that another one had: Polyak & Juditsky 1992.

    model       the network; a copy of it, in float32 where it is in 16 bits, holds the average
    decay       of the exponential average: after n updates the weight of the past is min(decay, n / (n + 1)), so that
                the first 1 / (1 - decay) updates count alike, and with decay = 1 all do

    Call ``update`` after each step, and the MovingAverage as the network itself. Buffers, such as running
    statistics, are averaged, too. It is a Module: its state goes where a network's does.
    """

    def __init__(self, model, decay=0.999):
        if not 0 <= decay <= 1:
            raise ValueError(f"MovingAverage: decay lies in [0, 1], but came {decay}")
        self.decay, self.count = decay, Buffer(np.zeros((), np.int64))
        self.model = _frozen_copy(model)
        for tensor in _tensors(self.model):
            if is_float(tensor.dtype):
                tensor.data = tensor.data.astype(accumulate(tensor.dtype))

    def forward(self, *inputs):
        return self.model(*inputs)

    def update(self, model):
        """Take the weights of the network, as they are now, into the average."""
        count = int(self.count.data)
        share = 1 - min(self.decay, count / (count + 1))
        mine, theirs = _tensors(self.model), _tensors(model)
        if [t.shape for t in mine] != [t.shape for t in theirs]:
            raise ValueError(
                "MovingAverage.update: takes the network that it was made of, but another came"
                f" ({len(mine)} and {len(theirs)} arrays, or of other shapes)"
            )
        for average, now in zip(mine, theirs, strict=True):
            if is_float(average.dtype):
                average.data += share * (now.data.astype(average.dtype, copy=False) - average.data)
            else:
                average.data[...] = now.data
            average.version[0] += 1
        self.count.data += 1

    def train(self, mode=True):
        """Nothing: an average is evaluated only."""
        return self


class Ensemble(Module):
    """The mean of the class probabilities of several networks that give logits.

    ``add`` takes a copy of a network as it is now, be it another network or, at the end of each cycle of
    ``cosine(total, cycles=M)``, a snapshot of the same one.

    >>> from gpucnn import nn, ones
    >>> ensemble = Ensemble()
    >>> for _ in range(3):
    ...     ensemble.add(nn.Linear(4, 2))
    >>> len(ensemble), ensemble(ones(5, 4)).shape
    (3, (5, 2))
    """

    def __init__(self, *models):
        for model in models:
            self.add(model)

    def add(self, model):
        """Append a copy of the network, in evaluation mode."""
        setattr(self, str(len(self)), _frozen_copy(model))

    def forward(self, *inputs):
        """Probabilities (N, classes) in float32, or in float64 for float64 logits."""
        if not len(self):
            raise ValueError("Ensemble: needs at least one network, but came none")
        total = 0.0
        with autograd.no_grad():
            for _, model in self.children():
                logits = model(*inputs)
                total = total + softmax(logits.astype(accumulate(logits.dtype)))
        return total / len(self)

    def train(self, mode=True):
        """Nothing: an ensemble is evaluated only."""
        return self

    def __len__(self):
        return len(self.children())
