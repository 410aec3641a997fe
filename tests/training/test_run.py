"""Runs: the same bits again, resumed or not; networks of the data's classes and sizes; what a checkpoint gives back."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import gpucnn
from gpucnn import data, models, nn
from gpucnn.checkpoint import read, save_checkpoint
from gpucnn.training import Run, evaluate, load_recipe, load_trained
from tests.data.pictures import smooth, write_folders


@pytest.fixture
def dropout_net(monkeypatch):
    """A network with dropout and batch norm: its state is more than weights."""

    def build(classes, channels):
        return nn.Sequential(
            *(nn.Conv2d(channels, 4, 5, stride=2), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Dropout(0.3), nn.Linear(4 * 6 * 6 if channels == 1 else 4 * 7 * 7, classes)),
        )

    monkeypatch.setitem(models.MODELS, "dropout", build)
    monkeypatch.setitem(models.INPUTS, "dropout", (1, 28, 28))
    return "dropout"


def same(a, b):
    arrays = [
        {**run.training.network.state_dict(), **run.training.optimizer.state_dict()["arrays"]}
        | (run.training.average.state_dict() if run.training.average else {})
        for run in (a, b)
    ]
    assert arrays[0].keys() == arrays[1].keys()
    for name in arrays[0]:
        np.testing.assert_array_equal(arrays[0][name], arrays[1][name], err_msg=name)
    rows = [[{**row, "seconds": 0} for row in run.training.history] for run in (a, b)]
    assert rows[0] == rows[1]


@pytest.mark.parametrize(
    "precision",
    [{}, {"dtype": "bfloat16"}, {"amp": "float16"}, {"amp": "bfloat16"}],
    ids=lambda p: "-".join(p.values()),
)
def test_resumed_equals_straight(tmp_path, small_mnist, dropout_net, precision):
    recipe = load_recipe("lenet", model=dropout_net, epochs=3, batch=50, **precision)
    straight = Run(recipe, small_mnist, seed=7)
    straight.training.fit(3)

    path = tmp_path / "c.safetensors"
    first = Run(recipe, small_mnist, seed=7)
    first.training.fit(1)
    first.save(path)
    gpucnn.manual_seed(99)
    second = Run.resume(path)
    assert second.recipe == recipe and second.options == first.options
    second.training.fit(2)
    second.save(path)
    third = Run.resume(path)
    third.training.fit(3)
    same(straight, third)
    if straight.training.scaler is not None:
        assert third.training.scaler.state_dict() == straight.training.scaler.state_dict()


RECIPE = """
model = "dropout"
batch = 8
epochs = 4
average = 0.9
label_smoothing = 0.1

[optimizer]
name = "sgd"
lr = 0.02
momentum = 0.9

[schedule]
name = "multi_step"
milestones = [11, 19]
per = "step"
warm_up = 5

