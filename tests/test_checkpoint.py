"""Checkpoints: everything comes back bit for bit; every damage is found; an error or a kill leaves a whole file."""

import builtins
import errno
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gpucnn
from gpucnn import nn
from gpucnn.checkpoint import load_checkpoint, read, save_checkpoint, write
from gpucnn.device import get_rng
from gpucnn.optim import SGD, Adam, MovingAverage

# A child imports the gpucnn that these tests run against, wherever that is.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(gpucnn.__file__).parents[1])}


def network(dtype="float32"):
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Linear(4, 2)).to(dtype)


def step(net, optimizer):
    optimizer.zero_grad()
    net(gpucnn.randn(8, 3).astype(net[0].weight.dtype)).sum().backward()
    optimizer.step()


@pytest.fixture
def saved(tmp_path):
    net = network()
    optimizer = SGD(net.parameters(), 0.1, 0.9)
    step(net, optimizer)
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, net, optimizer, epoch=3)
    return path, net, optimizer


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
@pytest.mark.parametrize("make", [lambda p: SGD(p, 0.1, 0.9), lambda p: Adam(p)], ids=["SGD", "Adam"])
def test_training_continues_bit_for_bit(tmp_path, dtype, make):
    net = network(dtype)
    optimizer = make(net.parameters())
    step(net, optimizer)
    save_checkpoint(tmp_path / "c.safetensors", net, optimizer, epoch=1, note=("a", 2))
    step(net, optimizer)
    drawn = get_rng().random()

    gpucnn.manual_seed(123)
    other = network(dtype)
    continued = make(other.parameters())
    extra = load_checkpoint(tmp_path / "c.safetensors", other, continued, rng=True)
    step(other, continued)  # dropout and data from the restored generator
    assert extra == {"epoch": 1, "note": ["a", 2]}
    assert get_rng().random() == drawn
    for (name, ours), theirs in zip(net.state_dict().items(), other.state_dict().values(), strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs, err_msg=name)


