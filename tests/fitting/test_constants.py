"""What is known, guessed, fixed and free; and what a constant at its limits, or beside a prior, is told to be worth."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from physode.errors import ConfigError
from physode.fitting import FitConfig, effective_config, fit
from physode.fitting.problem import pose_fit
from physode.fitting.uncertainty import uncertainty
from physode.rhs import HarmonicOscillator
from physode.simulators import simulate_in_box

pytestmark = pytest.mark.usefixtures("float64")

GRID = {"method": "rk4"}


def ringing(noise=1e-3, points=41):
    return simulate_in_box(HarmonicOscillator(1.3), y0=[1.0, 0.5], t_end=5.0, points=points, noise=noise, seed=2)


def objective_of(data, **settings):
    problem = pose_fit(data, effective_config(FitConfig(**settings), data))
    return problem.begin(problem.stages[-1])


def test_a_network_may_be_fitted_beside_constants_that_are_all_fixed():
    fixed = FitConfig(rhs="hybrid", hidden=(4,), fix={"omega": (1.3,), "damping_ratio": (0.0,)}, epochs=2, **GRID)
    found = fit(ringing(points=9), fixed)
    assert found.rhs.constants["omega"].item() == 1.3
    assert found.report.parameters > 2
    assert found.history[-1].loss < found.history[0].loss


def test_physics_with_all_its_constants_fixed_leaves_nothing_to_fit():
    with pytest.raises(ConfigError, match="`fix` leaves no constant of harmonic_oscillator to fit"):
        fit(ringing(), FitConfig(fix={"omega": (1.3,), "damping_ratio": (0.0,)}, **GRID))


def test_columns_in_another_order_are_refused():
    data = ringing()
    turned = dataclasses.replace(data, y=data.y[..., ::-1], y_clean=None, columns=data.columns[::-1])
    with pytest.raises(ConfigError, match="put them into the system's order"):
        fit(turned, FitConfig(**GRID))


@pytest.mark.slow
def test_a_constant_at_its_bound_has_no_error_and_the_others_have_theirs_with_it_fixed():
    settings = {"sigma": 1e-3, "init": {"omega": (1.2,), "damping_ratio": (0.01,)}}
    found = fit(ringing(), FitConfig(**settings, bounds={"omega": (0.5, 1.25)}, method="dopri5"))
    omega, damping = found.report.constants
    assert omega.fitted == pytest.approx(1.25, rel=1e-6)
    assert omega.standard_error is None
    fixed = fit(ringing(), FitConfig(**{**settings, "init": {"damping_ratio": (0.01,)}}, fix={"omega": (1.25,)}))
    assert damping.fitted == pytest.approx(fixed.report.constants[0].fitted, rel=1e-4)
    assert damping.standard_error == pytest.approx(fixed.report.constants[0].standard_error, rel=1e-3)


def test_a_prior_that_outweighs_robust_data_decides_the_error():
    """The sandwich of a robust loss keeps the prior's own certainty: it is not scaled with the residuals."""
    data = ringing(noise=1e-1, points=9)
    settings = {"sigma": 1e-1, "robust": "huber", "init": {"omega": (1.3,)}, "fix": {"damping_ratio": (0.0,)}}
    strong = objective_of(data, **settings, priors={"omega": (1.3, 1e-6)})
    assert uncertainty(strong).deviations == pytest.approx([1e-6], rel=1e-3)
    weak = uncertainty(objective_of(data, **settings, priors={"omega": (1.3, 1e6)})).deviations
    none = uncertainty(objective_of(data, **settings)).deviations
    assert weak == pytest.approx(none, rel=1e-6)


def test_components_observed_at_times_of_their_own_are_matched():
    """No row of the data is whole: splines of each component meet at all the times."""
    data = ringing(noise=0.0, points=81)
    y = data.y.copy()
    y[:, 1::2, 0] = np.nan
    y[:, 2::2, 1] = np.nan
    own = dataclasses.replace(data, y=y, y_clean=None)
    start = {"init": {"omega": (0.8,), "damping_ratio": (0.1,)}, "schedule": "matching"}
    found = fit(own, FitConfig(**start, method="dopri5", rtol=1e-8, atol=1e-10))
    omega, damping = (each.fitted for each in found.report.constants)
    assert omega == pytest.approx(1.3, rel=1e-5)
    assert abs(damping) < 1e-4


def test_a_jacobian_too_large_to_hold_is_told_before_it_is_made(monkeypatch):
    data = simulate_in_box(HarmonicOscillator(1.3), n=3, t_end=2.0, points=11, noise=1e-3, seed=0)
    objective = objective_of(data, initial_state="fit", fix={"damping_ratio": (0.0,)}, **GRID)
    monkeypatch.setattr("physode.fitting.uncertainty.MOST_BYTES", 1000)
    with pytest.raises(ValueError, match="their Jacobian would take"):
        uncertainty(objective)


def test_the_lstm_needs_positions_and_no_velocities(bodies):
    y = bodies.y.copy()
    y[..., y.shape[-1] // 2 :] = np.nan
    seen = dataclasses.replace(bodies, y=y, y_clean=None)
    ends = [fit(each, FitConfig(rhs="lstm", epochs=2, sequence=6, given=4)).history[-1] for each in (bodies, seen)]
    assert ends[0].epoch == 2
    assert ends[0].loss == ends[1].loss
