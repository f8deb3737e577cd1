"""Fits find what the data were made with."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from physode.errors import ConfigError, DataError, SolveError
from physode.fitting import FitConfig, fit
from physode.fitting.objective import Objective
from physode.simulators import simulate_three_body, simulate_van_der_pol


def fitted(found):
    return np.array([each.fitted for each in found.report.constants])


def test_least_squares_recovers_masses_from_exact_data(bodies):
    found = fit(bodies)
    assert [each.name for each in found.report.constants] == ["masses[1]", "masses[2]", "masses[3]"]
    assert [each.true for each in found.report.constants] == [1.1, 1.1, 0.9]
    np.testing.assert_allclose(fitted(found), [1.1, 1.1, 0.9], rtol=1e-7)
    assert {each.span: each.mse < 1e-15 for each in found.report.errors} == dict.fromkeys(
        ("training", "beyond", "all"), True
    )
    assert found.report.ended.startswith("converged")


@pytest.mark.slow
def test_least_squares_recovers_the_constants_of_an_oscillator(oscillation):
    np.testing.assert_allclose(fitted(fit(oscillation)), [1.0, 0.15], rtol=1e-6)


@pytest.mark.slow
def test_positive_constants_are_recovered_through_their_logarithms(oscillation):
    found = fit(oscillation, FitConfig(positive=True, init={"threshold": (0.5,)}))
    np.testing.assert_allclose(fitted(found), [1.0, 0.15], rtol=1e-6)
    plain = fit(oscillation, FitConfig(init={"threshold": (0.5,)}))
    errors, same = ([each.standard_error for each in run.report.constants] for run in (found, plain))
    np.testing.assert_allclose(errors, same, rtol=0.2)


def test_only_free_constants_move(oscillation):
    found = fit(oscillation, FitConfig(free=("mu",)))
    assert [each.name for each in found.report.constants] == ["mu"]
    assert float(found.rhs.constants["threshold"]) == 0.15
    np.testing.assert_allclose(fitted(found), [1.0], rtol=1e-6)


def test_several_trajectories_share_their_constants():
    data = simulate_van_der_pol(n=3, mu=0.7, threshold=0.4, t_end=4.0, points=30, seed=3)
    found = fit(data)
    np.testing.assert_allclose(fitted(found), [0.7, 0.4], rtol=1e-6)
    assert found.predictions.y.shape == data.y.shape
    np.testing.assert_allclose(found.predictions.y, data.y, atol=1e-6)


def test_trajectories_may_have_times_of_their_own():
    data = simulate_van_der_pol(n=2, mu=0.7, threshold=0.4, t_end=4.0, points=41, seed=3)
    rows = [slice(0, 40, 2), slice(0, 40, 2)]
    rows[1] = np.r_[0:10, 20:40:2]
    own = dataclasses.replace(
        data,
        t=np.stack([data.t[row] for row in rows]),
        y=np.stack([data.y[i, row] for i, row in enumerate(rows)]),
    )
    np.testing.assert_allclose(fitted(fit(own)), [0.7, 0.4], rtol=1e-6)


@pytest.mark.slow
def test_missing_values_do_not_count(oscillation):
    y = oscillation.y.copy()
    y[0, 3:9, 0] = np.nan
    y[0, 20] = np.nan
    found = fit(dataclasses.replace(oscillation, y=y))
    np.testing.assert_allclose(fitted(found), [1.0, 0.15], rtol=1e-6)
    assert found.report.errors[-1].values == 59 * 2 - 6 - 2


def test_time_may_run_backwards(oscillation):
    back = dataclasses.replace(oscillation, t=oscillation.t[::-1].copy(), y=oscillation.y[:, ::-1].copy())
    found = fit(back, FitConfig(train_until=4.0, init={"mu": (0.9,), "threshold": (0.2,)}))
    np.testing.assert_allclose(fitted(found), [1.0, 0.15], rtol=1e-4)


@pytest.mark.slow
def test_only_the_training_span_is_learnt_from(oscillation):
    y = oscillation.y.copy()
    y[0, 30:] += 100.0
    found = fit(dataclasses.replace(oscillation, y=y))
    np.testing.assert_allclose(fitted(found), [1.0, 0.15], rtol=1e-6)
    training, beyond, _ = found.report.errors
    assert training.end <= 3.0 < beyond.start
    assert beyond.mse > 9000


@pytest.mark.slow
def test_positions_alone_are_fitted_where_there_are_bodies(bodies):
    y = bodies.y.copy()
    y[:, 1:, 9:] += 1.0  # velocities that are not the orbits'
    np.testing.assert_allclose(fitted(fit(dataclasses.replace(bodies, y=y))), [1.1, 1.1, 0.9], rtol=1e-7)
    assert fit(bodies, FitConfig(loss="state", epochs=1)).report.errors[0].values == 39 * 18


@pytest.mark.parametrize("gradient", ["aca", "adjoint", "naive"])
@pytest.mark.parametrize("optimizer", ["adam", "sgd", "lbfgs"])
def test_gradient_optimisers_lower_the_loss(oscillation, optimizer, gradient):
    config = FitConfig(optimizer=optimizer, gradient=gradient, epochs=3, method="dopri5", rtol=1e-6, atol=1e-8)
    found = fit(oscillation, config)
    losses = [epoch.loss for epoch in found.history]
    assert min(losses[1:]) < losses[0]
    assert found.report.loss == pytest.approx(min(losses), rel=1e-6)
    assert all(epoch.accepted > 0 and epoch.rhs_forward > 0 for epoch in found.history)


def test_lbfgs_goes_down_to_the_solver_s_own_errors(oscillation):
    found = fit(oscillation, FitConfig(optimizer="lbfgs"))
    np.testing.assert_allclose(fitted(found), [1.0, 0.15], rtol=1e-6)
    assert found.report.ended.startswith("converged")


@pytest.mark.parametrize("rhs", ["augmented", "neural", "hybrid"])
def test_networks_learn(bodies, rhs):
    found = fit(bodies, FitConfig(rhs=rhs, epochs=4, hidden=(8,) if rhs != "augmented" else None, lr=0.01))
    losses = [epoch.loss for epoch in found.history]
    assert min(losses) < losses[0]
    assert all(each.standard_error is None for each in found.report.constants)
    assert found.predictions.attrs["system"] == found.rhs.name


def test_least_squares_fits_a_network_too(oscillation):
    found = fit(oscillation, FitConfig(rhs="neural", hidden=(4,), optimizer="lm", schedule="full", epochs=12))
    assert found.report.loss < 0.1 * found.history[0].loss


def test_the_seed_decides_the_weights_and_leaves_the_caller_s_generator_alone(oscillation):
    config = FitConfig(rhs="neural", hidden=(4,), epochs=1)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = fit(oscillation, config)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert fit(oscillation, config).history == first.history
    assert fit(oscillation, dataclasses.replace(config, seed=1)).history != first.history


def test_single_precision_fits(oscillation):
    found = fit(oscillation, FitConfig(dtype="float32"))
    assert {parameter.dtype for parameter in found.rhs.parameters()} == {torch.float32}
    np.testing.assert_allclose(fitted(found), [1.0, 0.15], rtol=1e-2)


@pytest.mark.slow
def test_standard_errors_cover_the_truth():
    """Of 40 normal deviates, 95 % of the time between 24 and 35 lie within one standard deviation (binomial, 0.683)."""
    scores = []
    for seed in range(20):
        data = simulate_van_der_pol(preset="aca", t_end=6.0, points=60, noise=0.05, seed=seed)
        truth = {"mu": (1.0,), "threshold": (0.15,)}
        found = fit(data, FitConfig(method="dopri5", rtol=1e-6, atol=1e-8, init=truth))
        scores += [(each.fitted - each.true) / each.standard_error for each in found.report.constants]
    inside = sum(abs(score) < 1 for score in scores)
    assert 21 <= inside <= 35
    assert max(map(abs, scores)) < 4


@pytest.mark.slow
def test_standard_errors_are_those_of_linear_regression(bodies):
    """An independent Jacobian, by central differences of whole solves, gives the same covariance."""
    data = simulate_three_body(preset="aca", t_end=0.2, points=40, noise=1e-3, seed=1)
    found = fit(data, FitConfig(train_until=0.2))
    masses, step = fitted(found), 1e-4

    def residuals(values):
        start = {"masses": tuple(values)}
        same = fit(data, FitConfig(train_until=0.2, init=start, epochs=1))
        return (same.predictions.y - data.y)[0, 1:, :9].ravel()

    columns = [(residuals(masses + e) - residuals(masses - e)) / (2 * step) for e in step * np.eye(3)]
    jacobian, r = np.stack(columns, axis=1), residuals(masses)
    covariance = np.linalg.inv(jacobian.T @ jacobian) * (r @ r) / (len(r) - 3)
    errors = [each.standard_error for each in found.report.constants]
    np.testing.assert_allclose(errors, np.sqrt(np.diag(covariance)), rtol=1e-4)


@pytest.mark.slow
def test_errors_without_noise_are_told_where_the_file_knows_them():
    data = simulate_van_der_pol(preset="aca", t_end=6.0, points=60, noise=0.05)
    training = fit(data).report.errors[0]
    assert training.mse == pytest.approx(0.05**2, rel=0.5)
    assert training.mse_clean < 0.1 * training.mse


def test_a_step_into_a_failing_solve_is_taken_back(oscillation):
    """With mu far below 0 the oscillator blows up in finite time; the first step of this rate leads there."""
    solver = {"method": "dopri5", "rtol": 1e-5, "atol": 1e-7}
    config = FitConfig(optimizer="adam", lr=20.0, epochs=3, free=("mu",), init={"mu": (2.0,)}, **solver)
    found = fit(oscillation, config)
    assert found.history[1].retries > 0
    assert found.history[1].lr == 20.0 * 0.5 ** found.history[1].retries
    assert all(np.isfinite(epoch.loss) for epoch in found.history)


def test_steps_that_all_fail_end_with_an_error(oscillation, monkeypatch):
    evaluate, calls = Objective.evaluate, []

    def failing(self):
        calls.append(1)
        if len(calls) > 1:
            raise SolveError("blew up")
        return evaluate(self)

    monkeypatch.setattr(Objective, "evaluate", failing)
    with pytest.raises(SolveError, match=r"fails after every step from here, 10 halvings.*blew up"):
        fit(oscillation, FitConfig(optimizer="sgd", epochs=3))


@pytest.mark.slow
def test_least_squares_shrinks_its_steps_where_solves_fail(oscillation, monkeypatch):
    linearise, calls = Objective.linearise, []

    def failing(self, *parameters):
        calls.append(1)
        if len(calls) in (2, 3):
            raise SolveError("blew up")
        return linearise(self, *parameters)

    monkeypatch.setattr(Objective, "linearise", failing)
    found = fit(oscillation)
    assert [epoch.loss is None for epoch in found.history[:4]] == [False, True, True, False]
    np.testing.assert_allclose(fitted(found), [1.0, 0.15], rtol=1e-6)


@pytest.mark.parametrize("optimizer", ["lm", "adam"])
def test_a_guess_that_cannot_be_solved_is_an_error(oscillation, optimizer):
    with pytest.raises(SolveError, match="cannot begin at the initial guess"):
        fit(oscillation, FitConfig(optimizer=optimizer, init={"mu": (-50.0,), "threshold": (0.15,)}))


def test_a_prediction_that_ends_early_is_noted(oscillation):
    """Forward in time to where it is fitted, mu < 0 is harmless; beyond, it blows up."""
    start = {"mu": (-1.0,), "threshold": (0.15,)}
    config = FitConfig(optimizer="sgd", lr=1e-12, epochs=1, init=start, train_until=0.5, method="dopri5")
    found = fit(oscillation, config)
    assert any("ended at t = " in note for note in found.report.notes)
    assert found.report.errors[1].mse is None
    assert np.isnan(found.predictions.y[0, -1]).all()


@pytest.mark.slow
def test_undetermined_constants_have_no_standard_errors(oscillation, monkeypatch):
    monkeypatch.setattr(
        "physode.fitting.uncertainty.covariance", lambda *_, **__: (_ for _ in ()).throw(ValueError("no"))
    )
    report = fit(oscillation).report
    assert [each.standard_error for each in report.constants] == [None, None]
    assert "no standard errors: no" in report.notes


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"init": {"mass": (1.0,)}}, "`init` names 'mass'; the constants of three_body are masses"),
        ({"free": ("mass",)}, "`free` names 'mass'"),
        ({"init": {"masses": (1.0, 2.0)}}, "`init` of 'masses' must have 1 or 3 numbers, got [1.0, 2.0]"),
        ({"init": {"masses": (0.0,)}, "positive": True}, "`init` of 'masses' must be finite and above 0"),
        ({"init": {"masses": (float("nan"),)}}, "`init` of 'masses' must be finite"),
        ({"train_until": 0.0}, "`train_until` 0 leaves fewer than two times to train on"),
        ({"train_until": -1.0}, "`train_until` -1 leaves fewer than two times to train on"),
        ({"trajectories": (1,)}, "`trajectories` must be between 0 and 0, got 1"),
    ],
)
def test_settings_that_do_not_fit_the_data_are_named(bodies, settings, message):
    with pytest.raises(ConfigError) as caught:
        fit(bodies, FitConfig(**settings))
    assert message in str(caught.value)


def test_data_that_do_not_fit_the_right_hand_side_are_named(oscillation):
    unnamed = dataclasses.replace(oscillation, attrs={})
    with pytest.raises(
        ConfigError, match=r"do not say which system they are of; name it with `system`.*try rhs='neural'"
    ):
        fit(unnamed)
    with pytest.raises(ConfigError, match="rhs='augmented' needs bodies"):
        fit(oscillation, FitConfig(rhs="augmented"))
    with pytest.raises(ConfigError, match="'positions' needs columns r1_x"):
        fit(oscillation, FitConfig(loss="positions"))
    y = oscillation.y.copy()
    y[0, 0, 1] = np.nan
    with pytest.raises(DataError, match="trajectory 0 has missing values in its first state"):
        fit(dataclasses.replace(oscillation, y=y), FitConfig(initial_state="known"))
    with pytest.raises(DataError, match="the training span has no values but missing ones"):
        fit(dataclasses.replace(oscillation, y=np.where(np.arange(60)[:, None] == 0, oscillation.y, np.nan)))


def test_different_constants_are_not_fitted_as_one():
    data = simulate_van_der_pol(n=2, mu=[0.5, 1.0], threshold=0.4, t_end=4.0, points=30)
    with pytest.raises(ConfigError, match=r"have different `mu`.*--trajectory"):
        fit(data)
    np.testing.assert_allclose(fitted(fit(data, FitConfig(trajectories=(1,)))), [1.0, 0.4], rtol=1e-6)


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
def test_a_compiled_fit_takes_the_same_way(oscillation):
    settings = {"optimizer": "adam", "epochs": 5, "lr": 0.05, "method": "heun_euler", "rtol": 1e-4, "atol": 1e-6}
    one, other = (fit(oscillation, FitConfig(**settings, compile=compiled)) for compiled in (False, True))
    losses = [[epoch.loss for epoch in found.history] for found in (one, other)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-9)
    assert losses[0][-1] < losses[0][0]
