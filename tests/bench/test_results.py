"""Reading results, comparing two files of them, tables and pictures of a small committed file."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpucnn.bench import diff, history, results
from gpucnn.bench.plots import draw
from gpucnn.bench.tables import percent_of_roof, report, roof

SMALL = Path(__file__).parent / "small.jsonl"
SHAPE = "2,16,12,11,24,3,3,1"


def write(path, *records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def conv(ms, quartiles=None, **others):
    record = {"bench": "conv", "layer": "a", "direction": "fwd", "dtype": "float32", "median_ms": ms}
    return {**record, **({"quartiles_ms": quartiles} if quartiles else {}), **others}


def test_ratio_and_spread():
    before = conv({"auto": 2.0}, {"auto": [1.5, 2.5]})
    after = conv({"auto": 3.0}, {"auto": [2.6, 3.5]})
    ((_, who, ratio, low, high, slower),) = diff.compare([before], [after], 1.1)
    assert (who, ratio, low, high, slower) == ("auto", 1.5, 2.6 / 2.5, 3.5 / 1.5, True)


@pytest.mark.parametrize(
    ("after", "quartiles", "who", "slower"),
    [
        (2.21, [2.2, 2.3], "auto", True),
        (2.19, [2.18, 2.3], "auto", False),  # below the threshold
        (3.0, [1.9, 9.0], "auto", False),  # the quartiles overlap
        (3.0, None, "auto", True),  # no spread is known
        (9.0, [8.0, 9.5], "torch nchw", False),  # PyTorch's own times gate nothing
    ],
)
def test_threshold(after, quartiles, who, slower, tmp_path, capsys):
    a = write(tmp_path / "a", conv({who: 2.0}, {who: [1.9, 2.1]}))
    b = write(tmp_path / "b", conv({who: after}, quartiles and {who: quartiles}))
    assert diff.main([str(a), str(b), "--threshold", "1.1"]) == slower
    out = capsys.readouterr().out
    assert ("SLOWER" in out) == slower
    assert f"1 times compared, {int(slower)} slower" in out


def test_only_equal_measurements_are_compared():
    other = [conv({"auto": 9.0}, dtype="float16"), conv({"auto": 9.0}, shape=[1]), conv({"im2col": 9.0})]
    assert diff.compare([conv({"auto": 1.0})], other, 1.1) == []


def test_the_last_of_equal_measurements_counts():
    assert results.latest([conv({"auto": 1.0}), conv({"auto": 2.0})]) == [conv({"auto": 2.0})]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "line 2 is not"),
        ("[1]", "line 2 is not"),
        ('{"bench": 3}', 'a name "bench"'),
        ('{"bench": "conv", "median_ms": 3}', "an object of times"),
        ('{"bench": "conv", "median_ms": {"auto": -1}}', "positive"),
        ('{"bench": "conv", "median_ms": {"auto": NaN}}', "positive"),
        ('{"bench": "conv", "median_ms": {"auto": "1"}}', "positive"),
        ('{"bench": "conv", "quartiles_ms": {"auto": []}}', "positive"),
    ],
)
def test_malformed_line_is_named(line, reason, tmp_path):
    path = tmp_path / "results.jsonl"
    path.write_text(json.dumps(conv({"auto": 1.0})) + "\n" + line + "\n")
    with pytest.raises(ValueError, match=r"^results: ") as error:
        results.read([path])
    assert reason in str(error.value)
    assert "line 2" in str(error.value)


def test_no_record(tmp_path):
    (tmp_path / "empty").write_text("\n\n")
    with pytest.raises(ValueError, match=r"^results: there are records, but .*empty has none$"):
        results.read([tmp_path / "empty"])


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("any") / "results"
    path.write_bytes(data)
    try:
        results.read([path])
    except ValueError as error:
        assert str(error).startswith("results: ")


def test_tables_of_a_small_file():
    lines = report(results.read([SMALL]))
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("|")]
    (layer,) = (row for row in cells if row[0] == SHAPE and row[2] == "fwd")
    records = results.read([SMALL])
    (record,) = (r for r in records if r.get("layer") == SHAPE and r["direction"] == "fwd")
    median = record["median_ms"]
    theirs = min(median["torch nchw"], median["torch channels_last"])
    assert layer[4] == f"{median['auto']:.3g}"
    assert layer[8] == f"{theirs / median['auto']:.2f}"
    N, C, H, W, K, R, S, P, Q = record["shape"][:9]
    assert layer[9] == f"{2 * N * K * P * Q * C * R * S / median['auto'] / 1e9:.3g}"
    assert any(row[0] == "lenet" and "out of memory" in row for row in cells)
    for title in ("Convolution layers", "Training steps of networks", "Matrix products", "Copies", "Accuracy"):
        assert any(line.startswith(f"### {title}") for line in lines)


def test_percent_of_roof():
    """2 TFLOPS and 0.5 TB/s: a layer of 4e12 flops is bound by products, one of 1 byte a flop by traffic."""
    gemm = {"bench": "gemm", "dtype": "float32", "flops": 6e12, "median_ms": {"gpucnn": 3000.0, "torch": 1.0}}
    copies = [{"bench": "copy", "bytes": b, "median_ms": {"memory": ms}} for b, ms in ((10**6, 1e-9), (10**9, 4.0))]
    found = roof([gemm, gemm | {"dtype": "float16", "flops": 1e15}, *copies], "float32")
    assert found == (2.0, 0.5)
    assert percent_of_roof(4e12, 1e9, 4000.0, found) == pytest.approx(50)
    assert percent_of_roof(1e12, 1e12, 4000.0, found) == pytest.approx(50)
    assert percent_of_roof(4e12, None, 1000.0, found) == pytest.approx(200)
    assert percent_of_roof(1, 1, 1, roof([gemm], "float32")) is None
    assert percent_of_roof(1, None, 1, roof(copies, "float32")) is None


def test_pictures_of_a_small_file(tmp_path):
    paths = draw(results.read([SMALL]), tmp_path)
    assert sorted(path.name for path in paths) == ["algorithms.png", "batch.png", "dtypes.png", "roofline.png"]
    for path in paths:
        assert path.read_bytes().startswith(b"\x89PNG")


def test_figures_of_the_past():
    """Counts of rows, and figures that the lectures quote."""
    winners = history.records("soumith_imagenet_winners")
    assert len(winners) == 48
    assert len(history.records("soumith_layerwise")) == 18
    assert len(history.records("jcjohnson_cnn_benchmarks")) == 116
    rows = history.records("lavin_gray_vgg_e")
    assert len(rows) == 28
    ms = {(r["algorithm"], r["dtype"], r["batch"]): float(r["ms"]) for r in rows}
    assert ms["cuDNN", "float32", "64"] == 394.05
    assert ms["F(2x2,3x3)", "float16", "1"] == 5.53
    for r in rows:  # all TFLOPS are of the same operations an image
        if r["tflops"]:
            assert float(r["tflops"]) * float(r["ms"]) / int(r["batch"]) == pytest.approx(39.0, rel=0.02)


def test_today_stands_beside_the_past():
    record = {"model": "vgg-a", "batch": 2, "dtype": "float32", "device": "CPU", "images_per_second": {"gpucnn": 1}}
    record["median_ms"] = {"gpucnn forward": 10.0, "gpucnn backward": 30.0, "gpucnn update": 5.0}
    lines = history.network_table("VGG", [("Caffe", 1068.0, 323.0, 745.0)], 64, [record])
    assert "| Caffe | 64 | 1068 | 323 | 745 | 16.69 |" in lines
    assert "| **gpucnn float32, CPU** | 2 | 40 | 10 | 30 | 20 |" in lines
