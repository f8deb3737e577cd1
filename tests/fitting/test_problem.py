"""Stages one after the other: each from where the one before has led, gone on with, and divided where need be."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from physode.errors import SolveError
from physode.fitting import FitConfig, create_run, effective_config, fit, open_run
from physode.fitting.data import digest
from physode.fitting.objective import Objective
from physode.fitting.problem import optimise, pose_fit
from physode.simulators import simulate_van_der_pol

GRID = {"method": "rk4", "train_until": 6.0}
FIRST = {"optimizer": "adam", "lr": 0.05}


@pytest.fixture(scope="module")
def noisy():
    return simulate_van_der_pol(preset="aca", t_end=6.0, points=61, noise=0.01)


def told(data, *, state=None, **settings):
    """Epochs with the number of times looked at, and where the optimisation ended."""
    epochs = []
    problem = pose_fit(data, effective_config(FitConfig(**settings, **GRID), data))
    objective, ended = optimise(problem, state=state, on_epoch=lambda e, s: epochs.append((e.epoch, e.stage, s.times)))
    return epochs, objective, ended


def test_stages_follow_each_other_and_epochs_are_counted_through(noisy):
    epochs, objective, ended = told(noisy, schedule="growing", stages=3)
    assert [epoch for epoch, _, _ in epochs] == list(range(len(epochs)))
    assert list(dict.fromkeys((stage, times) for _, stage, times in epochs)) == [(1, 16), (2, 31), (3, 61)]
    assert (objective.stage.times, ended.finished.split(":")[0]) == (61, "converged")


def test_stages_of_gradient_optimisers_have_equal_shares_of_the_epochs(noisy):
    epochs, _, ended = told(noisy, schedule="shooting", stages=3, epochs=9, **FIRST)
    assert [stage for _, stage, _ in epochs] == [1, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert ended.finished == "all 9 epochs done"


@pytest.mark.parametrize("optimizer", [{}, {**FIRST, "epochs": 20}])
def test_a_stage_begins_where_the_one_before_ended(noisy, optimizer):
    found = fit(noisy, FitConfig(schedule="growing", stages=2, **optimizer, **GRID))
    ends = [epoch for epoch in found.history if epoch.stage == 1]
    begins = next(epoch for epoch in found.history if epoch.stage == 2)
    best = min((epoch for epoch in ends if epoch.loss is not None), key=lambda epoch: epoch.loss)
    first = np.concatenate([best.constants[name] for name in ("mu", "threshold")])
    second = np.concatenate([begins.constants[name] for name in ("mu", "threshold")])
    assert np.abs(second - first).max() <= (0.0 if not optimizer else 0.05 + 1e-12)  # the first of a step of Adam


def test_a_longer_stage_begins_at_the_guess_where_the_shorter_has_led_astray(noisy):
    """Values that are not the oscillator's, in the first stage only, lead away from a guess that was right."""
    y = noisy.y_clean.copy()
    y[0, 1:16] = -y[0, 1:16]
    data = dataclasses.replace(noisy, y=y)
    start = {"mu": (1.0,), "threshold": (0.15,)}
    history = fit(data, FitConfig(schedule="growing", stages=3, init=start, **GRID)).history
    second = next(epoch for epoch in history if epoch.stage == 2)
    assert {name: tuple(value) for name, value in second.constants.items()} == start


NETWORK = {"rhs": "neural", "hidden": (4,), "optimizer": "lm", "stages": 2, "epochs": 20}
KINDS = {
    "growing": {"schedule": "growing", "stages": 3, "initial_state": "fit"},
    "growing by gradients": {"schedule": "growing", "stages": 3, "initial_state": "fit", "epochs": 12, **FIRST},
    "shooting": {"schedule": "shooting", "stages": 3, "initial_state": "fit"},
    "matching": {"schedule": "matching", **NETWORK},
}


class InterruptionError(Exception):
    pass


