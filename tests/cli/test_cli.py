"""The command as a user runs it: what it leaves, how it ends, and every error as one line."""

import csv
import fcntl
import json
import os
import pty
import signal
import struct
import termios

import numpy as np
import pytest

import gpucnn
from gpucnn.checkpoint import read
from gpucnn.cli import main
from gpucnn.training import Run


def one_line(result, reason):
    """An error: exit code 2, one line that says why, no traceback."""
    code, _, err = result
    assert code == 2
    assert err.startswith("gpucnn train: ")
    assert err.count("\n") == 1
    assert reason in err


def test_version(run):
    assert run("--version") == (0, f"gpucnn {gpucnn.__version__}\n", "")


def test_info(run):
    code, out, err = run("info")
    assert (code, err) == (0, "")
    for text in ("numpy", "extension _cpu: built; 1 threads", "extension _cuda: ", "GPUCNN_NUM_THREADS = 1 (set)"):
        assert text in out
    assert "GPU" in out


def test_no_command(run):
    code, _, err = run()
    assert code == 2
    assert (
        err == "gpucnn: the following arguments are required: train | eval | predict | summary | pack | bench | info\n"
    )


def test_train_leaves_metrics_curves_and_checkpoint(run, small_mnist, tmp_path):
    code, out, err = run("train", "--data", small_mnist, "--epochs", 2, "--device", "cpu")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("lenet on cpu in float32, 600 training and 200 test images")
    assert [line.split(":")[0] for line in lines[1:3]] == ["epoch 1/2", "epoch 2/2"]
    folder = tmp_path / "runs/lenet-1"
    assert str(folder.relative_to(tmp_path)) in lines[3]
    assert sorted(p.name for p in folder.iterdir()) == [
        "checkpoint.json",
        "checkpoint.safetensors",
        "curves.png",
        "metrics.csv",
    ]
    with open(folder / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert 0 < float(rows[1]["test_accuracy"]) <= 1
    assert float(rows[1]["train_loss"]) < float(rows[0]["train_loss"])
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    content = json.loads((folder / "checkpoint.json").read_text())
    assert content["extra"]["training"]["epoch"] == 2
    assert content["extra"]["options"]["data"] == str(small_mnist)
    assert content["extra"]["recipe"]["optimizer"]["lr"] == 0.05
    assert " images/s, " in lines[1] and lines[1].endswith(" MiB") and "top-5" in lines[1]

    code, out, _ = run("train", "--data", small_mnist, "--epochs", 1, "--device", "cpu")
    assert code == 0
    assert "runs/lenet-2" in out

    code, out, _ = run("train", "--resume", folder)
    assert code == 0
    assert "all 2 epochs are done" in out
    code, out, _ = run("train", "--resume", folder, "--epochs", 3)
    assert code == 0
    assert "epoch 3/3" in out
    assert len((folder / "metrics.csv").read_text().splitlines()) == 4


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize(("option", "told"), [("--dtype", "in {},"), ("--amp", "in float32 with products in {},")])
def test_half_precision(run, small_mnist, option, told, dtype):
    code, out, err = run("train", "--data", small_mnist, "--epochs", 1, option, dtype, "--device", "cpu")
    assert (code, err) == (0, "")
    assert told.format(dtype) in out


def test_channels_last(run, small_mnist):
    given = ("train", "--data", small_mnist, "--epochs", 1, "--layout", "channels_last", "--device", "cpu")
    code, out, err = run(*given, "--out", "here")
    assert (code, err) == (0, "") and "in float32 in channels_last order," in out
    assert run("eval", "here", "--data", small_mnist)[0] == 0


@pytest.mark.cuda
@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_cuda(run, small_mnist, dtype, layout):
    given = ("train", "--data", small_mnist, "--epochs", 1, "--device", "cuda")
    code, _, err = run(*given, "--dtype", dtype, "--layout", layout)
    assert (code, err) == (0, "")


def test_ctrl_c_keeps_the_checkpoint(start, run, small_mnist):
    child = start("train", "--data", small_mnist, "--epochs", 1000, "--out", "here", "--device", "cpu")
    for _ in range(3):  # the start line and two epochs
        child.stdout.readline()
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert "gpucnn train --resume here" in err
    assert err.count("\n") == 1
    code, out, _ = run("train", "--resume", "here", "--epochs", "3")
    assert code == 0
    assert "run folder here" in out


def test_a_long_epoch_is_saved_in_its_middle(capsys, monkeypatch, small_mnist, tmp_path):
    """Every step here; the sixth save is cut off, as if Ctrl-C came then, after four steps of the first epoch."""
    options = ["train", "--data", str(small_mnist), "--epochs", "2", "--batch", "100", "--device", "cpu", "--out"]
    assert main([*options, str(tmp_path / "straight")]) == 0
    monkeypatch.setattr("gpucnn.cli.train.SAVE_EVERY", 0)
    save, saves = Run.save, []

    def interrupted(run, path):
        saves.append(path)
        if len(saves) == 6:
            raise KeyboardInterrupt
        save(run, path)

    monkeypatch.setattr(Run, "save", interrupted)
    assert main([*options, str(tmp_path / "cut")]) == 130
    assert "the checkpoint after epoch 0 and 4 steps is kept" in capsys.readouterr().err
    assert main(["train", "--resume", str(tmp_path / "cut")]) == 0
    checkpoints = [read(tmp_path / name / "checkpoint.safetensors") for name in ("straight", "cut")]
    for name, array in checkpoints[0][0].items():
        assert np.array_equal(array, checkpoints[1][0][name]), name
    rows = [(tmp_path / name / "metrics.csv").read_text().splitlines() for name in ("straight", "cut")]
    assert [row.rpartition(",")[0] for row in rows[0]] == [row.rpartition(",")[0] for row in rows[1]]


def test_a_terminal_gets_a_bar(start, small_mnist):
    main_end, child_end = pty.openpty()
    fcntl.ioctl(child_end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    child = start("train", "--data", small_mnist, "--epochs", 1, "--device", "cpu", stderr=child_end)
    out, _ = child.communicate(timeout=60)
    os.close(child_end)
    shown = os.read(main_end, 1 << 16).decode()
    os.close(main_end)
    assert child.returncode == 0
    assert "100%" in shown
    assert "MiB" in shown
    assert "images/s" in shown
    assert "epoch 1/1" in out


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--lr", "x"], "argument --lr: invalid rate value: 'x'"),
        (["--lr", "-1"], "argument --lr: is a positive number, but came -1"),
        (["--lr", "nan"], "argument --lr: is a positive number, but came nan"),
        (["--epochs", "0"], "argument --epochs: is a whole number from 1 on, but came 0"),
        (["--batch", "1.5"], "argument --batch: invalid count value: '1.5'"),
        (["--seed", "-1"], "argument --seed: is a whole number from 0 on, but came -1"),
        (["vgg"], "argument NAME: invalid choice: 'vgg'"),
        (["--recipe", "vggg"], "recipe: one of alexnet, "),
        (["--recipe", "vggg.toml"], "vggg.toml: No such file or directory"),
        (["alphago-policy"], "recipe: alphago-policy has no recipe of its own"),
        (["vgg-a", "--recipe", "lenet"], "build: vgg-a does not take 1x28x28 images"),
        (["resnet-50"], "ColourOffset: images are (N, 3, H, W), but came (1, 1, 224, 224)"),
        (["--test", "x"], "Run: test images go with training images, but came"),
        (["--workers", "-1"], "argument --workers: is a whole number from 0 on, but came -1"),
        (["--dtype", "int8"], "argument --dtype: invalid choice: 'int8'"),
        (["--amp", "float32"], "argument --amp: invalid choice: 'float32'"),
        (
            ["--amp", "float16", "--dtype", "float16"],
            "amp: is mixed precision beside the dtype float32",
        ),
        (["--device", "tpu"], "but came 'tpu'"),
        (["--data", "nowhere"], "nowhere: No such file or directory"),
        (["--out", "a", "--resume", "b"], "not allowed with"),
        (["--resume", "nowhere"], "nowhere/checkpoint.safetensors: No such file or directory"),
        (["--resume", "x", "--batch", "3"], "--resume keeps the options of the run, but came --batch"),
        (
            ["lenet", "--resume", "x", "--recipe", "lenet"],
            "the options of the run, but came NAME, --recipe",
        ),
        (["--unknown"], "unrecognized arguments: --unknown"),
    ],
)
def test_errors_are_one_line(capsys, monkeypatch, tmp_path, arguments, reason):
    monkeypatch.chdir(tmp_path)
    try:
        code = main(["train", *arguments])
    except SystemExit as end:
        code = end.code
    captured = capsys.readouterr()
    prog = "gpucnn: " if arguments == ["--unknown"] else "gpucnn train: "
    assert captured.err.startswith(prog)
    one_line((code, captured.out, captured.err.replace(prog, "gpucnn train: ", 1)), reason)
    assert list(tmp_path.iterdir()) == []


