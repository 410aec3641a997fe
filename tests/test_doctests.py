"""Every example in a docstring of gpucnn runs and prints what it says."""

import doctest
import importlib
import pkgutil

import numpy as np
import pytest

import gpucnn

PUBLIC = {name: value for name, value in vars(gpucnn).items() if not name.startswith("_")}


def examples():
    for name in ["gpucnn", *(info.name for info in pkgutil.walk_packages(gpucnn.__path__, "gpucnn."))]:
        if name.rpartition(".")[2].startswith("_"):  # the extensions; and __main__ runs the command line
            continue
        module = importlib.import_module(name)
        visible = {"np": np, "gpucnn": gpucnn, **PUBLIC, **vars(module)}
        for test in doctest.DocTestFinder().find(module, globs=visible):
            if test.examples:
                yield pytest.param(test, id=test.name)


@pytest.mark.parametrize("test", list(examples()))
def test_example(test, capsys):
    gpucnn.manual_seed(0)
    failed, _ = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test)
    assert not failed, capsys.readouterr().out