[train]
padded_crop = { padding = 4 }
flip = {}
warp = { rotation = 5 }
brightness = {}
"""


@pytest.mark.parametrize("at", [3, 8, 13])
def test_resumed_in_the_middle_of_an_epoch(tmp_path, small_cifar, dropout_net, at):
    """With augmentation, threads that prepare batches, and a schedule in its middle; 8 steps make an epoch."""
    (tmp_path / "mine.toml").write_text(RECIPE)
    recipe = load_recipe(tmp_path / "mine.toml")
    straight = Run(recipe, small_cifar, workers=0)
    straight.training.fit(4)

    path, steps = tmp_path / "c.safetensors", []
    first = Run(recipe, small_cifar, workers=3)

    def save(step):
        steps.append(step)
        if len(steps) == at:
            first.save(path)
        return len(steps) == at + 2  # stopped later, as a kill does

    first.training.fit(4, save)
    second = Run.resume(path, workers=2)
    assert second.training.batch == (at - 1) % 8 + 1
    second.training.fit(4)
    same(straight, second)
    assert second.training.rate.t == 32


def test_the_same_seed_gives_the_same_run_and_another_another(small_mnist):
    def weights(seed):
        run = Run(load_recipe("lenet", epochs=1), small_mnist, seed=seed)
        run.training.fit(1)
        return run.training.network[0].weight.numpy().copy()

    np.testing.assert_array_equal(weights(1), weights(1))
    assert not np.array_equal(weights(1), weights(2))


def test_more_epochs_and_moved_data(tmp_path, small_mnist):
    run = Run(load_recipe("lenet", epochs=1), small_mnist)
    run.training.fit(1)
    run.save(tmp_path / "c.safetensors")
    moved = tmp_path / "moved"
    Path(small_mnist).rename(moved)
    try:
        with pytest.raises(FileNotFoundError):
            Run.resume(tmp_path / "c.safetensors", epochs=2)
        again = Run.resume(tmp_path / "c.safetensors", epochs=2, data=str(moved))
    finally:
        moved.rename(small_mnist)
    assert again.recipe.epochs == 2 and len(again.training.fit(2)) == 2


def test_resumed_on_other_data(tmp_path, small_mnist, small_cifar, dropout_net):
    run = Run(load_recipe("lenet", model=dropout_net), small_mnist)
    run.save(tmp_path / "c.safetensors")
    with pytest.raises(ValueError, match=r"Run.resume: .*c.safetensors: the run has classes \['0', .* but the"):
        Run.resume(tmp_path / "c.safetensors", data=small_cifar)


def test_a_checkpoint_without_a_run(tmp_path):
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, nn.Linear(2, 2), epoch=1)
    for load in (Run.resume, load_trained):
        with pytest.raises(ValueError, match=r"c.safetensors: a run of gpucnn train is needed, but this"):
            load(path)


def test_the_data_gives_classes_and_sizes(tmp_path, small_mnist, small_cifar):
    grey = Run(load_recipe("lenet", model="cifar-resnet-20"), small_mnist)
    assert grey.image == (1, 28, 28) and grey.classes == tuple("0123456789")
    coloured = Run(load_recipe("lenet", model="resnet-18"), small_cifar)
    assert coloured.image == (3, 32, 32) and coloured.classes[0] == "airplane"
    folders = Run(load_recipe("cifar-resnet"), write_folders(tmp_path / "folders"))
    assert folders.image == (3, 40, 48) and folders.classes == ("cat", "dog", "eel")
    assert folders.training.network.parameters()[-1].shape == (3,)
    data.pack(data.open_dataset(tmp_path / "folders"), tmp_path / "train.pack")
    packed = Run(load_recipe("cifar-resnet"), tmp_path / "train.pack", tmp_path / "folders/test")
    assert packed.image == (3, 40, 48) and packed.classes == folders.classes
    assert np.array_equal(next(iter(packed.training.loader))[0].numpy(), next(iter(folders.training.loader))[0].numpy())


@pytest.mark.parametrize(
    ("model", "which", "reason"),
    [
        ("lenet", "cifar", "build: lenet is made for 1x28x28 images, but came 3x32x32: linear: weight takes"),
        (
            "googlenet",
            "cifar",
            "build: googlenet is made for 3x224x224 images, but came 3x32x32: ConvShape: ",
        ),
        ("vgg-a", "mnist", "build: vgg-a does not take 1x28x28 images: vgg: five poolings leave something of 32"),
        ("alphago-policy", "cifar", "build: alphago-policy is made for 48x19x19 images, but came 3x32x32: conv2d"),
    ],
)
def test_images_that_do_not_fit_the_network(small_mnist, small_cifar, model, which, reason):
    with pytest.raises(ValueError, match=reason):
        Run(load_recipe("lenet", model=model), {"cifar": small_cifar, "mnist": small_mnist}[which])


def test_images_that_do_not_fit_the_recipe(tmp_path, small_mnist):
    (tmp_path / "crop.toml").write_text('[optimizer]\nname = "adam"\n[train]\ncrop = { size = 40 }\n')
    text = 'model = "cifar-resnet-20"\nbatch = 2\nepochs = 1\n' + (tmp_path / "crop.toml").read_text()
    (tmp_path / "crop.toml").write_text(text)
    with pytest.raises(RuntimeError, match="image 0 of the data set: RandomCrop: 40 x 40 pixels lie in the"):
        Run(load_recipe(tmp_path / "crop.toml"), small_mnist)


def test_parts_that_do_not_belong_together(tmp_path):
    write_folders(tmp_path / "a")
    write_folders(tmp_path / "b", ("cat", "dog", "fly"))
    with pytest.raises(ValueError, match=r"the classes are cat, dog, eel \(3\), but the data has cat, dog, fly \(3\)"):
        Run(load_recipe("cifar-resnet"), tmp_path / "a/train", tmp_path / "b/test")
    with pytest.raises(ValueError, match=r"training takes a second data set for testing, but .*train holds one"):
        Run(load_recipe("cifar-resnet"), tmp_path / "a/train")
    with pytest.raises(ValueError, match="Run: test images go with training images, but came x alone"):
        Run(load_recipe("lenet"), test="x")


def test_image_folders_are_decoded_at_their_short_side(tmp_path, monkeypatch):
    monkeypatch.setitem(models.MODELS, "alexnet", lambda classes, channels: models.alexnet(classes, 8, channels))
    run = Run(load_recipe("alexnet"), write_folders(tmp_path, count=1))
    assert run.training.loader.data.short_side == 256 and run.image == (3, 227, 227)
    assert not any(isinstance(step, data.ShortSide) for step in run.training.loader.transform)


def test_what_a_checkpoint_gives_back(tmp_path, small_cifar, dropout_net):
    (tmp_path / "mine.toml").write_text(RECIPE)
    run = Run(load_recipe(tmp_path / "mine.toml"), small_cifar)
    run.training.fit(1)
    run.save(tmp_path / "c.safetensors")
    trained = load_trained(tmp_path / "c.safetensors")
    assert trained.classes == run.classes and trained.image == (3, 32, 32) and not trained.network.training
    for name, array in run.training.average.model.state_dict().items():  # what was tested, not what was trained
        assert np.array_equal(trained.network.state_dict()[name], array)
    held_out = data.open_dataset(small_cifar, "test")
    found = evaluate(trained.network, trained.loader(held_out))
    row = run.training.history[-1]
    assert (found.loss, found.top1, found.top5) == (row["test_loss"], row["test_accuracy"], row["test_top5"])
    images, _ = next(iter(trained.loader(held_out, 30)))
    with gpucnn.no_grad():
        expected = gpucnn.softmax(trained.network(images), 1).numpy()
    for i in (0, 7):
        np.testing.assert_allclose(trained.predict(held_out[i][0]), expected[i], rtol=1e-5)


@pytest.mark.parametrize("average", ["", "average = 0.9"])
def test_what_a_checkpoint_in_16_bits_gives_back(tmp_path, small_mnist, average):
    """The accuracy that training told, in the same dtype."""
    (tmp_path / "mine.toml").write_text(
        f'model = "lenet"\nbatch = 50\nepochs = 1\ndtype = "bfloat16"\n{average}\n[optimizer]\nname = "adam"\n'
    )
    run = Run(load_recipe(tmp_path / "mine.toml"), small_mnist)
    row = run.training.fit(1)[0]
    run.save(tmp_path / "c.safetensors")
    trained = load_trained(tmp_path / "c.safetensors")
    found = evaluate(trained.network, trained.loader(data.open_dataset(small_mnist, "test")))
    assert (found.loss, found.top1) == (row["test_loss"], row["test_accuracy"])


def test_images_of_other_sizes_and_colours_are_predicted(tmp_path, small_mnist, small_cifar, dropout_net):
    """A picture twice as large, or coloured grey, is the same picture."""
    for folder in (small_mnist, small_cifar):
        run = Run(load_recipe("lenet", model=dropout_net), folder)
        run.save(tmp_path / "c.safetensors")
        trained = load_trained(tmp_path / "c.safetensors")
        H, W = trained.image[1:]
        picture = smooth(H, W)
        if folder == small_mnist:
            picture = np.repeat(picture[:1], 3, 0)
        large = picture.repeat(2, 1).repeat(2, 2)
        wide = np.concatenate([np.zeros_like(picture[..., :4]), picture, np.zeros_like(picture[..., :4])], 2)
        expected = trained.predict(picture)
        assert expected.shape == (10,) and expected.sum() == pytest.approx(1)
        np.testing.assert_allclose(trained.predict(large), expected, atol=0.01)
        np.testing.assert_array_equal(trained.predict(wide), expected)
    run = Run(load_recipe("lenet"), small_mnist)
    run.save(tmp_path / "c.safetensors")
    digit = data.open_dataset(small_mnist, "test")[0][0]
    trained = load_trained(tmp_path / "c.safetensors")
    np.testing.assert_array_equal(trained.predict(digit), trained.predict(np.repeat(digit, 3, 0)))


def test_a_damaged_checkpoint_is_named(tmp_path, small_mnist):
    run = Run(load_recipe("lenet"), small_mnist)
    path = tmp_path / "c.safetensors"
    run.save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"c.safetensors: a complete safetensors file is needed"):
        load_trained(path)
    arrays, info = read((path.write_bytes(whole), path)[1])
    info["extra"]["recipe"]["batch"] = 0
    gpucnn.checkpoint.write(path, arrays, info)
    with pytest.raises(ValueError, match=r"recipe: .*c.safetensors: batch: is a whole number from 1 on, but came 0"):
        Run.resume(path)


@pytest.fixture(scope="module")
def one_epoch():
    """The test accuracy after one tenth of the default run; the full recipe is under ``slow``."""
    return Run(load_recipe("lenet", epochs=1)).training.fit(1)[0]["test_accuracy"]


def test_the_default_recipe_learns(one_epoch):
    assert one_epoch > 0.95


@pytest.mark.parametrize("amp", ["float16", "bfloat16"])
def test_mixed_precision_learns_as_well(one_epoch, amp):
    """Within one point of float32."""
    rows = Run(load_recipe("lenet", epochs=1, amp=amp)).training.fit(1)
    assert rows[0]["test_accuracy"] > one_epoch - 0.01


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_the_default_recipe(dtype):
    run = Run(load_recipe("lenet", dtype=dtype))
    assert run.training.fit(run.recipe.epochs)[-1]["test_accuracy"] >= 0.98


@pytest.mark.slow
def test_full_mnist_in_five_epochs():
    folder = Path(__file__).parents[3] / "shared/data/mnist"
    if not folder.is_dir():
        pytest.skip("the full MNIST files are not beside this checkout")
    run = Run(load_recipe("lenet", epochs=5), str(folder))
    assert run.training.fit(5)[-1]["test_accuracy"] >= 0.99


def test_recipes_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        load_recipe("lenet").epochs = 1
