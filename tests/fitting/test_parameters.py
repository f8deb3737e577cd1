"""What is free moves, what is fixed stays; bounds hold, priors and standard deviations weigh as statistics says."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from physode.errors import ConfigError
from physode.fitting import FitConfig, effective_config, fit
from physode.fitting.problem import pose_fit
from physode.rhs import HarmonicOscillator
from physode.simulators import simulate_in_box

GRID = {"method": "rk4"}  # a step from each time to the next: cheap, and exact enough here
FINE = {"method": "dopri5", "rtol": 1e-8, "atol": 1e-10}


def fitted(found):
    return {each.name: each.fitted for each in found.report.constants}


def parameters_of(data, **settings):
    config = effective_config(FitConfig(**settings), data)
    problem = pose_fit(data, config)
    return problem.begin(problem.stages[-1]).parameters


@pytest.fixture(scope="module")
def ringing():
    """Position and velocity of a harmonic oscillator, omega = 1.3, observed to 1e-4."""
    return simulate_in_box(HarmonicOscillator(1.3), y0=[1.0, 0.5], t_end=5.0, points=41, noise=1e-4, seed=2)


# Free and fixed.


@pytest.mark.parametrize("optimizer", ["lm", "adam"])
def test_fixed_elements_stay_and_free_ones_move(bodies, optimizer):
    found = fit(bodies, FitConfig(fix={"masses[2]": (1.1,)}, optimizer=optimizer, epochs=3, **GRID))
    assert list(fitted(found)) == ["masses[1]", "masses[3]"]
    masses = found.rhs.constants["masses"].tolist()
    assert masses[1] == 1.1
    assert masses[0] != 1.0 != masses[2]
    assert all(epoch.constants["masses"][1] == 1.1 for epoch in found.history)


def test_elements_fixed_at_the_data_s_value_let_the_others_be_found(bodies):
    found = fit(bodies, FitConfig(fix={"masses[2]": ()}, **FINE))
    assert fitted(found) == {"masses[1]": pytest.approx(1.1, rel=1e-6), "masses[3]": pytest.approx(0.9, rel=1e-6)}
    assert found.report.parameters == 2
    assert found.report.correlations.names == ("masses[1]", "masses[3]")


def test_naming_one_element_as_free_fixes_the_others(bodies):
    parameters = parameters_of(bodies, free=("masses[3]",), init={"masses[3]": (0.5,)})
    assert parameters.mask.tolist() == [False, False, True]
    assert parameters.constants() == {"masses": [1.1, 1.1, 0.5]}


def test_the_free_elements_are_a_vector(bodies):
    parameters = parameters_of(bodies, fix={"masses[1]": (2.0,)}, initial_state="fit")
    start = bodies.y[0, 0]
    np.testing.assert_array_equal(parameters.vector(), [1.0, 1.0, *start])
    before = parameters.snapshot()
    parameters.move(np.arange(20.0))
    assert parameters.constants() == {"masses": [2.0, 0.0, 1.0]}
    np.testing.assert_array_equal(parameters.states.detach(), np.arange(2.0, 20.0))
    parameters.restore(before)
    np.testing.assert_array_equal(parameters.vector(), [1.0, 1.0, *start])


# Bounds.


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("settings", [{"optimizer": "lm"}, {"optimizer": "adam", "epochs": 25}])
def test_constants_stay_within_their_bounds(oscillation, settings, positive):
    """The truth, mu = 1, lies below: the best is the bound."""
    start = {"bounds": {"mu": (1.2, 2.0)}, "init": {"mu": (1.3,), "threshold": (0.3,)}, "positive": positive}
    found = fit(oscillation, FitConfig(**start, **settings, **GRID))
    assert fitted(found)["mu"] == pytest.approx(1.2, rel=1e-6)
    assert all(1.2 * (1 - 1e-12) <= epoch.constants["mu"][0] <= 2.0 * (1 + 1e-12) for epoch in found.history[1:])


def test_bounds_of_elements_are_theirs_alone(bodies):
    low, high = parameters_of(bodies, bounds={"masses[2]": (0.5, 3.0)}).bounds()
    np.testing.assert_array_equal(low, [-np.inf, 0.5, -np.inf])
    np.testing.assert_array_equal(high, [np.inf, 3.0, np.inf])


def test_bounds_of_logarithms_are_logarithms(oscillation):
    low, high = parameters_of(oscillation, positive=True, bounds={"mu": (-1.0, 2.0)}).bounds()
    np.testing.assert_allclose([low[0], high[0]], [-np.inf, np.log(2.0)])


def test_a_start_beyond_the_bounds_is_moved_to_them(oscillation):
    parameters = parameters_of(oscillation, bounds={"mu": (1.5, 2.0)})
    parameters.project()
    assert parameters.constants() == {"mu": [1.5], "threshold": [1.0]}


# Priors and standard deviations.


def frequency_without_prior(data, sigma):
    """Least squares of the closed-form solution: omega and its standard error, initial state unknown too."""
    from scipy.optimize import least_squares

    def residuals(p):
        w, x, v = p
        c, s = np.cos(w * data.t), np.sin(w * data.t)
        return np.concatenate([x * c + v / w * s - data.y[0, :, 0], v * c - x * w * s - data.y[0, :, 1]]) / sigma

    found = least_squares(residuals, [1.3, 1.0, 0.5], xtol=1e-14, ftol=1e-14, gtol=1e-14, x_scale="jac")
    return found.x[0], np.sqrt(np.linalg.inv(found.jac.T @ found.jac)[0, 0])


WHOLE = {"free": ("omega",), "initial_state": "fit", "train_until": 5.0, "init": {"omega": (1.28,)}}


@pytest.mark.parametrize("optimizer", ["lm", "lbfgs"])
@pytest.mark.parametrize("strength", [0.5, 1.0, 3.0])
def test_a_prior_weighs_as_bayes_rule_says(ringing, strength, optimizer):
    """So near the truth the problem is linear: precisions add, and the mean is weighted by them."""
    mean, error = frequency_without_prior(ringing, 1e-4)
    prior = mean + 4 * error, strength * error
    precisions = np.array([error, prior[1]]) ** -2
    expected = precisions @ [mean, prior[0]] / precisions.sum()
    settings = {**WHOLE, **FINE, "sigma": 1e-4, "schedule": "full", "optimizer": optimizer}
    found = fit(ringing, FitConfig(priors={"omega": prior}, **settings)).report.constants[0]
    assert found.fitted - mean == pytest.approx(expected - mean, rel=2e-3)
    assert found.standard_error == pytest.approx(precisions.sum() ** -0.5, rel=2e-3)


def test_a_prior_of_one_element_leaves_the_others_to_the_data(bodies):
    settings = {"sigma": 1e-3, "schedule": "full", **FINE}
    found = fit(bodies, FitConfig(priors={"masses[1]": (1.3, 1e-9)}, **settings))
    fixed = fit(bodies, FitConfig(fix={"masses[1]": (1.3,)}, **settings))
    assert fitted(found)["masses[1]"] == pytest.approx(1.3, rel=1e-6)
    assert fitted(found)["masses[2]"] == pytest.approx(fitted(fixed)["masses[2]"], rel=1e-4)


def test_a_prior_of_a_constant_that_is_not_fitted_is_named(ringing):
    with pytest.raises(ConfigError, match="damping_ratio"):
        fit(ringing, FitConfig(priors={"damping_ratio": (0.1, 0.1)}, sigma=1e-4, **WHOLE, **GRID))


def test_bounds_below_0_of_positive_constants_are_named(ringing):
    with pytest.raises(ConfigError, match="omega"):
        fit(ringing, FitConfig(bounds={"omega": (-2.0, -1.0)}, positive=True, **{**WHOLE, "init": {}}, **GRID))


def test_known_sigma_gives_the_errors_of_weighted_regression(ringing):
    mean, error = frequency_without_prior(ringing, 3e-4)
    found = fit(ringing, FitConfig(sigma=3e-4, **WHOLE, **FINE)).report
    (omega,) = found.constants
    assert omega.fitted == pytest.approx(mean, abs=1e-3 * error)
    assert omega.standard_error == pytest.approx(error, rel=1e-3)
    assert np.subtract(*omega.interval) == pytest.approx(-2 * 1.959964 * error, rel=1e-3)
    assert found.chi_square == pytest.approx(1 / 9, rel=0.4)
    assert any("residuals are smaller than sigma says" in note for note in found.notes)


@pytest.mark.parametrize("optimizer", ["lm", "lbfgs"])
def test_points_of_huge_sigma_count_as_if_they_were_not_there(ringing, optimizer):
    y, sigma = ringing.y.copy(), np.full_like(ringing.y, 1e-4)
    wrong = np.s_[0, 10:20]
    y[wrong] += 1.0
    sigma[wrong] = 1e7
    settings = FitConfig(**{**WHOLE, "initial_state": "known"}, **FINE, optimizer=optimizer, schedule="full")
    weighted = fit(dataclasses.replace(ringing, y=y, sigma=sigma), settings).report.constants[0]
    y[wrong] = np.nan
    without = fit(dataclasses.replace(ringing, y=y, sigma=np.where(np.isnan(y), np.nan, 1e-4)), settings)
    left_out = without.report.constants[0]
    assert weighted.fitted == pytest.approx(left_out.fitted, abs=1e-4 * left_out.standard_error)
    assert weighted.standard_error == pytest.approx(left_out.standard_error, rel=1e-6)


# Initial states.


def test_unknown_initial_states_are_told_with_their_intervals(ringing):
    report = fit(ringing, FitConfig(sigma=1e-4, **WHOLE, **FINE)).report
    assert [each.name for each in report.initial_states] == ["position(0)", "velocity(0)"]
    for each, true in zip(report.initial_states, [1.0, 0.5], strict=True):
        assert each.true == pytest.approx(true)
        assert abs(each.fitted - true) < 4 * each.standard_error < 4e-4
        assert each.interval[0] < each.fitted < each.interval[1]
    assert report.correlations.names == ("omega", "position(0)", "velocity(0)")
    matrix = np.array(report.correlations.rows)
    np.testing.assert_allclose(matrix, matrix.T)
    np.testing.assert_allclose(np.diag(matrix), 1.0)
