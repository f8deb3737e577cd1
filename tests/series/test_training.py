"""Training: the same numbers from the same seed, whatever interrupts it; what is counted; what ends it."""

from __future__ import annotations

import dataclasses
import logging

import numpy as np
import pytest
import torch

from physode.datasets.series import IrregularSeries
from physode.errors import ConfigError, DataError, SolveError
from physode.models import SERIES_MODELS
from physode.models.observations import Points
from physode.series import Trainer, create_series_run, open_series_run, train
from physode.series.data import points_of, posed, split
from physode.series.scaler import Standardised
from physode.series.scores import score
from physode.series.trainer import test_points as told_and_asked

pytestmark = pytest.mark.usefixtures("float64")

TIMES = ("seconds", "test_seconds")


def numbers(line):
    """A line of a history without what a clock said."""
    found = line if isinstance(line, dict) else dataclasses.asdict(line)
    return {key: value for key, value in found.items() if key not in TIMES}


def history(series, config, **options):
    lines = []
    trainer = train(series, config, on_epoch=lambda line, state: lines.append(numbers(line)), **options)
    return lines, trainer


def same_weights(first, second):
    pairs = zip(first.model.state_dict().values(), second.model.state_dict().values(), strict=True)
    return all(torch.equal(one, other) for one, other in pairs)


def run_of(path, series, config):
    words = {"channels": series.channels, "units": series.units, "time_unit": "s", "digest": series.digest()}
    return create_series_run(path, config, data=path / "data.csv", **words)


# Seeds.


@pytest.mark.parametrize("name", SERIES_MODELS)
def test_the_same_seed_gives_the_same_numbers_and_another_one_others(name, series_of, config_of):
    series = series_of(missing=0.2)
    first, one = history(series, config_of(model=name))
    torch.rand(7)  # the global generator has no part in it
    again, other = history(series, config_of(model=name))
    different, _ = history(series, config_of(model=name, seed=1))
    assert first == again
    assert same_weights(one, other)
    assert all(a["loss"] != b["loss"] for a, b in zip(first, different, strict=True))


def test_training_leaves_the_global_generator_as_it_was(series_of, config_of):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    history(series_of(), config_of(epochs=1))
    assert torch.equal(torch.rand(1), expected)


def test_the_points_of_the_test_are_the_same_whatever_the_seed_and_the_observed_are_new_every_epoch(
    series_of, config_of, monkeypatch
):
    points = points_of(series_of())
    first, second = (told_and_asked(points, config_of(seed=seed)) for seed in (0, 1))
    assert all(torch.equal(one, other) for one, other in zip(first[0], second[0], strict=True))
    told = []

    def remembered(*args, **options):
        told.append(posed(*args, **options))
        return told[-1]

    monkeypatch.setattr("physode.series.trainer.posed", remembered)
    history(series_of(), config_of(epochs=2))
    test, *epochs = (each[0] for each in told)
    assert len(epochs) == 2
    assert not torch.equal(epochs[0].t, epochs[1].t)
    assert test.t.shape[0] == 4


# Interruptions.


@pytest.mark.parametrize("settings", [{}, {"optimiser": "adamax", "lr_decay": 0.9, "kl_delay": 1, "kl_decay": 0.5}])
def test_a_fresh_trainer_goes_on_from_a_state_to_the_same_numbers(settings, series_of, config_of):
    config = config_of(epochs=4, **settings)
    parts = [points_of(part) for part in split(series_of(), config)]
    lines, states = [], []

    def keep(line, state):
        lines.append(numbers(line))
        states.append(dataclasses.replace(state, model={k: v.clone() for k, v in state.model.items()}))
        states[-1].optimizer = torch.utils._pytree.tree_map(
            lambda each: each.clone() if isinstance(each, torch.Tensor) else each, state.optimizer
        )

    whole = Trainer(config, *parts)
    whole.run(keep)
    rest = Trainer(config, *parts)
    rest.restore(states[1], "state")
    resumed = []
    rest.run(lambda line, state: resumed.append(numbers(line)))
    assert resumed == lines[2:]
    assert same_weights(whole, rest)


