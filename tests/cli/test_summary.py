"""``gpucnn summary`` as a user runs it."""

import pytest

from gpucnn.cli import main
from gpucnn.models import MODELS


def show(capsys, *arguments):
    assert main(["summary", *arguments]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out.splitlines()


def test_command(run):
    code, out, err = run("summary", "lenet")
    assert (code, err) == (0, "")
    assert out.splitlines()[0].split() == (
        "layer output activations MiB parameters multiply-adds receptive field".split()
    )


def test_vgg_d(capsys):
    lines = show(capsys, "vgg-d")
    assert lines[1].split() == "input 3x224x224 150,528 0.57 0 0 1x1 / 1x1".split()
    assert lines[2].split() == ("features.0 Conv2d 64x224x224 3,211,264 12.25 1,792 86,704,128 3x3 / 1x1".split())
    assert lines[20].split() == "classifier.0 Linear 4096 4,096 0.02 102,764,544 102,760,448 404x404".split()
    assert lines[-2].split() == "total 15,237,608 58.13 138,357,544 15,470,264,320".split()
    assert lines[-1].startswith("batch 1; ")


def test_batch_multiplies_all_but_parameters(capsys):
    lines = show(capsys, "lenet", "--batch", "100")
    assert lines[2].split()[2:7] == ["6x28x28", "470,400", "1.79", "156", "11,760,000"]
    assert lines[-2].split() == ["total", "887,800", "3.39", "61,706", "41,652,000"]
    assert lines[-1].startswith("batch 100; ")


def test_input(capsys):
    lines = show(capsys, "resnet-18", "--input", "3x64x96")
    assert lines[1].split()[1] == "3x64x96"
    assert lines[2].split()[2] == "64x32x48"


def test_heads_for_training_are_told(capsys):
    assert show(capsys, "googlenet")[-1] == "parameters that only training uses: 6,379,728"


@pytest.mark.parametrize("name", MODELS)
def test_every_network_fits_the_table(capsys, name):
    lines = show(capsys, name)
    assert lines[-2 if name != "googlenet" else -3].startswith("total ")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["vgg"], "argument NAME: invalid choice: 'vgg' (choose from "),
        (["lenet", "--input", "28x28"], "argument --input: is three whole numbers from 1 on, such as 3x224x224"),
        (["lenet", "--input", "1x0x28"], "but came 1x0x28"),
        (["lenet", "--input", "1xax28"], "argument --input: invalid image value: '1xax28'"),
        (["lenet", "--batch", "0"], "argument --batch: is a whole number from 1 on, but came 0"),
        (["lenet", "--input", "3x28x28"], "conv2d: weight takes 1 channels"),
        (["lenet", "--input", "1x40x40"], "linear: weight takes 120 features"),
        (["lenet", "--input", "1x4x4"], "the filter fits the padded image"),
        ([], "the following arguments are required: NAME"),
    ],
)
def test_errors_are_one_line(capsys, arguments, reason):
    try:
        code = main(["summary", *arguments])
    except SystemExit as end:
        code = end.code
    captured = capsys.readouterr()
    assert (code, captured.out) == (2, "")
    assert captured.err.startswith("gpucnn summary: ")
    assert captured.err.count("\n") == 1
    assert reason in captured.err


def test_an_unknown_name_lists_all(capsys):
    with pytest.raises(SystemExit):
        main(["summary", "vgg"])
    error = capsys.readouterr().err
    assert all(name in error for name in MODELS)
