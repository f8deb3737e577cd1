"""Recurrent networks are fitted, gone on with, and refuse what they cannot learn from."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from physode.errors import ConfigError, DataError
from physode.fitting import FitConfig, create_run, effective_config, fit, open_run
from physode.fitting.data import digest
from physode.fitting.recurrent import RECURRENT, fit_sequences
from physode.fitting.state import read_checkpoint, write_checkpoint
from physode.models import TrajectoryLSTM, cut
from physode.simulators import simulate_three_body

SMALL = {"hidden": (8,), "sequence": 8, "given": 4, "epochs": 6}


@pytest.fixture(scope="module")
def pair():
    """Two trajectories of three bodies at 41 shared times."""
    return simulate_three_body(preset="aca", n=2, t_end=0.4, points=41, noise=1e-4)


@pytest.mark.parametrize("rhs", RECURRENT)
def test_a_fit_returns_the_network_and_its_forecasts(pair, rhs):
    found = fit(pair, FitConfig(rhs=rhs, **{**SMALL, "epochs": 30}))
    assert isinstance(found.model, TrajectoryLSTM)
    losses = [epoch.loss for epoch in found.history]
    assert min(losses) < 0.5 * losses[0]
    assert found.predictions.y.shape == pair.y.shape
    assert np.isfinite(found.predictions.y[..., :9]).all()
    assert np.isnan(found.predictions.y[..., 9:]).all()
    with pytest.raises(ConfigError, match=f"a fit of rhs='{rhs}' has no right-hand side; its network is `model`"):
        _ = found.rhs


def test_the_first_points_are_given_and_errors_are_those_of_forecasts(pair):
    found = fit(pair, FitConfig(rhs="lstm", **SMALL))
    predicted, observed = found.predictions.y[..., :9], pair.y[..., :9]
    np.testing.assert_array_equal(predicted[:, : SMALL["given"]], observed[:, : SMALL["given"]])
    training, beyond, _ = found.report.errors
    rows = pair.t > 0.2
    assert beyond.mse == pytest.approx(np.mean((predicted - observed)[:, rows] ** 2))
    assert (training.values, beyond.values) == (2 * 9 * 20, 2 * 9 * 20)
    assert found.report.constants == found.report.initial_states == ()
    assert found.report.parameters == sum(each.numel() for each in found.model.parameters())


def test_the_seed_decides_the_network(pair):
    settings = FitConfig(rhs="lstm", **{**SMALL, "epochs": 2})
    one, same, other = (fit(pair, dataclasses.replace(settings, seed=seed)) for seed in (0, 0, 1))
    assert one.history == same.history != other.history


class InterruptionError(Exception):
    pass


@pytest.mark.parametrize("rhs", RECURRENT)
def test_an_interrupted_fit_goes_on_to_the_same_numbers(pair, tmp_path, rhs):
    config = effective_config(FitConfig(rhs=rhs, **SMALL), pair)
    whole, broken = (create_run(tmp_path / name, config, data=[], digest=digest(pair)) for name in ("whole", "broken"))

    def stop(epoch):
        if epoch.epoch == 3:
            raise InterruptionError

    expected = fit(pair, config, run=whole)
    with pytest.raises(InterruptionError):
        fit(pair, config, run=broken, on_epoch=stop, checkpoint_seconds=1e9)
    found = fit(pair, config, run=open_run(broken.path), resume=True)
    assert broken.history() == whole.history()
    assert found.report == expected.report
    for name, value in expected.model.state_dict().items():
        assert torch.equal(found.model.state_dict()[name], value)
    np.testing.assert_array_equal(found.predictions.y, expected.predictions.y)


def uneven(data):
    return dataclasses.replace(data, t=data.t**2)


def own_times(data):
    return dataclasses.replace(data, t=np.stack([data.t, data.t + 0.01]))


def holed(data):
    y = data.y.copy()
    y[0, 7, 2] = np.nan
    return dataclasses.replace(data, y=y)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (uneven, "equally spaced"),
        (own_times, "needs times that all trajectories share; choose one with `trajectories`"),
        (holed, "point 7 has missing values"),
    ],
)
def test_wrong_data_are_named(pair, change, message):
    with pytest.raises(ConfigError) as caught:
        fit(change(pair), FitConfig(rhs="lstm", **SMALL))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_data_without_bodies_are_named(oscillation):
    with pytest.raises(ConfigError, match=r"rhs='lstm' needs bodies' positions, columns r1_x, .* have y1, y2"):
        fit(oscillation, FitConfig(rhs="lstm", **SMALL))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sequence": 22}, "22"),
        ({"given": 41}, "`given` 41 points leave none of the 41 to forecast"),
    ],
)
def test_sequences_that_do_not_fit_the_data_are_named(pair, settings, message):
    with pytest.raises((ConfigError, DataError), match=message):
        fit(pair, FitConfig(rhs="lstm", **{**SMALL, **settings}))


def wave(points, *, bodies=1, shift=0.0):
    """Points of circles, three coordinates a body, 40 points a period, the third at rest."""
    phase = 2 * math.pi / 40 * (shift + torch.arange(points, dtype=torch.float64))
    columns = [part for body in range(bodies) for part in (phase.sin(), (phase + body).cos(), 0.1 + 0 * phase)]
    return torch.stack(columns, -1)


def made(bodies=1, *, hidden=8, **settings):
    torch.manual_seed(0)
    return TrajectoryLSTM(bodies, hidden=hidden, **settings).double()


def fitted(sequences, *, model=None, **settings):
    """A short fit: the state at its end, and every epoch with the state after it."""
    told = []
    state = fit_sequences(model or made(), sequences, on_epoch=lambda *each: told.append(each), **settings)
    return state, told


def same(a, b):
    """Whether two nested containers of tensors and numbers are equal to the last bit."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def test_a_sine_wave_is_learnt_and_continued_at_phases_never_seen():
    model = made(hidden=16)
    state, _ = fitted(cut(wave(200), 20), model=model, epochs=300, lr_decay=1.0)
    unseen = wave(40, shift=200.5)
    forecast = model.forecast(unseen[None, :10], 30)[0]
    assert state.best_loss < 1e-3
    assert (forecast[10:] - unseen[10:]).square().mean() < 0.01 * unseen[10:].square().mean()


