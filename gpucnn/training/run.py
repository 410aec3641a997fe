"""A recipe at work on a data set, and what remains of it in a checkpoint: the run behind ``gpucnn train``."""

import os
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np

from .. import nn
from ..autograd import no_grad
from ..checkpoint import read
from ..create import from_numpy
from ..data import DataLoader, Draws, ImageFolder, ShortSide, class_names, digits, open_parts, resize
from ..data.augment import normalise
from ..data.colour import grey
from ..device import manual_seed, use
from ..dtype import accumulate, as_dtype
from ..ops import cross_entropy, softmax
from ..optim import MovingAverage
from .evaluation import placed
from .loop import Training
from .network import build, check_fit
from .reader import changed, checked
from .recipe import Recipe

KEPT = ("recipe", "options", "classes", "image", "mean", "std")  # of a run, in its checkpoint


class Run:
    """A Training that a recipe describes: network, optimiser, schedule and loaders.

    recipe      Recipe
    data        what ``gpucnn.data.open_parts`` reads, or None for the built-in digits
    test        path of the test images, where ``data`` holds training images only
    device      "cpu", "cuda" or "cuda:1"; that GPU becomes the current one
    seed        of the initial weights, the order and the augmentation
    workers     threads that prepare batches; by default one a CPU, and none for images in memory that need no work

    training    the Training; on the CPU the same recipe, data and seed give the same bits, whatever the workers
    classes     names of the labels             image   (C, H, W) that the network was made for

    Images that do not fit the network or the recipe are a ValueError or, from a step of the recipe, a RuntimeError.
    """

    def __init__(self, recipe, data=None, test=None, *, device="cpu", seed=0, workers=None):
        self.recipe, self.options = recipe, {"data": data, "test": test, "device": device, "seed": seed}
        use(device)
        train, held_out = _open(data, test)
        self.classes = class_names(train)
        loader = partial(DataLoader, batch_size=recipe.batch, seed=seed, device=device, mean=train.mean, std=train.std)
        loaders = []
        for part, images in (("train", train), ("test", held_out)):
            images, single, batch = _steps(recipe, part, images)
            threads = _workers(images, single, batch) if workers is None else workers
            loaders.append(loader(images, shuffle=part == "train", transform=single, augment=batch, workers=threads))
        self.image, tested = (_first(each) for each in loaders)
        self.mean, self.std = (np.asarray(value).tolist() for value in (train.mean, train.std))
        manual_seed(seed)
        network = build(recipe.model, len(self.classes), self.image)
        check_fit(recipe.model, network, len(self.classes), tested, training=False)
        network.train().to(device, recipe.dtype).to(recipe.layout)
        self.training = Training(
            network,
            loaders[0],
            recipe.make_optimizer(network.parameters()),
            schedule=recipe.make_schedule(len(loaders[0])),
            test=loaders[1],
            loss=partial(getattr(network, "loss", cross_entropy), label_smoothing=recipe.label_smoothing),
            amp=recipe.amp,
            average=None if recipe.average is None else MovingAverage(network, recipe.average),
        )

    def save(self, path):
        """Write a checkpoint of the run, between any two steps."""
        values = {name: getattr(self, name) for name in KEPT}
        self.training.save(path, **{**values, "recipe": asdict(self.recipe)})

    @classmethod
    def resume(cls, path, *, epochs=None, workers=None, **places):
        """Continue from a checkpoint; ``epochs`` and ``places`` (data, test, device) replace what the run had."""
        kept = _kept(path, read(path)[1])
        recipe = kept["recipe"] if epochs is None else changed(kept["recipe"], epochs=epochs)
        with nn.init.skip():
            run = cls(recipe, **{**kept["options"], **places}, workers=workers)
        for name, what in (("classes", list(run.classes)), ("image", list(run.image))):
            if kept[name] != what:
                raise ValueError(f"Run.resume: {path}: the run has {name} {kept[name]}, but the data has {what}")
        run.training.load(path)
        return run


