"""The training loop: what it computes, its callbacks, its state between any two steps."""

import numpy as np
import pytest

import gpucnn
from gpucnn import Tensor, nn, optim
from gpucnn.data import DataLoader, digits
from gpucnn.training import Step, StopTraining, Training, fit


def small():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))


def loaders(images=96, batch=32):
    train, test = digits()
    return DataLoader(train[:images], batch, shuffle=True), DataLoader(test[:images], batch)


def settings(network, **options):
    return {"network": network, "optimizer": optim.SGD(network.parameters(), 0.05, 0.9), **options}


def test_the_steps_are_those_of_a_loop_by_hand():
    rate = optim.schedule.cosine(6)
    network = small()
    train, test = loaders()
    options = settings(network)
    rows = fit(**options, loader=train, epochs=2, schedule=rate, test=test)

    assert options["optimizer"].lr == 0.05

    gpucnn.manual_seed(0)
    other = small()
    optimizer = optim.SGD(other.parameters(), 0.05, 0.9)
    losses = []
    train = loaders()[0]
    for t, (x, labels) in enumerate((*train, *train)):
        optimizer.lr = 0.05 * rate(t)
        loss = gpucnn.cross_entropy(other(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.array_equal(network[1].weight.numpy(), other[1].weight.numpy())
    assert [row["epoch"] for row in rows] == [1, 2]
    assert [row["train_loss"] for row in rows] == pytest.approx([np.mean(losses[:3]), np.mean(losses[3:])], rel=1e-6)
    assert [row["lr"] for row in rows] == [0.05 * rate(2), 0.05 * rate(5)]
    logits = other(Tensor(next(iter(DataLoader(test.data, 96)))[0].data))
    expected = (logits.numpy().argmax(1) == test.data.labels).mean()
    assert rows[1]["test_accuracy"] == expected <= rows[1]["test_top5"]
    assert rows[0]["seconds"] > 0


def test_any_iterable_of_batches_and_no_test():
    x = np.random.default_rng(0).standard_normal((4, 784)).astype(np.float32)
    batches = [(Tensor(x), Tensor(np.arange(4)))] * 5
    steps = []
    rows = fit(**settings(small()), loader=batches, epochs=2, on_step=steps.append)
    assert len(steps) == 10 and all(isinstance(step, Step) for step in steps)
    assert (steps[7].epoch, steps[7].batch, steps[7].batches, steps[7].images, steps[7].lr) == (2, 3, 5, 4, 0.05)
    assert np.mean([step.loss.item() for step in steps[5:]]) == pytest.approx(rows[1]["train_loss"])
    assert rows[0].keys() == {"epoch", "lr", "train_loss", "seconds"}


def stop(_):
    raise StopTraining


@pytest.mark.parametrize("end", [stop, lambda _: True], ids=["raises", "returns True"])
def test_callbacks_stop(end):
    called = []
    train, test = loaders()
    rows = fit(**settings(small()), loader=train, epochs=9, on_epoch=[lambda row: row["epoch"] == 2, called.append])
    assert len(rows) == len(called) == 2  # the others are called, too
    assert len(fit(**settings(small()), loader=train, epochs=9, on_epoch=end)) == 1
    rows = fit(**settings(small()), loader=train, epochs=9, test=test, on_step=[called.append, end])
    assert rows == [] and called[2].batch == 1 and len(called) == 3


def test_other_answers_of_callbacks_do_not_stop():
    assert len(fit(**settings(small()), loader=loaders()[0], epochs=2, on_epoch=lambda row: row["epoch"])) == 2


def test_an_error_of_a_callback_comes_out():
    with pytest.raises(KeyError):
        fit(**settings(small()), loader=loaders()[0], epochs=2, on_step=lambda step: {}["none"])


@pytest.mark.parametrize("mode", ["min", "max"])
def test_a_plateau_is_told_of_each_epoch(mode):
    plateau = optim.Plateau(factor=0.5, patience=0, threshold=2.0, mode=mode)  # nothing is such an improvement
    train, test = loaders()
    rows = fit(**settings(small()), loader=train, epochs=4, schedule=plateau, test=test)
    assert [row["lr"] for row in rows] == [0.05, 0.05, 0.025, 0.0125]


def test_a_plateau_of_an_accuracy_needs_a_test():
    with pytest.raises(ValueError, match="fit: a Plateau of mode max is told the accuracy on test"):
        fit(**settings(small()), loader=loaders()[0], epochs=1, schedule=optim.Plateau(mode="max"))


def test_the_average_is_tested():
    network = small()
    average = optim.MovingAverage(network, 0.5)
    train, test = loaders()
    rows = fit(**settings(network), loader=train, epochs=1, test=test, average=average)
    assert not np.array_equal(average.model[1].weight.numpy(), network[1].weight.numpy())
    assert rows[0]["test_loss"] == gpucnn.evaluate(average, test).loss != gpucnn.evaluate(network, test).loss


class TwoHeads(nn.Module):
    """A network with a loss of its own, as GoogLeNet's."""

    def __init__(self):
        self.body, self.calls = small(), []

    def forward(self, x):
        y = self.body(x)
        return (y, y) if self.training else y

    def loss(self, outputs, labels):
        self.calls.append(len(outputs))
        return sum(gpucnn.cross_entropy(output, labels) for output in outputs)


def test_a_loss_of_the_network_and_one_that_is_given():
    network = TwoHeads()
    train, test = loaders()
    rows = fit(**settings(network), loader=train, epochs=1, test=test)
    assert network.calls == [2, 2, 2] and rows[0]["test_loss"] < rows[0]["train_loss"]
    network = TwoHeads()
    fit(
        **settings(network),
        loader=train,
        epochs=1,
        loss=lambda outputs, labels: gpucnn.cross_entropy(outputs[0], labels),
    )
    assert network.calls == []


def test_a_loss_that_is_not_finite():
    network = small()
    train, test = loaders()
    with pytest.raises(ValueError, match=r"fit: the loss stays finite, but in epoch 1 it is (inf|nan); a smaller"):
        fit(**settings(network), loader=train, epochs=1, loss=lambda *pair: gpucnn.cross_entropy(*pair) * 1e39)

    def broken(step):
        if step.batch == 3:  # the last: its loss was finite
            network[1].weight.data[...] = np.nan

    with pytest.raises(ValueError, match="fit: the loss stays finite, but in epoch 1 it is nan"):
        fit(**settings(network), loader=train, epochs=1, test=test, on_step=broken)


def test_a_loader_without_images():
    with pytest.raises(ValueError, match="fit: a loader has images, but in epoch 1 there are none"):
        fit(**settings(small()), loader=[], epochs=1)
    with pytest.raises(ValueError, match="evaluate: a loader has images, but there are none"):
        gpucnn.evaluate(small(), [])


def state(training):
    arrays = {**training.network.state_dict(), **training.optimizer.state_dict()["arrays"]}
    if training.average is not None:
        arrays |= {f"average.{name}": array for name, array in training.average.state_dict().items()}
    return {name: array.copy() for name, array in arrays.items()}


@pytest.mark.parametrize("amp", [None, "float16"])
@pytest.mark.parametrize("at", [1, 2, 3, 5])
def test_saved_and_loaded_after_any_step(tmp_path, at, amp):
    """With dropout, batch norm, an average, a schedule with state and loss scaling; 3 steps make an epoch."""

    def training():
        gpucnn.manual_seed(1)
        network = nn.Sequential(
            *(nn.Conv2d(1, 4, 5, stride=2), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Dropout(0.3), nn.Linear(144, 10)),
        )
        train, test = loaders()
        plateau = optim.Plateau(factor=0.5, patience=0, threshold=2.0)
        average = optim.MovingAverage(network, 0.9)
        return Training(**settings(network, loader=train, test=test, schedule=plateau, average=average, amp=amp))

    straight = training()
    straight.fit(4)

    path, first, steps = tmp_path / "c.safetensors", training(), []

    def save(step):
        steps.append(step)
        if len(steps) == at:
            first.save(path, note="kept")
            return True

    first.fit(4, save)
    second = training()
    gpucnn.manual_seed(99)
    assert second.load(path) == {"note": "kept"}
    assert (second.epoch, second.batch) == ((at - 1) // 3, (at - 1) % 3 + 1)
    second.fit(4)
    expected, found = state(straight), state(second)
    assert expected.keys() == found.keys()
    for name in expected:
        assert np.array_equal(expected[name], found[name]), name
    assert [{**row, "seconds": 0} for row in second.history] == [{**row, "seconds": 0} for row in straight.history]
    if amp:
        assert second.scaler.state_dict() == straight.scaler.state_dict()


def test_evaluation():
    """Against NumPy, on a network that gives its input as logits; in evaluation mode, and back."""
    rng = np.random.default_rng(3)
    logits, labels = rng.standard_normal((50, 7)).astype(np.float32), rng.integers(0, 7, 50)

    class Scaled(nn.Module):
        def __init__(self):
            self.scale, self.dropout = nn.Parameter(np.ones(1, np.float32)), nn.Dropout(0.9)

        def forward(self, x):
            return self.dropout(x) * self.scale

    network = Scaled().train()
    network.dropout.eval()
    batches = [(Tensor(logits[i : i + 20]), Tensor(labels[i : i + 20])) for i in (0, 20, 40)]
    found = gpucnn.evaluate(network, batches)
    assert network.training and not network.dropout.training
    order = np.argsort(-logits, axis=1)
    assert found.top1 == np.mean(order[:, 0] == labels)
    assert found.top5 == np.mean([label in row[:5] for label, row in zip(labels, order, strict=True)])
    expected = np.zeros((7, 7), int)
    np.add.at(expected, (labels, order[:, 0]), 1)
    assert np.array_equal(found.confusion, expected)
    wide = logits.astype(np.float64)
    loss = np.mean(np.log(np.exp(wide).sum(1)) - wide[np.arange(50), labels])
    assert found.loss == pytest.approx(loss, rel=1e-6)


def test_few_classes_and_a_network_of_nan():
    found = gpucnn.evaluate(nn.Linear(2, 3), [(gpucnn.zeros(4, 2), Tensor(np.array([0, 1, 2, 0])))])
    assert found.top5 == 1 and found.top1 == 0.5  # of equal logits the first
    broken = nn.Linear(2, 3)
    broken.bias.data[...] = np.nan
    assert np.isnan(gpucnn.evaluate(broken, [(gpucnn.zeros(4, 2), Tensor(np.array([0, 1, 2, 0])))]).loss)