def test_adam_has_the_decay_rates_that_it_is_given():
    sequences = cut(wave(60), 20)
    usual, same_as_usual, other = (
        fitted(sequences, model=made(), epochs=4, **betas)[0]
        for betas in ({}, {"betas": (0.9, 0.999)}, {"betas": (0.5, 0.5)})
    )
    assert usual.loss == same_as_usual.loss != other.loss
    assert other.optimizer["param_groups"][0]["betas"] == (0.5, 0.5)


def test_the_loss_is_the_mean_square_of_steps_in_units_of_their_deviation():
    sequences = cut(wave(60, bodies=2), 15)[..., [0, 1, 3, 4, 0, 1]]
    model = made(2, augmented=True)
    state, told = fitted(sequences, model=model, epochs=3)
    model.load_state_dict(state.model)
    error = model(sequences[:, :-1]) - sequences[:, 1:]
    expected = (error / sequences.diff(dim=1).std((0, 1), correction=0)).square().mean()
    assert state.loss == pytest.approx(expected.item(), rel=1e-10)
    assert told[-1][0].loss == state.loss


def test_full_batch_epochs_are_adam_with_a_decaying_rate():
    sequences = cut(wave(60), 20)
    state, told = fitted(sequences, epochs=4, lr=0.02, lr_decay=0.5)
    model = made()
    model.standardise(sequences)
    adam = torch.optim.Adam(model.parameters())
    losses = []
    for epoch in range(5):
        adam.zero_grad()
        steps, _ = model.steps(model.inputs(sequences[:, :-1]))
        loss = (steps - model.targets(sequences)).square().mean()
        losses.append(loss.item())
        if epoch < 4:
            loss.backward()
            adam.param_groups[0]["lr"] = 0.02 * 0.5**epoch
            adam.step()
    assert [epoch.loss for epoch, _ in told] == pytest.approx(losses, rel=1e-12)
    assert [epoch.lr for epoch, _ in told] == [None, 0.02, 0.01, 0.005, 0.0025]
    assert [epoch.epoch for epoch, _ in told] == [0, 1, 2, 3, 4]
    for name, value in model.state_dict().items():
        torch.testing.assert_close(state.model[name], value, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("batch", [None, 2])
def test_the_same_seed_gives_the_same_fit(batch):
    sequences = cut(wave(100), 20)
    (first, _), (second, _) = (fitted(sequences, epochs=5, seed=3, batch=batch) for _ in range(2))
    assert same(vars(first), vars(second))


def test_the_seed_orders_the_batches_and_leaves_torchs_own_generator_alone():
    sequences = cut(wave(100), 20)
    before = torch.manual_seed(7).get_state()
    states = []
    for seed in (0, 1):
        model = made()
        torch.set_rng_state(before)
        states.append(fit_sequences(model, sequences, epochs=3, seed=seed, batch=2))
        assert torch.equal(torch.get_rng_state(), before)
    assert states[0].loss != states[1].loss


def test_a_batch_of_all_sequences_or_more_is_the_full_batch():
    sequences = cut(wave(100), 20)
    states = [fitted(sequences, epochs=3, batch=batch)[0] for batch in (None, 5, 9)]
    assert same(vars(states[0]), vars(states[1]))
    assert same(vars(states[0]), vars(states[2]))


@pytest.mark.parametrize("batch", [None, 2])
@pytest.mark.parametrize("at", [0, 3, 6])
def test_a_fit_resumed_from_its_checkpoint_ends_at_identical_numbers(tmp_path, batch, at):
    sequences = cut(wave(100), 20)
    whole, told = fitted(sequences, epochs=6, seed=5, batch=batch)
    write_checkpoint(tmp_path / "state.pt", told[at][1])
    torch.manual_seed(99)
    other = TrajectoryLSTM(1, hidden=8).double()
    state = read_checkpoint(tmp_path / "state.pt")
    resumed, rest = fitted(sequences, model=other, epochs=6, seed=1, batch=batch, state=state)
    assert same(vars(resumed), vars(whole))
    assert [epoch for epoch, _ in rest] == [epoch for epoch, _ in told[at + 1 :]]
    assert same(dict(other.state_dict()), whole.best_model)


def test_states_told_earlier_are_not_changed_by_later_epochs():
    sequences = cut(wave(100), 20)
    _, told = fitted(sequences, epochs=5)
    _, short = fitted(sequences, epochs=2)
    assert same(told[2][1].optimizer, short[2][1].optimizer)
    assert same(told[2][1].model, short[2][1].model)


def test_the_model_ends_with_its_best_weights_of_all_epochs():
    sequences = cut(wave(60), 20)
    model = made()
    state, told = fitted(sequences, model=model, epochs=30, lr=0.3, lr_decay=1.0)
    losses = [epoch.loss for epoch, _ in told]
    best = losses.index(min(losses))
    assert best < 30
    assert state.best_loss == losses[best]
    assert same(dict(model.state_dict()), told[best][1].model)


def test_the_end_says_why_and_earlier_states_do_not():
    state, told = fitted(cut(wave(60), 20), epochs=2)
    assert state.finished == "all 2 epochs done"
    assert [each.finished for _, each in told] == ["", "", "all 2 epochs done"]


def test_a_model_in_single_precision_takes_sequences_in_double_precision():
    sequences = cut(wave(60), 20)
    torch.manual_seed(0)
    model = TrajectoryLSTM(1, hidden=8)
    state = fit_sequences(model, sequences, epochs=3)
    assert {value.dtype for value in model.state_dict().values()} == {torch.float32}
    assert state.loss == pytest.approx(fitted(sequences, epochs=3)[0].loss, rel=1e-4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, r"`epochs` must be at least 1, got 0"),
        ({"batch": 0}, r"`batch` must be at least 1, got 0"),
        ({"lr": 0.0}, r"`lr` must be positive and finite, got 0.0"),
        ({"lr": math.nan}, r"`lr` must be positive and finite, got nan"),
        ({"lr_decay": 1.5}, r"`lr_decay` must be above 0 and at most 1, got 1.5"),
    ],
)
def test_a_setting_out_of_range_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        fit_sequences(made(), cut(wave(60), 20), **settings)


