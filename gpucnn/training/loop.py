"""The training loop: epochs of steps, evaluation, callbacks; its state between two steps goes into a checkpoint."""

import math
import time
from dataclasses import dataclass
from itertools import islice

import numpy as np

from ..amp import GradScaler, autocast
from ..checkpoint import load_checkpoint, save_checkpoint
from ..data import DataLoader
from ..ops import cross_entropy
from ..optim import Schedule
from ..tensor import Tensor
from .evaluation import evaluate, placed


class StopTraining(Exception):
    """Raised by a callback of ``fit``: training ends here, and ``fit`` returns."""


@dataclass(frozen=True)
class Step:
    """What a callback is told after a training step.

    epoch, batch    of the step, from 1 on              batches     of the epoch, None where the loader does not know
    images          of this batch                       lr          learning rate of the step
    loss            scalar Tensor on the device of the network; ``loss.item()`` waits for a GPU
    """

    epoch: int
    batch: int
    batches: int | None
    images: int
    lr: float
    loss: Tensor


class Training:
    """What ``fit`` works on, with its state between two steps: for runs that are saved and continued.

    The arguments are those of ``fit``. epoch: epochs that are done; batch: steps of the next one that are done;
    history: a row an epoch, as ``fit`` returns them.
    """

    def __init__(self, network, loader, optimizer, *, schedule=None, test=None, loss=None, amp=None, average=None):
        self.network, self.loader, self.optimizer, self.test = network, loader, optimizer, test
        self.rate = Schedule(optimizer, (lambda t: 1.0) if schedule is None else schedule)
        self.loss = loss or getattr(network, "loss", cross_entropy)
        self.amp, self.scaler, self.average = amp, GradScaler() if amp == "float16" else None, average
        if test is None and getattr(schedule, "mode", "min") == "max":
            raise ValueError("fit: a Plateau of mode max is told the accuracy on test, but there is no test")
        self.epoch, self.history, self.last_lr = 0, [], optimizer.lr
        self._begin()

    def _begin(self):
        """Nothing of an epoch is done yet: steps, images, the sum of their losses, seconds."""
        self.batch, self.images, self.total, self.seconds = 0, 0, 0.0, 0.0

    def fit(self, epochs, on_step=(), on_epoch=()):
        """Train until so many epochs are done in all, or a callback stops: ``fit``; returns ``history``."""
        try:
            while self.epoch < epochs:
                self._steps(_callbacks(on_step))
                _tell(_callbacks(on_epoch), self._end_epoch())
        except StopTraining:
            pass
        return self.history

    def evaluate(self):
        """The Evaluation of the network, or of its average, on ``test``."""
        return evaluate(self.network if self.average is None else self.average, self.test, amp=self.amp)

    def _steps(self, callbacks):
        """The steps of the epoch that are not done yet."""
        batches = len(self.loader) if hasattr(self.loader, "__len__") else None
        self.network.train()
        start = time.perf_counter()
        for x, labels in self._rest():
            lr = self.last_lr = self.optimizer.lr
            x, labels = placed(self.network, x, labels)
            with np.errstate(over="ignore", invalid="ignore"):  # a loss that is not finite ends the epoch with an error
                with autocast(self.amp):
                    loss = self.loss(self.network(x), labels)
                self._step(loss)
            self.rate.step()
            if self.average is not None:
                self.average.update(self.network)
            self.batch, self.images = self.batch + 1, self.images + len(labels)
            self.total = self.total + loss.data.astype("float32") * len(labels)  # stays on the device
            if callbacks:
                self.seconds += time.perf_counter() - start
                _tell(callbacks, Step(self.epoch + 1, self.batch, batches, len(labels), lr, loss.detach()))
                start = time.perf_counter()
        self.total = float(self.total)  # waits for the device
        self.seconds += time.perf_counter() - start

    def _rest(self):
        if not isinstance(self.loader, DataLoader):
            return islice(self.loader, self.batch, None)
        if self.batch == len(self.loader):
            return ()
        self.loader.load_state_dict({"epoch": self.epoch, "batch": self.batch})
        return self.loader

    def _step(self, loss):
        self.optimizer.zero_grad()
        if self.scaler is None:
            loss.backward()
            self.optimizer.step()
        else:
            self.scaler.scale(loss).backward()
            self.scaler.step(self.optimizer)
            self.scaler.update()

    def _end_epoch(self):
        """Evaluate, tell a Plateau, and count the epoch; returns its row of ``history``."""
        if not self.images:
            raise ValueError(f"fit: a loader has images, but in epoch {self.epoch + 1} there are none")
        row = {"epoch": self.epoch + 1, "lr": self.last_lr, "train_loss": self.total / self.images}
        if self.test is not None and math.isfinite(row["train_loss"]):
            found = self.evaluate()
            row |= {"test_loss": found.loss, "test_accuracy": found.top1, "test_top5": found.top5}
        loss = row.get("test_loss", row["train_loss"])
        if not math.isfinite(loss):
            raise ValueError(
                f"fit: the loss stays finite, but in epoch {self.epoch + 1} it is {loss}; "
                "a smaller learning rate may help"
            )
        if hasattr(self.rate.function, "report"):
            self.rate.report(loss if self.rate.function.mode == "min" else row["test_accuracy"])
        row["seconds"] = self.seconds
        self.history.append(row)
        self.epoch += 1
        self._begin()
        return row

    def save(self, path, **extra):
        """Write a checkpoint of everything that the next step depends on, and ``extra``, between any two steps."""
        state = {
            **{name: getattr(self, name) for name in ("epoch", "batch", "images", "seconds", "last_lr", "history")},
            "total": float(self.total),
            "rate": self.rate.state_dict(),
            "scaler": self.scaler and self.scaler.state_dict(),
        }
        save_checkpoint(path, self.network, self.optimizer, average=self.average, training=state, **extra)

    def load(self, path):
        """Continue where ``save`` was called, with the random generator as it was; returns ``extra``."""
        extra = load_checkpoint(path, self.network, self.optimizer, average=self.average, rng=True)
        state = extra.pop("training")
        self.rate.load_state_dict(state.pop("rate"))
        scaler = state.pop("scaler")
        if self.scaler is not None:
            self.scaler.load_state_dict(scaler)
        vars(self).update(state)
        return extra