@dataclass(frozen=True)
class Trained:
    """A trained network and what it takes to use it, from the checkpoint of a run.

    network     in evaluation mode; the moving average where the recipe has one
    image       (C, H, W) of the images that it was trained on
    classes     names of the labels
    mean, std   of the pixels of the training images, scaled to 0..1
    options     data, test, device and seed of the run
    """

    network: nn.Module
    recipe: Recipe
    options: dict
    classes: tuple
    image: tuple
    mean: float | tuple
    std: float | tuple

    def loader(self, images, batch_size=None, workers=None):
        """A DataLoader of a data set, prepared as the recipe prepares test images."""
        images, single, batch = _steps(self.recipe, "test", images)
        loader = DataLoader(
            images,
            self.recipe.batch if batch_size is None else batch_size,
            transform=single,
            mean=self.mean,
            std=self.std,
            workers=_workers(images, single, batch) if workers is None else workers,
            device=self.network.parameters()[0].device,
        )
        check_fit(self.recipe.model, self.network, len(self.classes), _first(loader), training=False)
        return loader

    def predict(self, image):
        """The probability of each class, (classes,) float32, for one image (C, H, W) uint8 of any size.

        It is prepared as the recipe prepares test images, then scaled and cropped to the size that the network was
        trained on; colours become grey for a network of grey images.
        """
        C, H, W = self.image
        image = image[None]
        if C == 1 < image.shape[1]:
            image = np.rint(grey(image)).astype(np.uint8)
        single, batch = self.recipe.operations("test")
        for step in (*single, *batch):
            image = step(image, Draws(0, 0, [0]))
        if image.shape[2:] != (H, W):
            scale = max(H / image.shape[2], W / image.shape[3])
            h, w = (max(least, round(n * scale)) for least, n in zip((H, W), image.shape[2:], strict=True))
            top, left = (h - H) // 2, (w - W) // 2
            image = resize(image, (h, w))[:, :, top : top + H, left : left + W]
        x, _ = placed(self.network, from_numpy(normalise(image, self.mean, self.std)), from_numpy(np.zeros(1, int)))
        with no_grad():
            return softmax(self.network(x).astype("float32"), 1).numpy()[0]


def load_trained(path, device="cpu"):
    """The Trained network in the checkpoint of a run, on a device; a file that is none is a ValueError."""
    use(device)
    arrays, info = read(path)
    kept = _kept(path, info)
    with nn.init.skip():
        network = build(kept["recipe"].model, len(kept["classes"]), kept["image"])
    prefix, dtype = "model.", kept["recipe"].dtype
    if kept["recipe"].average is not None:
        prefix, dtype = "average.model.", accumulate(as_dtype(dtype))
    try:
        network.load_state_dict({key[len(prefix) :]: array for key, array in arrays.items() if key.startswith(prefix)})
    except ValueError as error:
        raise ValueError(f"load_trained: {path}: {error}") from None
    kept |= {name: tuple(kept[name]) for name in ("classes", "image")}
    return Trained(network.eval().to(device, dtype).to(kept["recipe"].layout), **kept)


def _kept(path, info):
    """The values KEPT of a run in the JSON of its checkpoint."""
    extra = info.get("extra")
    if not isinstance(extra, dict) or not {*KEPT, "training"} <= extra.keys():
        raise ValueError(f"load_checkpoint: {path}: a run of gpucnn train is needed, but this checkpoint is of none")
    return {name: extra[name] for name in KEPT} | {"recipe": checked(extra["recipe"], path)}


def _open(path, test):
    if path is None and test is not None:
        raise ValueError(f"Run: test images go with training images, but came {test} alone")
    return digits() if path is None else open_parts(path, test)


def _steps(recipe, part, images):
    """(images, steps of one image, steps of a batch) of a part of a recipe."""
    single, batch = recipe.operations(part)
    if single and isinstance(single[0], ShortSide) and isinstance(images, ImageFolder):
        images.short_side = single.pop(0).side  # a JPEG is decoded at about this size
    return images, single, batch


def _workers(images, single, batch):
    in_memory = hasattr(images, "images") and not single and not batch
    return 0 if in_memory else len(os.sched_getaffinity(0))


def _first(loader):
    """(C, H, W) of the first image of a loader's data set, made as for a batch."""
    if not len(loader.data):
        raise ValueError("Run: a data set has images, but there are none")
    one = DataLoader(
        loader.data, 1, transform=loader.transform, augment=loader.augment, mean=loader.mean, std=loader.std
    )
    return next(iter(one))[0].shape[1:]
