"""``gpucnn predict``: the most probable classes of images."""

import sys
from pathlib import Path

import numpy as np

from ..data import decode_image
from ..training import load_trained
from .run_folder import checkpoint_of
from .train import default_device


def predict(run, images, device=None, top=5):
    """Print the classes of each image; returns the exit code, 2 where an image could not be read."""
    trained = load_trained(checkpoint_of(run), device or default_device())
    code = 0
    for path in images:
        try:
            image = decode_image(Path(path).read_bytes(), path)
        except (OSError, ValueError) as error:
            reason = f"{path}: {error.strerror}" if isinstance(error, OSError) else " ".join(str(error).split())
            print(f"gpucnn predict: {reason}", file=sys.stderr)
            code = 2
            continue
        probabilities = trained.predict(image)
        print(path)
        for label in np.argsort(-probabilities, kind="stable")[:top]:
            print(f"{100 * probabilities[label]:8.2f} %  {trained.classes[label]}")
    return code