class Killed(BaseException):
    """What no handler of errors catches."""


@pytest.mark.parametrize("where", ["before its checkpoint", "between checkpoint and history", "after both"])
@pytest.mark.parametrize("epoch", [1, 2])
def test_a_run_that_was_killed_goes_on_to_the_same_history(where, epoch, series_of, config_of, tmp_path, monkeypatch):
    series, config = series_of(), config_of(epochs=3)
    whole = run_of(tmp_path / "whole", series, config)
    _, expected = history(series, config, run=whole)

    run = run_of(tmp_path / "killed", series, config)

    def stop(call, first):
        def stopped(self, line, *rest):
            number = line["epoch"] if isinstance(line, dict) else line.epoch
            if number == epoch and first:
                raise Killed
            call(self, line, *rest)
            if number == epoch:
                raise Killed

        return stopped

    name, first = {
        "before its checkpoint": ("save", True),
        "between checkpoint and history": ("append", True),
        "after both": ("append", False),
    }[where]
    with monkeypatch.context() as patch:
        patch.setattr(type(run), name, stop(getattr(type(run), name), first))
        with pytest.raises(Killed):
            train(series, config, run=run)
    found = open_series_run(run.path)
    _, resumed = history(series, found.config, run=found, resume=True)
    assert [numbers(line) for line in found.history()] == [numbers(line) for line in whole.history()]
    assert same_weights(resumed, expected)


def test_more_epochs_may_be_asked_of_a_finished_run_but_not_fewer(series_of, config_of, tmp_path):
    series = series_of()
    run = run_of(tmp_path / "run", series, config_of(epochs=2))
    train(series, run.config, run=run)
    with pytest.raises(ConfigError, match="has 2 epochs already, `epochs` is 1"):
        train(series, config_of(epochs=1), run=run, resume=True)
    more = dataclasses.replace(run, config=config_of(epochs=3))
    train(series, more.config, run=more, resume=True)
    assert [line["epoch"] for line in more.history()] == [1, 2, 3]
    assert open_series_run(run.path).config.epochs == 3


def test_resuming_on_other_data_or_weights_is_refused(series_of, config_of, tmp_path):
    series = series_of()
    run = run_of(tmp_path / "run", series, config_of(epochs=1))
    train(series, run.config, run=run)
    with pytest.raises(DataError, match=r"not the series that .* was begun with"):
        train(series_of(seed=9), config_of(epochs=2), run=run, resume=True)
    with pytest.raises(DataError, match="weights of another model"):
        train(series, config_of(epochs=2, latent=4), run=run, resume=True)
    with pytest.raises(ConfigError, match="`resume` needs a `run`"):
        train(series, run.config, resume=True)


def test_the_best_checkpoint_is_that_of_the_smallest_test_error(series_of, config_of, tmp_path):
    series, config = series_of(), config_of(epochs=6, lr=0.2)
    run = run_of(tmp_path / "run", series, config)
    train(series, config, run=run)
    errors = [line["test_mse"] for line in run.history()]
    best, last = run.state("best"), run.state()
    assert best.epoch == best.best_epoch == last.best_epoch == 1 + int(np.argmin(errors))
    assert best.best_mse == last.best_mse == min(errors)
    assert last.epoch == 6
    assert best.epoch < 6  # or nothing was tested here
    _, testing = split(series, config)
    trainer = Trainer(config, points_of(split(series, config)[0]), points_of(testing))
    trainer.restore(best, "best.pt")
    scores = score(trainer.model.eval(), *told_and_asked(points_of(testing), config), batch=8, draws=0)
    assert scores.mse == min(errors)


# What is counted.