def test_every_dtype_and_shape(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {
        name: rng.integers(0, 2, (2, 3)).astype(gpucnn.dtype.as_dtype(name))
        for name in ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")
    }
    arrays |= {"scalar": np.array(2.5), "empty": np.zeros((0, 4), np.float32), "ü.": np.array([np.nan, np.inf])}
    write(tmp_path / "c.safetensors", arrays, {"format": 1, "big": 2**127, "text": "ü\n"})
    back, info = read(tmp_path / "c.safetensors")
    assert info == {"format": 1, "big": 2**127, "text": "ü\n"}
    assert back.keys() == arrays.keys()
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype
        np.testing.assert_array_equal(back[name], array)
        assert back[name].flags.writeable


def test_the_json_copy_is_for_people(saved):
    path, net, _ = saved
    copy = path.with_suffix(".json")
    content = json.loads(copy.read_text())
    assert content["extra"] == {"epoch": 3}
    assert content["version"] == gpucnn.__version__
    copy.write_text("never read back")
    assert load_checkpoint(path, net) == {"epoch": 3}
    assert sorted(p.name for p in path.parent.iterdir()) == ["checkpoint.json", "checkpoint.safetensors"]


def test_other_safetensors_files_are_readable_by_others(saved):
    from safetensors.numpy import load_file

    path, net, _ = saved
    np.testing.assert_array_equal(load_file(path)["model.0.weight"], net[0].weight.numpy())


@given(st.data())
def test_any_flipped_byte_is_found(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "flipped.safetensors"
    if not path.exists():
        write(path, {"a": np.arange(20.0), "b": np.arange(5)}, {"format": 1, "extra": {"epoch": 3}})
        path.with_suffix(".good").write_bytes(path.read_bytes())
    good = path.with_suffix(".good").read_bytes()
    at = data.draw(st.integers(0, len(good) - 1))
    bits = data.draw(st.integers(1, 255))
    path.write_bytes(good[:at] + bytes([good[at] ^ bits]) + good[at + 1 :])
    try:
        arrays, info = read(path)
    except ValueError as error:
        assert "flipped.safetensors" in str(error)
    else:  # white space in the header, and nothing else, may differ
        assert info == {"format": 1, "extra": {"epoch": 3}}
        np.testing.assert_array_equal(arrays["a"], np.arange(20.0))


def test_every_truncation_is_found(saved):
    path, net, optimizer = saved
    good = path.read_bytes()
    before = net[0].weight.numpy().copy()
    for length in [*range(0, len(good), 37), len(good) - 1]:
        path.write_bytes(good[:length])
        with pytest.raises(ValueError, match=r"checkpoint.safetensors: a (complete safetensors|checkpoint)"):
            load_checkpoint(path, net, optimizer)
    path.write_bytes(good + b"\0")
    with pytest.raises(ValueError, match=r"checkpoint.safetensors"):
        load_checkpoint(path, net, optimizer)
    np.testing.assert_array_equal(net[0].weight.numpy(), before)


def test_foreign_files(tmp_path, saved):
    from safetensors.numpy import save_file

    path, *_ = saved
    save_file({"a": np.zeros(3)}, path)
    with pytest.raises(ValueError, match="a checkpoint of gpucnn is needed, but this file is none"):
        load_checkpoint(path)
    with pytest.raises(FileNotFoundError):
        load_checkpoint(tmp_path / "none")
    write(path, {}, {"format": 2, "extra": {}})
    with pytest.raises(ValueError, match="format 1 is read, but the file has 2"):
        load_checkpoint(path)


def test_other_networks_and_optimisers_change_nothing(saved):
    path, net, optimizer = saved
    other = network()
    before = other[0].weight.numpy().copy()
    with pytest.raises(ValueError, match="state of a Adam is needed, but the file has that of SGD"):
        load_checkpoint(path, other, Adam(other.parameters()))
    with pytest.raises(ValueError, match="has 2 parameters, but the state is of 6"):
        load_checkpoint(path, other, SGD(other[0].parameters(), 0.1))
    np.testing.assert_array_equal(other[0].weight.numpy(), before)
    with pytest.raises(ValueError, match=r"checkpoint.safetensors: Linear.load_state_dict: names must match"):
        load_checkpoint(path, nn.Linear(3, 4), rng=True)
    save_checkpoint(path, net)
    with pytest.raises(ValueError, match="state of a SGD is needed, but the file has that of no optimizer"):
        load_checkpoint(path, net, optimizer)


class Full:
    """A file whose disk is full after some bytes."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()

    def __getattr__(self, name):
        return getattr(self.file, name)

    def write(self, data):
        self.file.write(data[: self.room])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_keeps_the_old_checkpoint(saved, monkeypatch):
    path, net, optimizer = saved
    before = path.read_bytes()
    opened = builtins.open
    monkeypatch.setattr(
        builtins, "open", lambda *a, **k: Full(opened(*a, **k), 100) if "wb" in a[1:] else opened(*a, **k)
    )
    with pytest.raises(OSError, match="No space left on device; what was there is kept") as caught:
        save_checkpoint(path, net, optimizer, epoch=4)
    monkeypatch.undo()
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(path)
    assert path.read_bytes() == before
    assert sorted(p.name for p in path.parent.iterdir()) == ["checkpoint.json", "checkpoint.safetensors"]


def test_a_real_limit_on_file_size(saved):
    """The same through the kernel: a file may have 300 bytes, so the write fails half way with EFBIG."""
    path, *_ = saved
    before = path.read_bytes()
    code = (
        "import sys, gpucnn\nfrom gpucnn import nn\nfrom gpucnn.checkpoint import save_checkpoint\n"
        "save_checkpoint(sys.argv[1], nn.Linear(30, 40))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300)),
        env=ENVIRONMENT,
        cwd=path.parent,
        capture_output=True,
        text=True,
    )
    assert "what was there is kept" in run.stderr.splitlines()[-1]
    assert path.read_bytes() == before
    assert sorted(p.name for p in path.parent.iterdir()) == ["checkpoint.json", "checkpoint.safetensors"]


def test_kill_at_any_moment_leaves_a_whole_checkpoint(tmp_path):
    """A child saves without end and is killed; what it left loads, and was written not long ago."""
    path = tmp_path / "c.safetensors"
    code = (
        "import sys, itertools, gpucnn\nfrom gpucnn import nn\nfrom gpucnn.checkpoint import save_checkpoint\n"
        "net = nn.Linear(300, 400)\n"
        "for i in itertools.count():\n"
        "    net.bias.data[...] = i\n    save_checkpoint(sys.argv[1], net, i=i)\n    print(i, flush=True)\n"
    )
    rng = np.random.default_rng(0)
    for _ in range(4):
        child = subprocess.Popen(
            [sys.executable, "-c", code, str(path)], env=ENVIRONMENT, cwd=tmp_path, stdout=subprocess.PIPE, text=True
        )
        child.stdout.readline()
        time.sleep(rng.random() * 0.1)
        child.send_signal(signal.SIGKILL)
        last = ([0] + [int(line) for line in child.stdout.read().split()])[-1]
        child.wait()
        child.stdout.close()
        net = nn.Linear(300, 400)
        i = load_checkpoint(path, net)["i"]
        assert last <= i <= last + 1
        assert (net.bias.numpy() == i).all()


def test_the_average_is_kept_beside_the_network(tmp_path):
    path, net = tmp_path / "c.safetensors", network()
    average = MovingAverage(net, 0.5)
    step(net, SGD(net.parameters(), 0.1))
    average.update(net)
    save_checkpoint(path, net, average=average)
    other = network()
    other_average = MovingAverage(other, 0.5)
    load_checkpoint(path, other, average=other_average)
    for mine, its in ((net, other), (average, other_average)):
        for name, array in mine.state_dict().items():
            np.testing.assert_array_equal(its.state_dict()[name], array)
    save_checkpoint(path, network())
    before = other[0].weight.numpy().copy()
    with pytest.raises(ValueError, match=r"c.safetensors: MovingAverage.load_state_dict: names must match"):
        load_checkpoint(path, other, average=other_average)
    np.testing.assert_array_equal(other[0].weight.numpy(), before)