def test_a_loss_that_overflows_ends_the_fit_with_a_remedy():
    with pytest.raises(ConfigError, match=r"after epoch \d; choose a smaller `lr` than 1e\+200"):
        fit_sequences(made(), cut(wave(60), 20), epochs=5, lr=1e200)


def test_sequences_of_another_width_are_refused():
    with pytest.raises(ValueError, match=r"`sequences` must be \(B, T, 9\)"):
        fit_sequences(made(3), cut(wave(60), 20), epochs=1)


@pytest.mark.parametrize("sequences", [torch.zeros(0, 20, 3), torch.zeros(4, 1, 3)])
def test_sequences_without_a_next_point_are_refused(sequences):
    with pytest.raises(ConfigError, match="at least one of at least 2 points"):
        fit_sequences(made(), sequences.double(), epochs=1)


def test_gaps_are_refused_with_a_remedy():
    sequences = cut(wave(60), 20).clone()
    sequences[1, 4, 0] = torch.nan
    with pytest.raises(ConfigError, match=r"sequence 1 has missing values; .*rhs='augmented'"):
        fit_sequences(made(), sequences, epochs=1)


def test_bodies_at_one_place_are_refused_where_the_input_is_augmented():
    with pytest.raises(DataError, match="two bodies are at one place"):
        fit_sequences(made(2, augmented=True), cut(wave(60).repeat(1, 2), 20), epochs=1)