@pytest.mark.parametrize("gradient", ["aca", "naive", "adjoint"])
def test_the_work_of_a_line_is_what_right_hand_sides_were_called_for_in_an_update(gradient, series_of, config_of):
    config = config_of(epochs=1, batch=8, gradient=gradient, method="dopri5", step=None)
    training, testing = (points_of(part) for part in split(series_of(), config))
    trainer, calls, lines = Trainer(config, training, testing), [], []
    network = trainer.model.network
    for f in (network.flow.f, network.recognition.jumps.flow.f):
        f.register_forward_hook(lambda *_: calls.append(trainer.model.training))
    trainer.run(lambda line, state: lines.append(line))
    assert 2 * (lines[0].rhs_forward + lines[0].rhs_backward) == sum(calls) > 0  # 16 series are two updates
    assert lines[0].accepted > 0
    assert (lines[0].rhs_backward > 0) == (gradient == "adjoint")  # the others keep the steps' graphs


def test_a_recurrent_network_costs_no_right_hand_side(series_of, config_of):
    (line, *_), _ = history(series_of(), config_of(model="gru", epochs=1))
    assert (line["rhs_forward"], line["rhs_backward"], line["accepted"], line["rejected"]) == (0, 0, 0, 0)


def test_progress_rises_and_rates_and_weights_follow_their_schedules(series_of, config_of):
    shares = []
    lines, _ = history(
        series_of(), config_of(epochs=4, kl_weight=0.5, kl_rise=0.5), progress=lambda share, _: shares.append(share)
    )
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 7 / 8)
    assert [line["kl_weight"] for line in lines] == [0.125, 0.375, 0.5, 0.5]
    assert lines[0]["lr"] < lines[1]["lr"] > lines[3]["lr"]


def test_a_rate_that_decays_loses_a_share_in_each_update_until_a_tenth_is_left(series_of, config_of):
    lines, _ = history(series_of(), config_of(epochs=4, lr=0.02, lr_decay=0.7))
    updates = [2 * epoch - 1 for epoch in (1, 2, 3, 4)]  # the last of each epoch, from 0
    assert [line["lr"] for line in lines] == pytest.approx([0.02 * max(0.7**n, 0.1) for n in updates])


def test_the_divergence_has_no_weight_before_its_delay_is_over(series_of, config_of):
    settings = {"epochs": 6, "kl_weight": 2.0, "kl_delay": 2}
    ramp, _ = history(series_of(), config_of(**settings, kl_rise=0.5))
    assert [line["kl_weight"] for line in ramp] == pytest.approx([0, 0, 1 / 3, 1, 5 / 3, 2])
    slow, _ = history(series_of(), config_of(**settings, kl_decay=0.5))
    assert [line["kl_weight"] for line in slow] == [0, 0, 0, 1, 1.5, 1.75]


def test_several_initial_states_of_each_series_are_drawn_where_that_is_asked(series_of, config_of):
    one, three, again = (history(series_of(), config_of(epochs=1, samples=count))[0] for count in (1, 3, None))
    assert numbers(one[0]) == numbers(again[0]) != numbers(three[0])


# What is learnt, and from what.


@pytest.mark.parametrize("name", SERIES_MODELS)
def test_training_makes_the_error_smaller(name, series_of, config_of):
    larger = {"latent": 4, "units": (20,), "sigma": 0.1, "kl_weight": 0.01} if name == "latent-ode" else {}
    config = config_of(model=name, epochs=35, batch=20, lr=0.03, observed=0.9, **{"hidden": 20, **larger})
    lines, _ = history(series_of(60), config)
    assert lines[-1]["test_mse"] < 0.7


