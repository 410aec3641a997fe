"""Training a classifier: the recipe behind ``gpucnn train``, epoch by epoch, resumable bit for bit."""

import math
import time
from dataclasses import asdict, dataclass, fields

import numpy as np

from . import data, optim
from .amp import GradScaler, autocast
from .autograd import no_grad
from .checkpoint import load_checkpoint, save_checkpoint
from .device import manual_seed
from .models import INPUTS, MODELS
from .ops import cross_entropy
from .optim import schedule

MOMENTUM, WEIGHT_DECAY = 0.9, 1e-3
WARM_UP = 100  # steps over which the rate rises from 0: the first gradients are the largest


@dataclass(frozen=True)
class Options:
    """What a run is made of; with the same options a run on the CPU gives the same bits.

    data    folder of the MNIST files, or None for the built-in digits
    lr      the largest learning rate: it rises to it over the first 100 steps and falls linearly to 0
    amp     None, "float16" or "bfloat16": mixed precision, with the weights in float32 (``gpucnn.autocast``)
    """

    model: str = "lenet"
    data: str | None = None
    device: str = "cpu"
    dtype: str = "float32"
    amp: str | None = None
    epochs: int = 10
    batch: int = 64
    lr: float = 0.05
    seed: int = 0

    def __post_init__(self):
        if self.model not in MODELS:
            raise ValueError(f"model: one of {', '.join(MODELS)} is known, but came {self.model}")
        if self.amp not in (None, "float16", "bfloat16") or (self.amp and self.dtype != "float32"):
            raise ValueError(
                f"amp: float16 or bfloat16 beside the dtype float32, but came {self.amp} beside {self.dtype}"
            )
        if self.epochs < 1 or self.batch < 1 or self.seed < 0:
            raise ValueError(
                "epochs and batch are positive and seed is not negative, "
                f"but came {self.epochs}, {self.batch} and {self.seed}"
            )
        if not 0 < self.lr < math.inf:
            raise ValueError(f"lr: the learning rate is positive, but came {self.lr}")


class Training:
    """A model, its optimiser and its data between two epochs.

    The optimiser is SGD with Nesterov momentum 0.9 and weight decay 0.001. In float16 and bfloat16 the weights,
    activations and gradients are of that dtype; the optimiser keeps float32 master weights.
    """

    def __init__(self, options):
        self.options, self.epoch, self.history = options, 0, []
        train, test = data.mnist(options.data) if options.data else data.digits()
        self.train = data.DataLoader(train, options.batch, shuffle=True, seed=options.seed)
        self.test = data.DataLoader(test, 500)
        channels = train.images.shape[1]
        wanted = INPUTS[options.model][0] if options.model in INPUTS else channels
        if wanted != channels:
            raise ValueError(f"model: {options.model} takes {wanted} channels, but the images have {channels}")
        manual_seed(options.seed)
        self.model = MODELS[options.model]().to(options.device, options.dtype)
        self.optimizer = optim.SGD(self.model.parameters(), options.lr, MOMENTUM, WEIGHT_DECAY, nesterov=True)
        self.scaler = GradScaler() if options.amp == "float16" else None
        self.schedule = schedule.warm_up(WARM_UP, schedule.linear(options.epochs * len(self.train)))

    def rate(self, step):
        """The learning rate of a step, counted from 0 over the whole run."""
        return self.options.lr * self.schedule(step)

    def run_epoch(self, progress=lambda images: None):
        """Train one epoch and evaluate; ``progress`` is told the images of each batch.

        returns     the row of metrics.csv, also appended to ``history``: epoch (from 1), lr at its end,
                    train_loss, test_loss, test_accuracy (0..1), seconds of training
        """
        with np.errstate(over="ignore", invalid="ignore"):  # a loss that is not finite is reported below
            start = time.perf_counter()
            train_loss = self._train(progress)
            seconds = time.perf_counter() - start
            test_loss, accuracy = self.evaluate()
        if not math.isfinite(train_loss + test_loss):
            raise ValueError(
                f"the loss stays finite, but in epoch {self.epoch + 1} it is {train_loss}; "
                "a smaller learning rate may help"
            )
        self.epoch += 1
        row = {
            "epoch": self.epoch,
            "lr": self.optimizer.lr,
            "train_loss": train_loss,
            "test_loss": test_loss,
            "test_accuracy": accuracy,
            "seconds": seconds,
        }
        self.history.append(row)
        return row

    def _train(self, progress):
        """Train one epoch; returns the mean loss."""
        self.model.train()
        total, images = 0.0, 0
        self.train.epoch = self.epoch
        for i, (x, labels) in enumerate(self.train):
            self.optimizer.lr = self.rate(self.epoch * len(self.train) + i)
            x, labels = self._place(x, labels)
            with autocast(self.options.amp):
                loss = cross_entropy(self.model(x), labels)
            self._step(loss)
            total = total + loss.data.astype("float32") * len(labels)  # stays on the device
            images += len(labels)
            progress(len(labels))
        return float(total) / images

    def _step(self, loss):
        self.optimizer.zero_grad()
        if self.scaler is None:
            loss.backward()
            self.optimizer.step()
        else:
            self.scaler.scale(loss).backward()
            self.scaler.step(self.optimizer)
            self.scaler.update()

    def evaluate(self):
        """(mean loss, accuracy 0..1) on the test images."""
        self.model.eval()
        loss, right = 0.0, 0
        with no_grad(), autocast(self.options.amp):
            for x, labels in self.test:
                x, labels = self._place(x, labels)
                logits = self.model(x).astype("float32")
                loss += cross_entropy(logits, labels, reduction="sum").item()
                right += int((logits.argmax(1) == labels).sum().item())
        return loss / len(self.test.data), right / len(self.test.data)

    def _place(self, x, labels):
        device, dtype = self.options.device, self.options.dtype
        return x.to(device).astype(dtype), labels.to(device)

    def save(self, path):
        """Write a checkpoint of everything that the next epoch depends on."""
        save_checkpoint(
            path,
            self.model,
            self.optimizer,
            epoch=self.epoch,
            step=self.epoch * len(self.train),
            history=self.history,
            scaler=self.scaler and self.scaler.state_dict(),
            options=asdict(self.options),
        )

    @classmethod
    def resume(cls, path, **changes):
        """Continue from a checkpoint; ``changes`` replace options, such as the device or more epochs."""
        saved = load_checkpoint(path)
        known = {field.name for field in fields(Options)}
        if not isinstance(saved.get("options"), dict) or saved["options"].keys() != known:
            raise ValueError(f"load_checkpoint: {path}: a run has options {sorted(known)}")
        self = cls(Options(**{**saved["options"], **changes}))
        load_checkpoint(path, self.model, self.optimizer, rng=True)
        self.epoch, self.history = saved["epoch"], saved["history"]
        if self.scaler is not None:
            self.scaler.load_state_dict(saved["scaler"])
        return self
