"""``gpucnn train`` by a recipe, with event files; ``gpucnn eval`` and ``gpucnn predict`` of what it leaves."""

import csv
import shutil
import sys

import numpy as np
import pytest

from gpucnn import data
from gpucnn.cli import main
from gpucnn.training import load_trained
from tests.data.pictures import encoded, write_folders

RECIPE = """
model = "cifar-resnet-20"
batch = 6
epochs = 2

[optimizer]
name = "adam"
lr = 0.01

[train]
flip = {}
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with data/train, data/test of cats, dogs and eels, mine.toml, and the run that it gave."""
    folder = tmp_path_factory.mktemp("trained")
    write_folders(folder / "data", size=(16, 16))
    (folder / "mine.toml").write_text(RECIPE)
    options = ("--data", folder / "data", "--recipe", folder / "mine.toml", "--device", "cpu", "--out", folder / "run")
    assert main(["train", *map(str, options), "--tensorboard", "--workers", "1"]) == 0
    return folder


def matrix(folder):
    with open(folder / "confusion.csv", newline="") as file:
        return list(csv.reader(file))


def test_event_file(trained, capsys):
    """Read by tensorboardX's own record reader: a scalar a column and epoch; a resumed run goes on with it."""
    run = trained / "resumed"
    shutil.copytree(trained / "run", run)
    assert main(["train", "--resume", str(run), "--epochs", "3"]) == 0
    found = {}
    for path in run.glob("events.out.tfevents.*"):
        for step, name, value in scalars(path):
            found.setdefault(name, []).append((step, value))
    with open(run / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 and found.keys() == rows[0].keys() - {"epoch"}
    for name, values in found.items():
        expected = [(int(row["epoch"]), pytest.approx(float(row[name]), rel=1e-6)) for row in rows]
        assert sorted(values) == expected


def scalars(path):
    """(step, name, value) of an event file: records of length (8 bytes), CRC (4), an Event, CRC (4)."""
    from tensorboardX.proto.event_pb2 import Event

    content, at = path.read_bytes(), 0
    while at < len(content):
        size = int.from_bytes(content[at : at + 8], "little")
        event = Event.FromString(content[at + 12 : at + 12 + size])
        at += 12 + size + 4
        for value in event.summary.value:
            yield event.step, value.tag, value.simple_value


def test_tensorboard_that_is_not_installed(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    assert main(["train", "--tensorboard"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("gpucnn train: --tensorboard needs tensorboardX, but ") and error.count("\n") == 1
    assert "pip install tensorboardX" in error and list(tmp_path.iterdir()) == []


def test_eval_of_the_runs_own_test_images(run, trained):
    code, out, err = run("eval", trained / "run")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    with open(trained / "run/metrics.csv", newline="") as file:
        last = list(csv.DictReader(file))[-1]
    assert lines[0] == (
        f"cifar-resnet-20 on 12 images: loss {float(last['test_loss']):.4f}, "
        f"top-1 {100 * float(last['test_accuracy']):.2f} %, top-5 100.00 %"
    )
    rows = matrix(trained / "run")
    assert rows[0] == ["label", "cat", "dog", "eel"] and [row[0] for row in rows[1:]] == ["cat", "dog", "eel"]
    counts = np.array([row[1:] for row in rows[1:]], int)
    assert counts.sum(1).tolist() == [4, 4, 4]
    assert np.trace(counts) / 12 == pytest.approx(float(last["test_accuracy"]))
    assert [line.split() for line in lines[2:6]] == rows
    assert (trained / "run/confusion.png").read_bytes().startswith(b"\x89PNG")


def test_eval_of_other_data(capsys, trained, tmp_path):
    data.pack(data.open_dataset(trained / "data"), tmp_path / "train.pack")
    checkpoint = trained / "run/checkpoint.safetensors"
    given = ["eval", str(checkpoint), "--data", str(tmp_path / "train.pack"), "--out", str(tmp_path / "new/out")]
    assert main([*given, "--batch", "5"]) == 0
    packed = capsys.readouterr().out.splitlines()
    assert main(["eval", str(trained / "run"), "--part", "train", "--out", str(tmp_path)]) == 0
    images = capsys.readouterr().out.splitlines()
    assert packed[1:-1] == images[1:-1] and packed[0].split()[6:] == images[0].split()[6:]
    assert matrix(tmp_path / "new/out") == matrix(tmp_path)


def test_eval_of_many_classes_names_the_worst(capsys, trained, tmp_path):
    names = [f"class-{i:02}" for i in range(24)]
    write_folders(tmp_path / "many", names, count=1, size=(12, 12))
    options = [
        "--data",
        tmp_path / "many",
        "--recipe",
        trained / "mine.toml",
        "--epochs",
        "1",
        "--out",
        tmp_path / "run",
    ]
    assert main(["train", *map(str, options), "--device", "cpu"]) == 0
    assert main(["eval", str(tmp_path / "run")]) == 0
    lines = capsys.readouterr().out.splitlines()
    at = lines.index("most frequent confusions:")
    assert 0 < len(lines) - at - 2 <= 10
    assert all(" of 1 class-" in line and " taken for class-" in line for line in lines[at + 1 : -1])
    assert len(matrix(tmp_path / "run")) == 25


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["eval", "nowhere"], "gpucnn eval: nowhere: No such file or directory"),
        (["eval", "RUN", "--data", "nowhere"], "gpucnn eval: nowhere: No such file or directory"),
        (["eval", "RUN", "--data", "OTHER"], "the classes are cat, dog, eel (3), but the data has ant, bee (2)"),
        (["eval", "mine.toml"], "gpucnn eval: load_checkpoint: mine.toml: a complete safetensors file is needed"),
        (["predict", "RUN"], "gpucnn predict: the following arguments are required: IMAGE"),
        (["predict", "nowhere", "a.png"], "gpucnn predict: nowhere: No such file or directory"),
        (["predict", "RUN", "a.png", "--top", "0"], "argument --top: is a whole number from 1 on"),
        (["predict", "RUN", "a.png", "--device", "tpu"], "but came 'tpu'"),
    ],
)
def test_errors_are_one_line(capsys, monkeypatch, trained, tmp_path, arguments, reason):
    monkeypatch.chdir(tmp_path)
    write_folders(tmp_path / "other", ("ant", "bee"), count=1)
    shutil.copy(trained / "mine.toml", tmp_path)
    places = {"RUN": str(trained / "run"), "OTHER": str(tmp_path / "other/test")}
    try:
        code = main([places.get(argument, argument) for argument in arguments])
    except SystemExit as end:
        code = end.code
    captured = capsys.readouterr()
    assert (code, captured.out) == (2, "")
    assert captured.err.count("\n") == 1 and reason in captured.err


def test_predict(run, trained, tmp_path):
    """A damaged or missing image is one line; the others are still predicted."""
    picture = np.full((3, 50, 70), 90, np.uint8)
    for name, content in (("a.png", encoded(picture)), ("bad.jpg", encoded(picture, "JPEG")[:300]), ("text.png", b"x")):
        (tmp_path / name).write_bytes(content)
    code, out, err = run("predict", trained / "run", "bad.jpg", "a.png", "none.png", "text.png", "a.png", "--top", 2)
    assert code == 2
    assert [line.split(": ")[:2] for line in err.splitlines()] == [
        ["gpucnn predict", "decode_image"],
        ["gpucnn predict", "none.png"],
        ["gpucnn predict", "decode_image"],
    ]
    assert (
        "bad.jpg: a complete image is needed" in err
        and "text.png: a complete image is needed, but it is none of" in err
    )
    lines = out.splitlines()
    assert len(lines) == 6 and lines[0] == lines[3] == "a.png" and lines[1:3] == lines[4:]
    expected = load_trained(trained / "run/checkpoint.safetensors").predict(picture)
    best = np.argsort(-expected)[:2]
    assert [line.split() for line in lines[1:3]] == [
        [f"{100 * expected[i]:.2f}", "%", ("cat", "dog", "eel")[i]] for i in best
    ]
    assert run("predict", trained / "run", "a.png")[0] == 0
