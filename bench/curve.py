"""ResNet-20's loss beside PyTorch's: `python -m bench.curve CIFAR [--steps 200] [--out FILE.jsonl]`.

CIFAR is a folder of CIFAR-10 in either form. All runs start from the same weights and take the same batches: flips
and 4-pixel crops by gpucnn, SGD at rate 0.1 with momentum 0.9 and weight decay 1e-4, float32. Training is chaotic, so
two programs that sum in another order part company: each rounding grows from step to step until the losses
differ by what separates two batches. How fast, PyTorch shows against itself, in runs that differ from its first one in
rounding alone:

channels last   images and weights are in NHWC order, for which PyTorch has other kernels
rounded 0..3    every initial weight is moved to the next float32, up or down at random

Within noise is: in every block of steps, the root mean square of (gpucnn's loss - PyTorch's) is at most LIMIT times
the largest of those of PyTorch's own runs. It takes several, because a difference jumps when a rounding moves an
activation across the kink of a ReLU, by chance. Blocks double in length, because at this rate the losses have parted
within twenty steps: what a wrong gradient or update would change shows in the first blocks, the last ones compare
saturated chaos. In float64 the first steps agree to many digits: tests/test_curve.py.
"""

import argparse
import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np

import gpucnn
from gpucnn import native
from gpucnn.bench.environment import cpu, source
from gpucnn.data import DataLoader, Images, RandomCrop, RandomFlip, cifar10
from gpucnn.models import cifar_resnet

SGD = {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-4}
LIMIT = 3


def decoded(data):
    """A data set of encoded images as one in memory."""
    images, labels = zip(*(data[i] for i in range(len(data))), strict=True)
    return Images(np.stack(images), np.array(labels, np.int64), data.mean, data.std)


def batches_of(data, batch, steps):
    """The first augmented batches, as pairs of arrays."""
    loader = DataLoader(data, batch, shuffle=True, drop_last=True, augment=(RandomCrop(padding=4), RandomFlip()))
    while True:
        for images, labels in loader:
            if not steps:
                return
            steps -= 1
            yield images.numpy(), labels.numpy()


def torch_resnet(depth, state):
    """PyTorch's twin of ``cifar_resnet(depth)``, with its parameter names and its state."""
    import torch
    from torch import nn
    from torch.nn.functional import pad, relu

    class Block(nn.Module):
        def __init__(self, channels, width, stride):
            super().__init__()
            self.conv1 = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
            self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
            self.bn1, self.bn2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
            self.more, self.stride = width - channels, stride

        def forward(self, x):
            y = self.bn2(self.conv2(relu(self.bn1(self.conv1(x)))))
            return relu(y + pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.more)))

    layers, channels = [nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()], 16
    for width in (16, 32, 64):
        for _ in range((depth - 2) // 6):
            layers.append(Block(channels, width, 1 if width == channels else 2))
            channels = width
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))
    found = model.load_state_dict({name: torch.tensor(array) for name, array in state.items()}, strict=False)
    assert not found.unexpected_keys and all(name.endswith("num_batches_tracked") for name in found.missing_keys)
    return model


def train(model, batches):
    """The loss of each step of gpucnn."""
    optimiser, losses = gpucnn.optim.SGD(model.parameters(), **SGD), []
    for images, labels in batches:
        loss = gpucnn.cross_entropy(model(gpucnn.from_numpy(images)), gpucnn.from_numpy(labels))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


def torch_train(model, batches, channels_last=False):
    """The loss of each step of PyTorch, on gpucnn's number of threads."""
    import torch

    torch.set_num_threads(native.cpu().num_threads())
    layout = torch.channels_last if channels_last else torch.contiguous_format
    model = model.to(memory_format=layout)
    optimiser, losses = torch.optim.SGD(model.parameters(), **SGD), []
    for images, labels in batches:
        images = torch.from_numpy(images).to(memory_format=layout)
        loss = torch.nn.functional.cross_entropy(model(images), torch.from_numpy(labels))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


def rounded(state, seed):
    """A copy of a state with every value moved to the next float32, up or down at random."""
    rng, ends = np.random.default_rng(seed), np.float32([-np.inf, np.inf])
    return {name: np.nextafter(array, ends[rng.integers(0, 2, array.shape)]) for name, array in state.items()}


def runs(depth, batches):
    """{run: the loss of each step}, all from the same weights, on batches() each."""
    model = cifar_resnet(depth)
    state = {name: array.copy() for name, array in model.state_dict().items()}
    return {
        "gpucnn": train(model, batches()),
        "torch": torch_train(torch_resnet(depth, state), batches()),
        "channels last": torch_train(torch_resnet(depth, state), batches(), channels_last=True),
        **{f"rounded {i}": torch_train(torch_resnet(depth, rounded(state, i)), batches()) for i in range(4)},
    }


def noise(losses):
    """For each block of steps, first to last: PyTorch's mean loss, and the root mean squares of the differences from it
    (gpucnn's, and {run: of PyTorch's other runs})."""
    count, found = len(losses["torch"]), []
    starts = [0, *(2**i for i in range(count.bit_length()) if 2**i < count)]
    for start, end in zip(starts, [*starts[1:], count], strict=True):
        block = {run: np.array(values[start:end]) for run, values in losses.items()}
        first = block.pop("torch")
        apart = {run: float(np.sqrt(np.mean((values - first) ** 2))) for run, values in block.items()}
        ours = apart.pop("gpucnn")
        found.append({"steps": [start, end - 1], "loss": float(first.mean()), "gpucnn": ours, "torch": apart})
    return found


def within(blocks):
    """Whether gpucnn is no further from PyTorch than LIMIT times what PyTorch is from itself, in every block."""
    return all(block["gpucnn"] <= LIMIT * max(block["torch"].values()) for block in blocks)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cifar", type=Path, help="folder of CIFAR-10")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--out", help="append one JSON line to this file")
    options = parser.parse_args()
    data = cifar10(options.cifar)[0]
    data = data if isinstance(data, Images) else decoded(data)
    gpucnn.manual_seed(0)
    losses = runs(20, lambda: batches_of(data, options.batch, options.steps))
    blocks = noise(losses)
    for block in blocks:
        others = ", ".join(f"{run} {value:.1e}" for run, value in block["torch"].items())
        steps = "to".join(f" {step:3} " for step in block["steps"])
        print(f"steps{steps}: loss {block['loss']:.3f}; gpucnn {block['gpucnn']:.1e} from it; PyTorch's {others}")
    if options.out:
        record = {
            **{"bench": "curve", "model": "cifar-resnet-20", "batch": options.batch, "dtype": "float32"},
            **{"steps": options.steps, "within": within(blocks), "limit": LIMIT, "blocks": blocks},
            **{"losses": losses, "difference": np.subtract(losses["gpucnn"], losses["torch"]).tolist()},
            "torch": version("torch"),
            **cpu(),
            **source(),
        }
        with open(options.out, "a") as file:
            file.write(json.dumps(record) + "\n")
    if not within(blocks):
        sys.exit(f"gpucnn's loss is not within {LIMIT} times PyTorch's difference from itself")


if __name__ == "__main__":
    main()
