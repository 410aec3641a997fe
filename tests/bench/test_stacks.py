"""Stacks of filters and the memory of im2col: what is counted is what the lectures count."""

import json
from itertools import pairwise

import pytest

from gpucnn.bench import im2col_memory, stacks
from gpucnn.conv import ConvShape


def test_weights_of_the_lectures():
    counted = {name: stacks.weights(layers) for field in stacks.STACKS.values() for name, layers in field.items()}
    assert counted["one 7x7"] == 49
    assert counted["three 3x3"] == 27
    assert counted["one 3x3"] == 9
    assert counted["bottleneck 1x1, 3x3, 1x1"] == 3.25
    assert counted["1x3, 3x1"] == 6


@pytest.mark.parametrize("field", stacks.STACKS)
def test_stacks_see_as_far_and_keep_the_size(field):
    height, width = map(int, field.split("x"))
    for layers in stacks.STACKS[field].values():
        assert 1 + sum(r - 1 for *_, r, _ in layers) == height
        assert 1 + sum(s - 1 for *_, s in layers) == width
        chain = stacks.shapes(layers, 2, 6, 11)
        for before, after in pairwise(chain):
            assert before.y == after.x
        assert chain[0].x == chain[-1].y == (2, 6, 11, 11)
        assert sum(shape.flops for shape in chain) == 2 * 2 * 11**2 * 6**2 * stacks.weights(layers)


def test_stacks_are_measured(tmp_path, capsys):
    out = tmp_path / "results"
    sizes = ["--batch", "1", "--channels", "4", "--side", "9"]
    assert stacks.main([*sizes, "--seconds", "0.001", "--out", str(out)]) == 0
    records = [json.loads(line) for line in out.read_text().splitlines()]
    assert [r["layer"] for r in records] == [name for field in stacks.STACKS.values() for name in field]
    by_name = {r["layer"]: r["median_ms"]["gpucnn"] for r in records}
    ratio = f"{by_name['one 7x7'] / by_name['three 3x3']:.2f}"
    (row,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("| three 3x3, gpucnn"))
    assert row.split("|")[2:4] == [" 27 ", " 1.81 "]
    assert row.split("|")[5] == f" {ratio} "


@pytest.mark.parametrize("sizes", [["--channels", "3"], ["--channels", "0"], ["--batch", "0"], ["--side", "0"]])
def test_impossible_stacks(sizes):
    with pytest.raises(ValueError, match=r"^stacks: "):
        stacks.main(sizes)


def test_memory_of_columns(tmp_path, capsys):
    """AlexNet's first layer: 11 x 11 x 3 rows, 55 x 55 columns (the lectures' 363 x 3025)."""
    assert im2col_memory.columns(ConvShape(1, 3, 227, 227, 96, 11, 11, stride=(4, 4)), 4) == 363 * 3025 * 4
    out = tmp_path / "results"
    assert im2col_memory.main(["alexnet", "--batch", "2", "--out", str(out)]) == 0
    first, *others = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(others) == 4
    assert (first["input_bytes"], first["column_bytes"]) == (2 * 3 * 227**2 * 4, 2 * 363 * 3025 * 4)
    assert 0 <= first["workspace_least"] <= first["workspace_best"]
    assert "| alexnet 3x227 to 96 11x11/4 | 1.18 | 8.38 | 7.10 |" in capsys.readouterr().out


def test_memory_of_no_image():
    with pytest.raises(ValueError, match=r"^im2col-memory: a batch has at least one image"):
        im2col_memory.main(["alexnet", "--batch", "0"])