def test_what_comes_after_the_cut_has_no_part_in_an_extrapolation(series_of, config_of):
    config = config_of(task="extrapolation", epochs=1)
    training, testing = (points_of(part) for part in split(series_of(), config))
    trainer = Trainer(config, training, testing)
    trainer.run(lambda line, state: None)
    told, asked = told_and_asked(testing, config)
    later = torch.where((testing.t > told.t.amax(1, keepdim=True))[..., None], testing.x + 50.0, testing.x)
    again, changed = told_and_asked(Points(testing.t, later, testing.mask), config)
    with torch.no_grad():
        first, second = (trainer.model.predict(a, b.times).mean for a, b in ((told, asked), (again, changed)))
    assert not torch.equal(asked.x, changed.x)
    assert torch.equal(first, second)


def test_scores_are_means_over_what_was_observed(series_of, config_of):
    """Against loops over the series, one by one."""
    config = config_of(epochs=1)
    training, testing = (points_of(part) for part in split(series_of(missing=0.3), config))
    trainer = Trainer(config, training, testing)
    trainer.run(lambda line, state: None)
    told, asked = told_and_asked(testing, config)
    found = score(trainer.model.eval(), told, asked, batch=3, draws=2)
    columns = [training.x[..., channel][training.mask[..., channel]] for channel in range(2)]
    scale, extent = [each.std(correction=0) for each in columns], [each.max() - each.min() for each in columns]
    squares, others = [], []
    for row in range(len(asked.t)):
        one = torch.tensor([row])
        with torch.no_grad():
            mean = trainer.model.predict(told.rows(one), asked.rows(one).times).mean[0]
        known = set(told.t[row][told.used[row]].tolist())
        for place, channel in asked.mask[row].nonzero().tolist():
            off = float(mean[place, channel] - asked.x[row, place, channel])
            entry = (channel, off**2)
            squares.append(entry)
            if float(asked.t[row, place]) not in known:
                others.append(entry)

    def mean_of(entries, unit):
        return np.mean([square / float(unit[channel]) ** 2 for channel, square in entries])

    assert found.mse == pytest.approx(mean_of(squares, scale), rel=1e-9)
    assert found.mse_by_range == pytest.approx(mean_of(squares, extent), rel=1e-9)
    means = [float(each.mean()) for each in columns]
    apart = [(c, (float(asked.x[row, k, c]) - means[c]) ** 2) for row, k, c in asked.mask.nonzero().tolist()]
    assert found.means_by_range == pytest.approx(mean_of(apart, extent), rel=1e-9)
    assert found.unseen_by_range == pytest.approx(mean_of(others, extent), rel=1e-9)
    rmse = [np.sqrt(np.mean([square for at, square in squares if at == channel])) for channel in range(2)]
    assert found.rmse == pytest.approx(rmse, rel=1e-9)
    assert (found.values, found.series) == (len(squares), 4)
    assert np.isfinite(found.log_likelihood)


# Bad and odd data.


@pytest.mark.parametrize("model", ["latent-ode", "gru"])
def test_a_loss_that_is_no_number_ends_the_training_in_one_line(model, series_of, config_of):
    with pytest.raises(SolveError, match="smaller learning rate") as raised:
        history(series_of(), config_of(model=model, epochs=5, lr=1e200))
    assert "\n" not in str(raised.value)


def test_short_series_are_refused_or_left_out_and_said(sines_of, config_of, caplog):
    t, y = sines_of(12, 4)
    y[3, 1:] = np.nan
    series = IrregularSeries.of_arrays(t, y)
    with pytest.raises(DataError, match="series '3' has a single point"):
        train(series, config_of())
    with caplog.at_level(logging.INFO, logger="physode"):
        history(series, config_of(epochs=1, min_points=2))
    assert "1 series of fewer than 2 points are left out" in caplog.text


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_any_unit_of_time_gives_the_same_training_and_the_unit_is_said(scale, sines_of, config_of, caplog):
    t, y = sines_of()
    expected, _ = history(IrregularSeries.of_arrays(t, y), config_of())
    series = IrregularSeries.of_arrays(t * scale, y, attrs={"time_unit": "s"})
    with caplog.at_level(logging.INFO, logger="physode"):
        found, _ = history(series, config_of())
    assert [line["loss"] for line in found] == pytest.approx([line["loss"] for line in expected], rel=1e-6)
    longest = scale * float((t[:, -1] - t[:, 0])[[int(i) for i in split(series, config_of())[0].names]].max())
    assert f"times are divided by {longest:.6g} s, the longest span" in caplog.text