def check_resuming(data, folder, *, at, settings):
    """Compare a run interrupted at an epoch, and gone on with, to one that was not."""
    config = effective_config(FitConfig(**settings, **GRID), data)
    whole, broken = (create_run(folder / name, config, data=[], digest=digest(data)) for name in ("whole", "broken"))

    def stop(epoch):
        if epoch.epoch == at:
            raise InterruptionError

    expected = fit(data, config, run=whole)
    with pytest.raises(InterruptionError):
        fit(data, config, run=broken, on_epoch=stop, checkpoint_seconds=1e9)
    found = fit(data, config, run=open_run(broken.path), resume=True)
    assert broken.history() == whole.history()
    assert found.report == expected.report
    np.testing.assert_array_equal(found.initial_states, expected.initial_states)
    np.testing.assert_array_equal(found.predictions.y, expected.predictions.y)


@pytest.mark.slow
@pytest.mark.parametrize("at", [2, 9])
@pytest.mark.parametrize("kind", KINDS)
def test_a_fit_interrupted_within_its_stages_goes_on_to_the_same_numbers(noisy, tmp_path, kind, at):
    check_resuming(noisy, tmp_path, at=at, settings=KINDS[kind])


@pytest.mark.parametrize("at", [2, 6])
def test_segments_fitted_by_gradients_go_on_to_the_same_numbers(noisy, tmp_path, at):
    check_resuming(noisy, tmp_path, at=at, settings={"schedule": "shooting", "stages": 3, "epochs": 12, **FIRST})


@pytest.fixture
def stiff(monkeypatch):
    """Solves of all times fail until one of more times than the stage before has been fitted."""
    longest = []

    def failing(own):
        def run(self):
            if self.stage.last and max(longest) < 40:
                raise SolveError("blew up")
            if self.stage.number == 1:
                longest.clear()
            longest.append(self.stage.times)
            return own(self)

        return run

    for name in ("linearise", "evaluate"):
        monkeypatch.setattr(Objective, name, failing(getattr(Objective, name)))


def test_where_the_next_span_cannot_be_solved_one_half_way_is_fitted_first(noisy, stiff):
    epochs, objective, ended = told(noisy, schedule="growing", stages=2)
    assert list(dict.fromkeys((stage, times) for _, stage, times in epochs)) == [(1, 31), (2, 46), (2, 61)]
    constants = [value.item() for value in objective.rhs.constants.values()]
    np.testing.assert_allclose(constants, [1.0, 0.15], rtol=0.05)
    assert ended.finished.startswith("converged")


def test_a_fit_interrupted_half_way_goes_on_to_the_same_numbers(noisy, stiff, tmp_path):
    check_resuming(noisy, tmp_path, at=8, settings={"schedule": "growing", "stages": 2})
    lines = open_run(tmp_path / "broken").history()
    assert [line["epoch"] for line in lines] == list(range(len(lines)))


def test_a_stage_half_way_leaves_epochs_to_the_last(noisy, stiff):
    epochs, _, ended = told(noisy, schedule="growing", stages=2, epochs=12, **FIRST)
    assert any(times == 61 for _, _, times in epochs)
    assert ended.finished == "all 12 epochs done"


@pytest.mark.parametrize("settings", [{"schedule": "full"}, {"schedule": "shooting", "stages": 2}])
def test_where_there_is_no_half_way_the_guess_is_an_error(noisy, monkeypatch, settings):
    def failing(self):
        raise SolveError("blew up")

    monkeypatch.setattr(Objective, "linearise", failing)
    with pytest.raises(SolveError, match="cannot begin at the initial guess: blew up; give another, with `init`"):
        told(noisy, **settings)


def test_the_last_stage_s_unknowns_are_its_best(noisy):
    _, objective, ended = told(noisy, schedule="growing", stages=2, epochs=8, optimizer="adam", lr=0.3)
    assert objective.loss() == pytest.approx(ended.best_loss, rel=1e-12)
    for name, value in objective.rhs.state_dict().items():
        assert torch.equal(value, ended.best_model[name])
