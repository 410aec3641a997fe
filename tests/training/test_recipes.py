"""Recipes: each one that ships trains its network; the reader says what is wrong with any other."""

import math

import hypothesis
import hypothesis.strategies as st
import pytest

from gpucnn import data, models, optim
from gpucnn.models import MODELS
from gpucnn.training import Recipe, Run, load_recipe
from gpucnn.training.reader import OF_MODEL, names, parse, recipe_of
from tests.data.pictures import write_cifar, write_folders, write_mnist


def test_names():
    assert names() == ["alexnet", "cifar-resnet", "cifar-resnet-110", "googlenet", "lenet", "resnet", "vgg"]


@pytest.mark.parametrize("model", [name for name in MODELS if name != "alphago-policy"])
def test_every_network_has_a_recipe(model):
    assert recipe_of(model) in names()


def test_a_network_without_a_recipe():
    assert set(OF_MODEL.values()) == set(names())
    with pytest.raises(ValueError, match="alphago-policy has no recipe of its own, but none was named; alexnet, "):
        recipe_of("alphago-policy")


# For the big ones, a network that takes the same images in less time: the recipe sees no difference.
SMALLER = {
    "alexnet": lambda classes, channels: models.alexnet(classes, 8, channels),
    "vgg-d": lambda classes, image, channels: models.vgg("a", classes, image, 8, channels),
    "resnet-50": lambda classes, channels: models.ResNet(18, classes, channels),
    "cifar-resnet-110": lambda classes, channels: models.cifar_resnet(8, classes, channels=channels),
}


@pytest.mark.parametrize("name", names())
def test_a_few_steps(name, tmp_path, monkeypatch):
    for model, make in SMALLER.items():
        monkeypatch.setitem(MODELS, model, make)
    if name == "lenet":
        train, test = data.digits()
        write_mnist(tmp_path, train[:40], test[:3])
    elif name.startswith("cifar"):
        write_cifar(tmp_path, 5, 2)
    else:
        write_folders(tmp_path, count=1)
    run = Run(load_recipe(name, batch=20 if name == "lenet" else 2), tmp_path, workers=0)
    before = {key: array.copy() for key, array in run.training.network.state_dict().items()}
    steps = []
    rows = run.training.fit(1, steps.append)
    assert len(steps) in (2, 3) and len(rows) == 1
    assert math.isfinite(rows[0]["train_loss"]) and math.isfinite(rows[0]["test_loss"])
    after = run.training.network.state_dict()
    assert all((after[key] != array).any() for key, array in before.items() if key.endswith("weight"))
    assert (run.training.average is not None) == (name == "googlenet")


def test_learning_rates_are_those_of_the_papers():
    cifar = load_recipe("cifar-resnet")
    rate = cifar.make_schedule(391)
    found = [round(0.1 * rate(t), 9) for t in (0, 31_999, 32_000, 47_999, 48_000, cifar.epochs * 391 - 1)]
    assert found == [0.1, 0.1, 0.01, 0.01, 0.001, 0.001]
    assert 64_000 <= cifar.epochs * 391 < 64_000 + 391
    deep = load_recipe("cifar-resnet-110").make_schedule(391)
    assert [round(0.1 * deep(t), 9) for t in (0, 399, 400, 32_000)] == [0.01, 0.01, 0.1, 0.01]
    google = load_recipe("googlenet").make_schedule(10)
    assert [google(t) for t in (0, 79, 80, 160)] == [1, 1, 0.96, 0.96**2]
    lenet = load_recipe("lenet").make_schedule(125)
    assert lenet(0) == 0.01 and lenet(1249) == pytest.approx(1 / 1250)
    vgg = load_recipe("vgg").make_schedule(10)
    assert isinstance(vgg, optim.Plateau) and vgg.mode == "max"


def test_steps_of_one_image_and_of_a_batch():
    single, batch = load_recipe("alexnet").operations("train")
    assert single == [data.ShortSide(256), data.CentreCrop(256), data.RandomCrop(size=(227, 227))]
    assert [type(step) for step in batch] == [data.RandomFlip, data.ColourOffset]
    assert load_recipe("alexnet", model="alexnet-owt").operations("train")[0][2] == data.RandomCrop(size=(224, 224))
    assert load_recipe("vgg").operations("test") == ([data.ShortSide(384), data.CentreCrop(224)], [])
    assert load_recipe("cifar-resnet").operations("train") == ([], [data.RandomCrop(4), data.RandomFlip()])