@pytest.mark.parametrize("model", SERIES_MODELS)
def test_series_of_wildly_different_spans_and_values_train(model, sines_of, config_of):
    t, y = sines_of(20)
    t *= 10.0 ** np.linspace(-9, 3, 20)[:, None]
    y[..., 1] = 1e8 + 1e-2 * y[..., 1]
    lines, _ = history(IrregularSeries.of_arrays(t, y), config_of(model=model))
    assert all(np.isfinite(line["test_mse"]) for line in lines)


@pytest.mark.parametrize(("factor", "offset"), [(1.0, 1e9), (1e-60, 0.0), (1e200, 0.0), (1e-200, 1e-190)])
def test_any_unit_and_offset_of_values_gives_the_same_training_in_single_precision(factor, offset, sines_of, config_of):
    torch.set_default_dtype(torch.float32)
    t, y = sines_of()
    expected, _ = history(IrregularSeries.of_arrays(t, y), config_of())
    found, trainer = history(IrregularSeries.of_arrays(t, factor * y + offset), config_of())
    assert [line["test_mse"] for line in found] == pytest.approx([line["test_mse"] for line in expected], rel=1e-3)
    assert trainer.model.network.readout.weight.dtype == torch.float32


@pytest.mark.parametrize(("t", "y", "why"), [(1.0, 1e308, "values are so large"), (1e308, 1.0, "times are so large")])
def test_numbers_whose_differences_overflow_are_refused(t, y, why):
    times, values = t * np.array([-1.5, 1.5]), y * np.array([-1.5, 1.5])
    model = Standardised(torch.nn.Module(), 1)
    points = Points(torch.tensor(times)[None], torch.tensor(values)[None, :, None], torch.ones(1, 2, 1) > 0)
    with pytest.raises(DataError, match=why):
        model.learn_scales(points)


def test_a_test_error_that_is_no_number_ends_the_training_in_one_line(series_of, config_of):
    torch.set_default_dtype(torch.float32)
    with pytest.raises(SolveError, match=r"test error after epoch 1 .* smaller learning rate"):
        history(series_of(), config_of(model="rnn", epochs=1, batch=20, lr=4e36))


@pytest.mark.parametrize("model", SERIES_MODELS)
def test_a_constant_channel_is_learnt_and_divides_by_nothing(model, sines_of, config_of):
    t, y = sines_of()
    y[..., 1] = 0.1
    lines, trainer = history(IrregularSeries.of_arrays(t, y), config_of(model=model))
    assert all(np.isfinite(list(numbers(line).values())).all() for line in lines)
    assert float(trainer.model.scale[1]) == float(trainer.model.extent[1]) == 1.0


def test_scales_are_numpy_s_of_what_was_observed(series_of):
    series = series_of(missing=0.4)
    model = Standardised(torch.nn.Module(), 2)
    model.learn_scales(points_of(series))
    y = series.y.reshape(-1, 2)
    np.testing.assert_allclose(model.mean, np.nanmean(y, 0), rtol=1e-12)
    np.testing.assert_allclose(model.scale, np.nanstd(y, 0), rtol=1e-12)
    np.testing.assert_allclose(model.extent, np.nanmax(y, 0) - np.nanmin(y, 0), rtol=1e-12)
    ranged = Standardised(torch.nn.Module(), 2, scaling="range")
    ranged.learn_scales(points_of(series))
    assert torch.equal(ranged.scale, model.extent)
    assert torch.equal(ranged.mean, model.mean)
    assert float(model.time_scale) == float(np.diff(series.spans, axis=1).max())
