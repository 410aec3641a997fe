"""Whole networks: forward, backward and update of a training step; images a second, peak memory, power and clocks.

Before any time is printed, the scores and the gradient of the first weight of one image, in evaluation mode, are held
against the same network in float64. A batch that does not fit in memory is a result that says so.
"""

import ctypes
import gc
import resource
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

import gpucnn
from gpucnn import nn
from gpucnn.device import memory_in_use, parse, synchronize, to_device
from gpucnn.dtype import FLOATS
from gpucnn.layout import LAYOUTS
from gpucnn.models import INPUTS, MODELS
from gpucnn.summary import summarize

from .environment import gpu_state
from .session import DTYPES, Session, arguments, torch_or_refuse
from .timing import interleaved, statistics

BATCH = 16
NETWORKS = ("lenet", "cifar-resnet-20", "alexnet-owt", "overfeat", "vgg-a", "googlenet", "resnet-50")
QUICK = {"lenet": 64, "cifar-resnet-20": 16, "alexnet-owt": 4, "googlenet": 1}
CHECKED = 2  # images that are held against float64
PHASES = ("forward", "backward", "update")
# Relative L2 errors that a right network stays below. In 16 bits a deep network's gradient differs much, as roundings
# move activations across the kinks of ReLUs; there its norm is compared.
SCORES = {"float32": 5e-3, "float16": 0.5, "bfloat16": 0.5}
GRADIENT = 0.5


class Wrong(Exception):
    """A network computes something else than in float64; the text says by how much."""


class Step:
    """A training step of a network on one batch of random images, in its three phases: SGD with momentum.

    The images lie on the device in the given order.
    """

    def __init__(self, name, batch, dtype, device, layout="channels_first"):
        gpucnn.manual_seed(0)
        rng = np.random.default_rng(0)
        self.model = MODELS[name]().to(device, dtype)
        images = rng.standard_normal((batch, *INPUTS[name]), np.float32)
        self.images = gpucnn.tensor(images.astype(FLOATS[dtype])).to(device).to(layout)
        self.labels = gpucnn.tensor(rng.integers(0, 10, batch)).to(device)
        self.optimiser = gpucnn.optim.SGD(self.model.parameters(), lr=1e-4, momentum=0.9)
        self.criterion = getattr(self.model, "loss", gpucnn.cross_entropy)
        self.loss = None

    def forward(self):
        self.loss = self.criterion(self.model(self.images), self.labels)

    def backward(self):
        self.optimiser.zero_grad()
        self.loss.backward()

    def update(self):
        self.loss = None  # the graph is no longer needed
        self.optimiser.step()


def check(name, model, dtype, device):
    """Raise Wrong where scores and the gradient of the first weight are not those of float64, on CHECKED images.

    Nothing is dropped; batch normalisation is by the batch, as in training.
    """
    rng = np.random.default_rng(1)
    images = rng.standard_normal((CHECKED, *INPUTS[name]), np.float32).astype(FLOATS[dtype])
    with nn.init.skip():
        oracle = MODELS[name]().to("float64")
    for exact, parameter in zip(oracle.parameters(), model.parameters(), strict=True):
        exact.data = to_device(parameter.data, "cpu").astype(np.float64)
    scores, gradient = _scores_and_gradient(model, gpucnn.tensor(images).to(device))
    exact_scores, exact_gradient = _scores_and_gradient(oracle, gpucnn.tensor(images.astype(np.float64)))
    error = _error(scores, exact_scores)
    if not error <= SCORES[dtype]:
        raise Wrong(f"the relative L2 error of the scores is at most {SCORES[dtype]:g}, but it is {error:.2g}")
    error = _error(gradient, exact_gradient)
    if dtype == "float32" and not error <= GRADIENT:
        raise Wrong(f"that of the gradient of the first weight is at most {GRADIENT:g}, but it is {error:.2g}")
    ratio = np.linalg.norm(gradient.astype(np.float64)) / np.linalg.norm(exact_gradient)
    if not 0.5 <= ratio <= 2:
        raise Wrong(f"the norm of that gradient is within a factor of 2 of float64's, but their ratio is {ratio:.2g}")