def test_options_replace_what_the_recipe_says():
    recipe = load_recipe("cifar-resnet", model="cifar-resnet-56", lr=0.5, epochs=2, batch=7, amp="bfloat16")
    assert (recipe.model, recipe.epochs, recipe.batch, recipe.amp) == ("cifar-resnet-56", 2, 7, "bfloat16")
    assert recipe.optimizer == {"name": "sgd", "lr": 0.5, "momentum": 0.9, "weight_decay": 1e-4}
    assert recipe.schedule == load_recipe("cifar-resnet").schedule
    with pytest.raises(ValueError, match="recipe: options: epochs: is a whole number from 1 on, but came 0"):
        load_recipe("lenet", epochs=0)


def test_a_recipe_in_a_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(FULL)
    recipe = load_recipe(path)
    assert recipe == Recipe(
        model="lenet",
        batch=2,
        epochs=3,
        optimizer={"name": "adam", "betas": [0.8, 0.99]},
        schedule={"name": "step", "every": 1, "per": "epoch"},
        train={"warp": {"rotation": 5}, "cutout": {"size": 4, "value": 9}},
        label_smoothing=0.1,
        average=0.9,
    )
    assert recipe.operations("train")[1] == [data.RandomWarp(rotation=5), data.Cutout(4, 9)]


FULL = """
model = "lenet"
batch = 2
epochs = 3
label_smoothing = 0.1
average = 0.9

[optimizer]
name = "adam"
betas = [0.8, 0.99]

[schedule]
name = "step"
every = 1
per = "epoch"

[train]
warp = { rotation = 5 }
cutout = { size = 4, value = 9 }
"""