def fit(
    network,
    loader,
    optimizer,
    *,
    epochs,
    schedule=None,
    test=None,
    loss=None,
    amp=None,
    average=None,
    on_step=(),
    on_epoch=(),
):
    """Train a network, evaluating it after each epoch.

    network     Module: in evaluation mode from images to logits (N, classes), in training to what ``loss`` takes
    loader      DataLoader, or an iterable of (images, labels) that gives the batches of an epoch each time
    optimizer   of the network's parameters
    epochs      passes over the loader
    schedule    function of the step from 0 on, over all epochs, that multiplies the learning rate
                (``gpucnn.optim.schedule``); a ``Plateau`` is told the loss on test, or with mode "max" the accuracy
    test        loader of what to evaluate on, or None
    loss        (outputs, labels) -> scalar; by default the network's own ``loss`` where it has one, as GoogLeNet has,
                else ``cross_entropy``
    amp         None, "float16" (with a ``GradScaler``) or "bfloat16": mixed precision
    average     ``MovingAverage`` of the network: updated after each step, and evaluated in its place
    on_step     function of a ``Step``, or several, called after each training step
    on_epoch    function of a row, or several, called after each epoch
    returns     a row an epoch: dict of epoch (from 1), lr (of its last step), train_loss (mean over its steps),
                test_loss, test_accuracy, test_top5 (0..1; these where there is ``test``), seconds (of training)

    A callback that returns True or raises StopTraining ends training, with the network as it is then. A loss that is
    not finite is a ValueError after its epoch. Afterwards the optimiser has the learning rate that it came with.

    >>> from gpucnn import data, models, optim
    >>> network = models.lenet()
    >>> train, test = (data.DataLoader(part[:320], 32) for part in data.digits())
    >>> rows = fit(network, train, optim.SGD(network.parameters(), 0.05, 0.9), epochs=3, test=test,
    ...            on_epoch=lambda row: row["epoch"] == 2)
    >>> len(rows), rows[1]["train_loss"] < rows[0]["train_loss"]
    (2, True)
    """
    training = Training(network, loader, optimizer, schedule=schedule, test=test, loss=loss, amp=amp, average=average)
    try:
        return training.fit(epochs, on_step, on_epoch)
    finally:
        optimizer.lr = training.rate.lr


def _callbacks(given):
    return (given,) if callable(given) else tuple(given)


def _tell(callbacks, event):
    """Call every callback; StopTraining once all were called, where one returned True."""
    answers = [callback(event) for callback in callbacks]
    if any(answer is True for answer in answers):
        raise StopTraining
