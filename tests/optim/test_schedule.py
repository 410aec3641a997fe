"""Schedules: PyTorch's rates where PyTorch has the schedule, properties, composition, state."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gpucnn
from gpucnn.checkpoint import load_checkpoint, save_checkpoint
from gpucnn.nn import Linear
from gpucnn.optim import SGD, Plateau, Schedule, schedule

ROUNDING = 1e-12  # PyTorch multiplies rate by rate, which rounds more often


def optimizer(lr=0.4):
    return SGD([gpucnn.zeros(1, requires_grad=True)], lr=lr)


TORCH_CASES = {
    "step": (schedule.step(3, 0.5), lambda s, o: s.StepLR(o, 3, 0.5)),
    "multi_step": (schedule.multi_step([2, 5, 9], 0.3), lambda s, o: s.MultiStepLR(o, [2, 5, 9], 0.3)),
    "linear": (schedule.linear(20), lambda s, o: s.LinearLR(o, 1, 0, 20)),
    "cosine": (schedule.cosine(20, 0.25), lambda s, o: s.CosineAnnealingLR(o, 20, 0.1)),
    "restarts": (schedule.cosine(20, cycles=4), lambda s, o: s.CosineAnnealingWarmRestarts(o, 5)),
    "one_cycle": (schedule.one_cycle(20), lambda s, o: s.OneCycleLR(o, 0.4, 20)),
    "one_cycle without rise": (
        schedule.one_cycle(20, rise=0.04),
        lambda s, o: s.OneCycleLR(o, 0.4, 20, pct_start=0.04),
    ),
}


@pytest.mark.torch
@pytest.mark.parametrize("name", TORCH_CASES)
def test_rates_are_those_of_torch(name):
    torch = pytest.importorskip("torch")
    function, make = TORCH_CASES[name]
    other = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.4)
    reference = make(torch.optim.lr_scheduler, other)
    ours = optimizer()
    rate = Schedule(ours, function)
    for _ in range(19):
        assert ours.lr == pytest.approx(other.param_groups[0]["lr"], rel=ROUNDING, abs=ROUNDING)
        rate.step()
        other.step()
        reference.step()


@pytest.mark.torch
@pytest.mark.parametrize("mode", ["min", "max"])
def test_plateau_is_that_of_torch(mode):
    torch = pytest.importorskip("torch")
    other = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.4)
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(other, mode, 0.5, patience=2, min_lr=0.4 / 9)
    ours, plateau = optimizer(), Plateau(0.5, 2, mode=mode, floor=1 / 9)
    rate = Schedule(ours, plateau)
    metrics = [3, 2, 2, 2, 2, 2, 1, 4, 4, 4, 1.00009, 0.9, 5, 5, 5, math.nan, 5, 5, 5, 5, 5, 6, 6, 6]
    for metric in metrics:
        plateau.report(metric)
        rate.step()
        reference.step(metric)
        assert ours.lr == pytest.approx(other.param_groups[0]["lr"], rel=ROUNDING)


totals = st.integers(1, 200)
functions = st.one_of(
    st.builds(schedule.step, totals),
    st.builds(schedule.multi_step, st.lists(totals)),
    st.builds(schedule.linear, totals),
    st.builds(schedule.cosine, totals, st.floats(0, 1), st.integers(1, 5)),
    st.builds(schedule.one_cycle, totals, rise=st.floats(0, 0.99)),
)


@given(functions, st.integers(1, 50), st.integers(0, 500))
def test_any_function_stays_between_0_and_1_and_warms_up(function, steps, t):
    assert 0 <= function(t) <= 1
    warm = schedule.warm_up(steps, function)
    assert warm(t) == min((t + 1) / steps, function(t))
    if t + 1 >= steps:
        assert warm(t) == function(t)


@given(totals, st.integers(1, 5))
def test_cosine_starts_each_cycle_at_1_and_ends_the_last_at_the_floor(cycle, cycles):
    function = schedule.cosine(cycle * cycles, 0.1, cycles)
    assert [function(cycle * i) for i in range(cycles)] == pytest.approx([1] * cycles)
    assert function(cycle * cycles) == pytest.approx(0.1)
    for start in range(0, cycle * cycles, cycle):
        values = [function(start + t) for t in range(cycle)]
        assert values == sorted(values, reverse=True)


def test_one_cycle_peaks_once():
    values = [schedule.one_cycle(100, start=0.1, end=0.01, rise=0.4)(t) for t in range(100)]
    peak = values.index(max(values))
    assert (values[0], values[peak], peak) == (pytest.approx(0.1), pytest.approx(1), 39)
    assert values[-1] == pytest.approx(0.01)
    assert values[: peak + 1] == sorted(values[: peak + 1])
    assert values[peak:] == sorted(values[peak:], reverse=True)


@pytest.mark.parametrize("nested", [False, True])
def test_state_continues_in_a_checkpoint(tmp_path, nested):
    """Also that of a Plateau, which is state of the schedule, or of the one who reports to it."""

    def make(net):
        trained, plateau = SGD(net.parameters(), 0.5), Plateau(0.1, patience=1)
        return trained, plateau, Schedule(trained, schedule.warm_up(3, plateau) if nested else plateau)

    def run(plateau, rate, metrics):
        rates = []
        for metric in metrics:
            plateau.report(metric)
            rate.step()
            rates.append(rate.optimizer.lr)
        return rates

    net = Linear(2, 2)
    trained, plateau, rate = make(net)
    first = run(plateau, rate, [1, 1])
    extra = {"rate": rate.state_dict(), "plateau": plateau.state_dict()}
    assert json.loads(json.dumps(extra)) == extra
    save_checkpoint(tmp_path / "c.safetensors", net, trained, **extra)
    rest = run(plateau, rate, [1, 1, 0.5, 0.5, 0.5])
    assert first[-1] == 0.5 and rest[-1] < 0.01

    other = Linear(2, 2)
    trained, plateau, rate = make(other)
    trained.lr = 7
    saved = load_checkpoint(tmp_path / "c.safetensors", other, trained)
    if nested:
        plateau.load_state_dict(saved["plateau"])
    rate.load_state_dict(saved["rate"])
    assert trained.lr == 0.5
    assert run(plateau, rate, [1, 1, 0.5, 0.5, 0.5]) == rest


def test_groups_follow_by_their_share():
    params = [gpucnn.zeros(1, requires_grad=True) for _ in range(2)]
    trained = SGD([{"params": params[:1], "lr_scale": 0.1}, {"params": params[1:]}], lr=1.0)
    rate = Schedule(trained, schedule.step(1, 0.5))
    rate.step()
    for p in params:
        p.grad = gpucnn.ones(1)
    trained.step()
    assert [p.item() for p in params] == [pytest.approx(-0.05), -0.5]


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: schedule.step(0), "step: every is positive, but came 0"),
        (lambda: schedule.multi_step([1], -1), "multi_step: factor is positive"),
        (lambda: schedule.linear(0), "linear: total is positive"),
        (lambda: schedule.cosine(5, cycles=0), "cosine: cycles is positive"),
        (lambda: schedule.cosine(5, floor=2), "cosine: floor lies in"),
        (lambda: schedule.one_cycle(5, rise=1), "one_cycle: rise lies in"),
        (lambda: schedule.warm_up(-1), "warm_up: steps is positive, but came -1"),
        (lambda: Plateau(1.5), "Plateau: factor lies in"),
        (lambda: Plateau(mode="least"), "mode is min or max, but came .*'least'"),
    ],
)
def test_bad_arguments(make, reason):
    with pytest.raises(ValueError, match=reason):
        make()