@pytest.mark.parametrize(
    ("line", "instead", "reason"),
    [
        ('model = "lenet"', 'model = "vgg"', "model: is one of lenet, .*, but came 'vgg'"),
        ('model = "lenet"', "", "model: is needed, but it is missing"),
        ("batch = 2", "batch = 0", "batch: is a whole number from 1 on, but came 0"),
        ("batch = 2", "batch = 2.0", "batch: is a whole number from 1 on, but came 2.0"),
        ("batch = 2", "batch = true", "batch: is a whole number from 1 on, but came True"),
        ("batch = 2", "btch = 2", "btch: known are .*, but not this key"),
        ("epochs = 3", "epochs = 3\nepochs = 4", "a TOML file is needed, but .*at line 5"),
        ("epochs = 3", "epochs 3", "a TOML file is needed, but .*at line 4, column 8"),
        ("epochs = 3", 'epochs = "3"', "epochs: is a whole number from 1 on, but came '3'"),
        ("label_smoothing = 0.1", "label_smoothing = 2", "label_smoothing: is a number from 0 to 1, but came 2"),
        ("average = 0.9", "average = nan", "average: is a number from 0 to 1, but came nan"),
        ("average = 0.9", "dtype = 'int8'", "dtype: is one of float32, .*, but came 'int8'"),
        ("average = 0.9", "amp = 'float32'", "amp: is one of float16, bfloat16, but came 'float32'"),
        ("average = 0.9", "amp = 'float16'\ndtype = 'bfloat16'", "amp: .*came float16 beside bfloat16"),
        ("average = 0.9", "test = 3", "test: is a table, but came 3"),
        ('name = "adam"', 'name = "adams"', "optimizer.name: is one of sgd, .*, but came 'adams'"),
        ('name = "adam"', "", "optimizer.name: is one of sgd, .*, but came None"),
        ('name = "adam"\nbetas = [0.8, 0.99]', 'name = "sgd"', "optimizer.lr: is needed, but it is missing"),
        ("betas = [0.8, 0.99]", "betas = [0.8]", "optimizer.betas: is a list of 2 times a number, but came"),
        ("betas = [0.8, 0.99]", "betas = [0.8, 2]", r"optimizer: Adam: betas are in \[0, 1\), but came"),
        ("betas = [0.8, 0.99]", "momentum = 0.9", "optimizer.momentum: known are lr, betas, .*, but not this key"),
        ("betas = [0.8, 0.99]", "params = 0.9", "optimizer.params: known are lr, betas, .*, but not this key"),
        ("betas = [0.8, 0.99]", "lr = 0", "optimizer.lr: is positive, but came 0"),
        ("betas = [0.8, 0.99]", "lr = -0.1", "optimizer.lr: is positive, but came -0.1"),
        ("betas = [0.8, 0.99]", "lr = inf", "optimizer.lr: is a number, but came inf"),
        ("betas = [0.8, 0.99]", f"lr = 1{'0' * 400}", "optimizer.lr: is a number, but came 1"),
        ("betas = [0.8, 0.99]", "weight_decay = -1", "optimizer: Adam: weight_decay is not negative"),
        ('name = "step"', 'name = "stairs"', "schedule.name: is one of constant, step, .*, but came 'stairs'"),
        ('name = "step"', 'name = ["step"]', "schedule.name: is one of constant"),
        ('name = "step"', 'name = "linear"', "schedule.every: known are .*, but not this key"),
        ("every = 1", "", "schedule.every: is needed, but it is missing"),
        ("every = 1", "every = 1\nfactor = -1", "schedule: step: factor is positive, but came -1"),
        ("every = 1", "every = 1\nwarm_up_factor = 0.1", "schedule.warm_up: is needed beside warm_up_factor"),
        ('per = "epoch"', 'per = "image"', "schedule.per: is one of step, epoch, but came 'image'"),
        ('"step"\nevery = 1\nper = "epoch"', '"plateau"\nwarm_up = 9', "schedule.warm_up: known are factor, patience"),
        ('"step"\nevery = 1\nper = "epoch"', '"linear"\ntotal = 9', "schedule.total: known are warm_up"),
        ('"step"\nevery = 1\nper = "epoch"', '"cosine"\nfloor = 3', r"schedule: cosine: floor lies in \[0, 1\]"),
        (
            "warp = { rotation = 5 }",
            "wrap = { rotation = 5 }",
            "train.wrap: known are short_side, .*, but not",
        ),
        ("warp = { rotation = 5 }", "warp = 5", "train.warp: is a table, but came 5"),
        ("warp = { rotation = 5 }", "warp = { angle = 5 }", "train.warp.angle: known are rotation, .*, but not"),
        ("warp = { rotation = 5 }", "padded_crop = {}", "train.padded_crop.padding: is needed, but it is missing"),
        ("warp = { rotation = 5 }", "padded_crop = { padding = 0.5 }", "train.padded_crop.padding: is a whole number"),
        ("warp = { rotation = 5 }", "flip = { p = 1.5 }", "train.flip.p: is a number from 0 to 1, but came 1.5"),
        ("warp = { rotation = 5 }", "scale_jitter = { low = 9, high = 8 }", "train: ScaleJitter: 1 <= size <= low <="),
        ("[train]", "[test]", "test.warp: known are short_side, centre_crop, but not this key"),
    ],
)
def test_what_is_wrong_is_named(line, instead, reason):
    assert FULL.count(line) == 1
    with pytest.raises(ValueError, match=rf"^recipe: here.toml: {reason}"):
        parse(FULL.replace(line, instead).encode(), "here.toml")


def test_names_and_files_that_are_not_there(tmp_path):
    with pytest.raises(ValueError, match=r"recipe: one of alexnet, .*, or a TOML file, but came resnett"):
        load_recipe("resnett")
    with pytest.raises(FileNotFoundError, match=r"none\.toml"):
        load_recipe(tmp_path / "none.toml")
    with pytest.raises(ValueError, match=r"recipe: x.toml: a TOML file is needed, but 'utf-8' codec"):
        parse(b"model = '\xff'", "x.toml")


@hypothesis.given(st.data())
def test_damage_is_a_recipe_or_a_value_error(draw):
    """One changed, lost or added character never gives another exception."""
    text = bytearray(FULL.encode())
    at = draw.draw(st.integers(0, len(text) - 1))
    text[at : at + draw.draw(st.integers(0, 2))] = draw.draw(st.binary(max_size=2))
    try:
        assert isinstance(parse(bytes(text), "here.toml"), Recipe)
    except ValueError as error:
        assert str(error).startswith("recipe: here.toml: ")