def _error(found, exact):
    return np.linalg.norm(found.astype(np.float64) - exact) / np.linalg.norm(exact)


def _scores_and_gradient(model, images):
    state = [(tensor, tensor.data.copy()) for tensor in model.buffers()]
    model.eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.training = True
    first, *others = model.parameters()
    first.grad = None
    for parameter in others:
        parameter.requires_grad = False
    scores = model(images)
    weights = np.random.default_rng(2).standard_normal(scores.shape, np.float32)
    (scores * gpucnn.tensor(weights.astype(scores.dtype)).to(scores.device)).sum().backward()
    for parameter in others:
        parameter.requires_grad = True
    for tensor, data in state:
        tensor.data = data
    gradient, first.grad = first.grad.numpy(), None
    model.train()
    return scores.numpy(), gradient


@contextmanager
def limited_memory(kind):
    """On the CPU, make what exceeds the free memory a MemoryError; else the kernel would kill the process."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    try:
        if kind == "cpu" and (free := _proc("meminfo", "MemAvailable")):
            used = _proc("self/status", "VmData") or 0
            limit = free + used
            resource.setrlimit(resource.RLIMIT_DATA, (limit if before[1] < 0 else min(limit, before[1]), before[1]))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def _proc(file, field):
    """A field of a file of /proc in bytes, or None where there is none."""
    try:
        lines = Path("/proc", file).read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))
    except (OSError, StopIteration):
        return None


class Peak:
    """The most memory in use since it was made: of the GPU's pool, or resident in this process."""

    def __init__(self, device):
        self.device, self.kind = device, parse(device)[0]
        gc.collect()
        if self.kind == "cuda":
            import cupy

            cupy.get_default_memory_pool().free_all_blocks()
        else:
            with suppress(AttributeError, OSError):  # what was freed goes back to the system, where this is glibc
                ctypes.CDLL(None).malloc_trim(0)
            with suppress(OSError):
                Path("/proc/self/clear_refs").write_text("5")  # the high-water mark falls to what is used now
        self.before = 0 if self.kind == "cuda" else _proc("self/status", "VmRSS")

    def bytes(self):
        """More than when it was made; None where the system does not tell."""
        if self.kind == "cuda":
            return memory_in_use(self.device)
        peak = _proc("self/status", "VmHWM")
        return None if peak is None or self.before is None else peak - self.before


def measure(name, batch, dtype, device, seconds, compare=None, layout="channels_first"):
    """The fields of a record; Wrong where the network computes something else, MemoryError where it does not fit."""
    kind, number = parse(device)
    with limited_memory(kind):
        peak = Peak(device)
        step = Step(name, batch, dtype, device, layout)
        phases = {f"gpucnn {phase}": getattr(step, phase) for phase in PHASES}
        for call in (*phases.values(), *phases.values()):
            call()
        synchronize(kind)
        memory = peak.bytes()
        check(name, step.model, dtype, device)
        if compare:
            phases |= torch_phases(step, kind, SCORES[dtype])
        found = statistics(interleaved(phases, kind, seconds, in_order=True))
    state = gpu_state(number) if kind == "cuda" else {}  # while it is still warm
    frameworks = ["gpucnn", "torch"] if compare else ["gpucnn"]
    total = {who: sum(found["median_ms"][f"{who} {phase}"] for phase in PHASES) for who in frameworks}
    return {
        **found,
        "images_per_second": {who: 1e3 * batch / ms for who, ms in total.items()},
        "peak_bytes": memory,
        **{f"{key}_at_end": state[key] for key in ("power_w", "sm_mhz") if key in state},
    }


