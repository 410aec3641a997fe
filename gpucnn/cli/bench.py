"""``gpucnn bench``: hands over to a module of gpucnn.bench, which knows its own options."""

from importlib import import_module


def bench(name, arguments):
    """Run a benchmark; returns the exit code: 0, 1 where a result was refused or a difference is past its threshold."""
    return import_module(f"gpucnn.bench.{name.replace('-', '_')}").main(arguments)
