"""The README's page from the lectures to the function: every name on it exists."""

import inspect
import operator
import re
from pathlib import Path

import pytest

import gpucnn
import gpucnn.summary
from gpucnn.cli import main

README = Path(__file__).resolve().parents[1] / "README.md"
PAGE = README.read_text().split("## From the lectures to the function")[1].split("\n## ")[0]
ROWS = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if line.startswith("| ")][1:]
OPTIONS = re.findall(r"`(\w+)` of `([\w.]+)`", PAGE)
COMMANDS = re.findall(r"`gpucnn (\w+)`", PAGE)
NAMES = sorted(
    {name for row in ROWS for name in re.findall(r"`([\w.]+)`", row[-1])} - {option for option, _ in OPTIONS}
)


def test_every_row_names_something():
    titles = [row for row in ROWS if row[0].startswith("**")]
    assert len(titles) == 4 and len(NAMES) > 80 and OPTIONS and COMMANDS
    assert [row for row in ROWS if row not in titles and ("`" not in row[-1] or len(row) != 2)] == []


@pytest.mark.parametrize("name", NAMES)
def test_the_name_exists(name):
    assert operator.attrgetter(name)(gpucnn) is not None


@pytest.mark.parametrize(("option", "owner"), OPTIONS)
def test_the_option_exists(option, owner):
    owner = operator.attrgetter(owner)(gpucnn)
    assert option in inspect.signature(owner).parameters or f"``{option}``" in owner.__doc__


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_exists(command, capsys):
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0 and command in capsys.readouterr().out