def torch_phases(step, kind, tolerance):
    """PyTorch's phases in the memory layout in which the median of its next three steps is the faster one."""
    from .torch_twin import TorchStep

    seconds = {}
    for channels_last in (False, True):
        twin = TorchStep(step, channels_last)
        twin.check(tolerance)
        phases = {f"torch {phase}": getattr(twin, phase) for phase in PHASES}
        for call in phases.values():
            call()
        times = interleaved(phases, kind, 0, 3, in_order=True)
        seconds[sum(np.median(times[phase]) for phase in phases)] = phases
    return seconds[min(seconds)]


def flops(name):
    """Of the forward pass of one image: two a multiply-add of convolutions and fully connected layers."""
    with nn.init.skip():
        return 2 * summarize(MODELS[name](), INPUTS[name]).total("multiply_adds")


def known(names):
    """The names, if all are networks; else a ValueError."""
    for name in names:
        if name not in MODELS:
            raise ValueError(f"net: a network is one of {', '.join(MODELS)}, but came {name!r}")
    return names


def one(session, name, batch, dtype, device, seconds, compare=None, layout="channels_first"):
    """Measure, print and keep one network."""
    said = f"{name:18} batch {batch:4} {dtype:8}"
    fixed = {"model": name, "batch": batch, "dtype": dtype, "image": INPUTS[name]}
    if layout != "channels_first":
        said, fixed = f"{said} {layout}", fixed | {"layout": layout}
    try:
        found = measure(name, batch, dtype, device, seconds, compare, layout)
    except Wrong as error:
        session.refuse(said, error)
        return
    except MemoryError:
        session.result(f"{said}  out of memory", **fixed, out_of_memory=True)
        return
    finally:
        gc.collect()
    ms = found["median_ms"]
    times = "  ".join(
        f"{who}: " + " + ".join(f"{ms[f'{who} {phase}']:.4g}" for phase in PHASES) + f" ms = {speed:.4g} images/s"
        for who, speed in found["images_per_second"].items()
    )
    peak = found["peak_bytes"]
    times += f", {peak / 2**20:.0f} MiB" if peak is not None else ""
    times += f", {found['power_w_at_end']:.0f} W" if found.get("power_w_at_end") else ""
    session.result(f"{said}  {times}", **fixed, flops_forward=batch * flops(name), **found)


def main(argv):
    parser = arguments("net", __doc__.splitlines()[0])
    parser.add_argument(
        "networks", nargs="*", metavar="NAME", help=f"as of gpucnn summary (default: {', '.join(NETWORKS)})"
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:1 (default: cpu)")
    parser.add_argument("--dtype", nargs="+", choices=DTYPES, default=["float32"])
    parser.add_argument("--batch", type=int, nargs="+", help=f"images (default: {BATCH})")
    parser.add_argument("--layout", nargs="+", choices=LAYOUTS, default=["channels_first"], help="of images in memory")
    parser.add_argument("--compare", choices=["torch"], help="time PyTorch in turn with gpucnn")
    parser.add_argument("--seconds", type=float, help="for each network, at least (default: 2)")
    parser.add_argument("--quick", action="store_true", help=f"{', '.join(QUICK)} on few images: under a minute")
    options = parser.parse_args(argv)
    if options.compare:
        torch_or_refuse()
    names = known(options.networks or (QUICK if options.quick else NETWORKS))
    if options.batch and min(options.batch) < 1:
        raise ValueError(f"net: a batch has at least one image, but came {min(options.batch)}")
    seconds = options.seconds or (0.5 if options.quick else 2.0)
    runs = [
        (name, batch, dtype, layout)
        for name in names
        for batch in options.batch or [QUICK.get(name, 1) if options.quick else BATCH]
        for dtype in options.dtype
        for layout in options.layout
    ]
    with Session("net", len(runs), options.out, options.device) as session:
        for name, batch, dtype, layout in runs:
            one(session, name, batch, dtype, options.device, seconds, options.compare, layout)
    return session.code
