"""Checkpoints: one safetensors file with everything in it, complete at every moment, and a JSON copy to read.

The file holds the arrays (weights, buffers, optimiser state) and, in the ``__metadata__`` of its header, all else as
JSON under "gpucnn", with a SHA-256 over both. One file is what one rename replaces: after a kill or a power cut at
any moment the path holds the old checkpoint or the new one, never a mixture. Beside it lies the same JSON under the
suffix .json, for people; it is never read back. Nothing is unpickled.
"""

import hashlib
import json
from pathlib import Path

import numpy as np

from .atomic import replacing
from .device import get_rng, to_device
from .dtype import as_dtype

# Names of the safetensors format. Reading goes through these because safetensors.numpy knows no bfloat16.
DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}
FORMAT = 1


def save_checkpoint(path, model, optimizer=None, **extra):
    """Write the state of a model, an optimizer and the random generator to ``path``, replacing what is there.

    path        the safetensors file; the folder exists
    extra       anything that JSON can hold (epoch, options, ...): ``load_checkpoint`` returns it

    The new file is written under another name, synchronised with the disk and renamed. An error (a full disk:
    OSError) leaves the old checkpoint as it was.
    """
    from . import __version__  # here, because the package imports this module before it has a version

    arrays = {f"model.{name}": array for name, array in model.state_dict().items()}
    info = {"format": FORMAT, "version": __version__, "extra": extra, "rng": get_rng().bit_generator.state}
    if optimizer is not None:
        state = optimizer.state_dict()
        arrays.update({f"optimizer.{name}": array for name, array in state.pop("arrays").items()})
        info["optimizer"] = {"kind": type(optimizer).__name__, **state}
    write(
        path,
        {name: np.asarray(to_device(array, "cpu"), order="C") for name, array in arrays.items()},
        info,
    )


def load_checkpoint(path, model=None, optimizer=None, *, rng=False):
    """Read a checkpoint into a model and an optimizer, each left alone where None; returns what ``extra`` was.

    rng         also continue the random generator (dropout on the CPU) where the checkpoint left it

    A file that is truncated, corrupt or of other parameters is a ValueError naming it; nothing is changed then.
    """
    arrays, info = read(path)
    try:
        if optimizer is not None:
            saved = _optimizer_state(arrays, info, optimizer)
            optimizer.check_state_dict(saved)
        if model is not None:
            model.load_state_dict(_strip(arrays, "model."))
        if optimizer is not None:
            optimizer.load_state_dict(saved)
        if rng:
            get_rng().bit_generator.state = info["rng"]
    except ValueError as error:
        raise ValueError(f"load_checkpoint: {path}: {error}") from None
    return info["extra"]


def _strip(arrays, prefix):
    return {name[len(prefix) :]: array for name, array in arrays.items() if name.startswith(prefix)}


def _optimizer_state(arrays, info, optimizer):
    state = dict(info.get("optimizer") or {"kind": "no optimizer"})
    kind = state.pop("kind")
    if kind != type(optimizer).__name__:
        raise ValueError(f"the state of a {type(optimizer).__name__} is needed, but the file has that of {kind}")
    return {**state, "arrays": _strip(arrays, "optimizer.")}


def write(path, arrays, info):
    """{name: NumPy array} and JSON values as one safetensors file, replaced in one step; and its .json copy."""
    from safetensors.numpy import save

    path = Path(path)
    info = json.loads(json.dumps(info))  # as read will see it: lists for tuples, text for keys
    text = json.dumps({**info, "sha256": _digest(arrays, info)}, indent=1)
    for target, data in (
        (path, save(arrays, metadata={"gpucnn": text})),
        (path.with_suffix(".json"), text.encode() + b"\n"),
    ):
        with replacing(target, "save_checkpoint") as file:
            file.write(data)


def read(path):
    """({name: NumPy array}, JSON values) of a file that ``write`` made, its checksum verified; else a ValueError."""
    from safetensors import SafetensorError, deserialize

    blob = Path(path).read_bytes()
    try:
        entries = deserialize(blob)
        header = json.loads(blob[8 : 8 + int.from_bytes(blob[:8], "little")])
        info = json.loads(header["__metadata__"]["gpucnn"])
        digest = info.pop("sha256")
        # Copied out of the file's bytes, so that the arrays can be written to.
        arrays = {
            name: np.frombuffer(entry["data"], as_dtype(DTYPES[entry["dtype"]])).reshape(entry["shape"]).copy()
            for name, entry in entries
        }
    except SafetensorError as error:
        raise ValueError(f"load_checkpoint: {path}: a complete safetensors file is needed, but {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        raise ValueError(f"load_checkpoint: {path}: a checkpoint of gpucnn is needed, but this file is none") from None
    if _digest(arrays, info) != digest:
        raise ValueError(f"load_checkpoint: {path}: the content matches its SHA-256, but here it does not (corrupt)")
    if info["format"] != FORMAT:
        raise ValueError(f"load_checkpoint: {path}: format {FORMAT} is read, but the file has {info['format']}")
    return arrays, info


def _digest(arrays, info):
    """SHA-256 over the JSON values and every array with its name, dtype and shape."""
    digest = hashlib.sha256(json.dumps(info, sort_keys=True).encode())
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype.name} {arrays[name].shape}".encode())
        digest.update(arrays[name].reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
