"""The list of all benchmarks: each command line is one that its benchmark takes."""

import pytest

from bench import suite
from gpucnn.cli import BENCHMARKS


@pytest.mark.parametrize("row", sorted({*suite.CPU, *suite.CUDA, *suite.CUDA_QUICK}), ids=" ".join)
def test_options_are_known(row, monkeypatch, capsys):
    """With one option more that is not, the parser complains of that one alone."""
    from importlib import import_module

    monkeypatch.setattr(suite.importlib.util, "find_spec", lambda name: None)
    _, _, _, _, name, *options = suite.command(row, "cpu", "out")
    with pytest.raises(SystemExit):
        import_module(f"gpucnn.bench.{name.replace('-', '_')}").main([*options, "--unknown"])
    assert capsys.readouterr().err == f"gpucnn bench {name}: unrecognized arguments: --unknown\n"


@pytest.mark.parametrize("rows", [suite.CPU, suite.CUDA])
def test_every_benchmark_is_listed(rows):
    """But those that measure training, that need data, or that read results."""
    assert {row[0] for row in rows} == set(BENCHMARKS) - {"train", "pipeline", "report", "diff"}


def test_a_failure_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(suite, "CPU", (("im2col-memory", "no-such-network"), ("im2col-memory", "lenet")))
    monkeypatch.setattr("sys.argv", ["suite", str(tmp_path)])
    assert suite.main() == 1
    assert "1 failed" in capsys.readouterr().out
    assert len((tmp_path / "im2col-memory_cpu.jsonl").read_text().splitlines()) == 3
    assert "columns MiB" in (tmp_path / "im2col-memory_cpu.txt").read_text()


def test_quick_is_for_a_gpu(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["suite", str(tmp_path), "--quick"])
    with pytest.raises(SystemExit):
        suite.main()
    assert "--quick is for --device cuda" in capsys.readouterr().err
