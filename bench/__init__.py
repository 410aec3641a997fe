"""Benchmarks and the check on a GPU; each module runs as `python -m bench.<name>` in the checkout's root."""

import sys
from pathlib import Path

# `python -m` puts the checkout first on the path, where gpucnn may have no extensions; an installed one goes first.
_ROOT = str(Path(__file__).resolve().parent.parent)
sys.path[:] = [folder for folder in sys.path if folder not in ("", _ROOT)] + [_ROOT]