def test_folders_that_cannot_be_used(run, small_mnist, tmp_path):
    given = ("train", "--data", small_mnist, "--epochs", 1, "--device", "cpu")
    (tmp_path / "file").write_text("")
    one_line(run(*given, "--out", "file"), "file: File exists")
    one_line(run(*given, "--out", "file/below"), "Not a directory")
    assert run(*given, "--out", "taken")[0] == 0
    one_line(run(*given, "--out", "taken"), "taken holds one; continue it with --resume taken")
    checkpoint = tmp_path / "taken/checkpoint.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    one_line(run("train", "--resume", "taken"), "checkpoint.safetensors: a complete safetensors file is needed")


def test_broken_data_is_named(run, small_mnist, tmp_path):
    for path in small_mnist.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    broken = tmp_path / "t10k-images-idx3-ubyte"
    broken.write_bytes(broken.read_bytes()[:1000])
    one_line(run("train", "--data", "."), "t10k-images-idx3-ubyte: sizes (200, 28, 28) need")


def test_debug_shows_the_traceback(run):
    code, _, err = run("train", "--data", "nowhere", GPUCNN_DEBUG="1")
    assert code == 1
    assert "Traceback" in err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
def test_output_that_cannot_be_written(start):
    with open("/dev/full", "w") as full:
        child = start("info", stdout=full)
        _, err = child.communicate(timeout=60)
    assert child.returncode != 0
    assert "No space left" in err
