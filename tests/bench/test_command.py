"""`gpucnn bench` as a user runs it: results kept, errors as one line, exit codes."""

import json
import subprocess
import sys

import pytest

from tests.cli.conftest import ENVIRONMENT


@pytest.fixture
def bench(tmp_path):
    """Run ``python -m gpucnn bench``: (exit code, stdout, stderr without the line on a busy machine)."""

    def bench(*arguments, **variables):
        done = subprocess.run(
            [sys.executable, "-m", "gpucnn", "bench", *map(str, arguments)],
            cwd=tmp_path,
            env={**ENVIRONMENT, **variables},
            capture_output=True,
            text=True,
            timeout=120,
        )
        said = [line for line in done.stderr.splitlines(True) if "the machine is busy" not in line]
        return done.returncode, done.stdout, "".join(said)

    return bench


def test_conv_then_report_and_diff(bench, tmp_path):
    out = tmp_path / "results.jsonl"
    sizes = ("2,3,12,11,8,4,5,1x2,2x1,1x2", "2,16,9,9,16,3,3,1")
    options = ("--dtype", "float32", "float16", "--seconds", 0.001, "--out", out)
    code, said, err = bench("conv", "--shape", *sizes, *options)
    assert (code, err) == (0, "")
    assert "[12/12, 0 s left]" in said
    records = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(records) == 12
    assert {r["direction"] for r in records} == {"fwd", "dgrad", "wgrad"}
    for r in records:
        assert r["kind"] == "cpu" and r["threads"] == 1 and r["version"]
        assert r["median_ms"].keys() == r["quartiles_ms"].keys() >= {"auto", "im2col"}
    assert "winograd4" in records[-1]["median_ms"]

    code, said, err = bench("report", out, "--out", tmp_path / "folder")
    assert (code, err) == (0, "")
    assert (tmp_path / "folder/report.md").read_text() == said
    assert (tmp_path / "folder/roofline.png").exists()

    assert bench("diff", out, out)[0] == 0


@pytest.mark.parametrize("name", ["gemm", "copy"])
def test_quick(bench, tmp_path, name):
    code, _, err = bench(name, "--quick", "--seconds", 0.001, "--out", "results")
    assert (code, err) == (0, "")
    lines = (tmp_path / "results").read_text().splitlines()
    assert {json.loads(line)["bench"] for line in lines} == {name}
    assert len(lines) == {"gemm": 4, "copy": 3}[name]


def test_net_and_out_of_memory(bench, tmp_path):
    code, said, err = bench("net", "lenet", "--batch", 2, 10**8, 3, "--seconds", 0.001, "--out", "results")
    assert (code, err) == (0, "")
    first, large, last = (json.loads(line) for line in (tmp_path / "results").read_text().splitlines())
    assert large["out_of_memory"] and "median_ms" not in large
    assert "out of memory" in said
    for record, batch in ((first, 2), (last, 3)):
        assert record["batch"] == batch
        total = sum(record["median_ms"].values())
        assert record["images_per_second"]["gpucnn"] == pytest.approx(1000 * batch / total)
        assert record["flops_forward"] == 2 * batch * (28**2 * 6 * 25 + 10**2 * 16 * 150 + 120 * 400 + 120 * 84 + 840)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("nothing",), "invalid choice: 'nothing'"),
        (("conv", "--layers", "vgg-z"), "layers: a set"),
        (("conv", "--shape", "1,2,3"), "layers: a shape is N,C,H,W,K,R,S"),
        (("conv", "--shape", "1,3,4,4,8,5,5"), "the filter fits the padded image"),
        (("conv", "--shape", "1,3,4,4,8,3,3,1,1,1,2"), "groups divides C and K"),
        (("conv", "--shape", "1,3,4,4,8,3,3", "--algorithm", "quick"), "an algorithm on cpu is one of"),
        (("conv", "--shape", "1,3,4,4,8,2,2", "--algorithm", "winograd4"), "none can be done"),
        (("conv", "--layers", "lenet", "--batch", "0"), "at least one image"),
        (("conv", "--shape", "1,3,4,4,8,3,3", "--out", "no/such/folder"), "no/such/folder: No such file"),
        (("conv", "--shape", "1,3,4,4,8,3,3", "--device", "tpu"), 'device: takes "cpu"'),
        (("net", "lenet-6"), "net: a network is one of"),
        (("net", "lenet", "--batch", "0"), "at least one image"),
        (("gemm", "--size", "0"), "is one length from 1 on"),
        (("report", "absent"), "absent: No such file"),
        (("diff", "absent", "absent"), "absent: No such file"),
        (("train", "--epochs", "0"), "epochs are 1 or more"),
    ],
)
def test_errors_are_one_line(bench, arguments, reason):
    code, _, err = bench(*arguments)
    assert code == 2
    assert err.startswith("gpucnn bench")
    assert err.count("\n") == 1
    assert reason in err


def test_without_pytorch(bench, tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('No module named torch')")
    path = f"{tmp_path}:{ENVIRONMENT['PYTHONPATH']}"
    code, _, err = bench("conv", "--shape", "1,3,4,4,8,3,3", "--compare", "torch", PYTHONPATH=path)
    assert code == 2
    assert err == "gpucnn bench: --compare torch needs PyTorch, but No module named torch; pip install torch\n"


def test_results_before_an_error_are_kept(bench, tmp_path):
    """Of earlier runs, and of the one that is cut off."""
    done = bench("conv", "--shape", "1,3,9,9,8,3,3", "--seconds", 0.001, "--out", "results")
    assert done[0] == 0
    done = bench("conv", "--layers", "nothing", "--out", "results")
    assert done[0] == 2
    assert len((tmp_path / "results").read_text().splitlines()) == 3


def test_help_names_every_benchmark(bench):
    from gpucnn.cli import BENCHMARKS

    code, said, _ = bench("--help")
    assert code == 0
    for name in BENCHMARKS:
        assert name in said
        assert bench(name, "--help")[0] == 0
