"""Profile likelihoods, against closed forms and SciPy's fits."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import solve_ivp
from scipy.optimize import brentq, least_squares

from physode.errors import ConfigError, DataError
from physode.fitting import FitConfig, effective_config
from physode.fitting.profile_likelihood import crossings, profile
from physode.fitting.profile_refits import best_objective
from physode.rhs import HarmonicOscillator, LotkaVolterra, Pendulum
from physode.simulators import simulate, simulate_in_box, simulate_three_body

GRID = {"method": "rk4", "train_until": 100.0}  # a step from each time to the next: cheap
CHI = stats.chi2.ppf(0.95, 1)


def growing(rate, *, noise, t, seed=0):
    """Prey that nobody eats: exp(rate t), and predators that are none."""
    system = LotkaVolterra(rate, beta=0.0, delta=0.0, gamma=0.0)
    return simulate(system, [[1.0, 0.0]], t, noise=noise, seed=seed)


def squares(data, rate):
    """Sum of squares of exp(rate t) as rk4 has it on equal steps: of each the first terms of the exponential series."""
    z = rate * data.t[1]
    prey = (1 + z + z**2 / 2 + z**3 / 6 + z**4 / 24) ** np.arange(len(data.t))
    return float(((data.y[0, :, 0] - prey)[1:] ** 2).sum() + (data.y[0, 1:, 1] ** 2).sum())


def ends(curve, threshold, inside, outside):
    """Where a curve of known shape crosses the threshold, between a value inside and one beyond on either side."""
    return tuple(brentq(lambda x: curve(x) - threshold, inside, end) for end in outside)


@pytest.fixture(scope="module")
def decay():
    """Few and noisy values of exp(-t): its rate is far from normally distributed."""
    return growing(-1.0, noise=0.2, t=np.linspace(0.0, 4.0, 9))


# The curve.


def test_with_sigma_it_is_chi_square_over_its_smallest_value(decay):
    found = profile(decay, FitConfig(free=("alpha",), sigma=0.2, **GRID), "alpha", points=9)
    chi = np.array([squares(decay, value) for value in found.values]) / 0.2**2
    np.testing.assert_allclose(found.delta, chi - chi.min(), atol=1e-5)
    np.testing.assert_allclose(found.losses, chi / 16, rtol=1e-7)
    assert (found.statistic, found.threshold, found.others) == ("chi-square", pytest.approx(CHI), {})
    assert found.delta[found.values.index(found.fitted)] == 0.0


def test_without_sigma_it_is_measured_by_the_residuals(decay):
    found = profile(decay, FitConfig(free=("alpha",), **GRID), "alpha", points=9)
    sums = np.array([squares(decay, value) for value in found.values])
    np.testing.assert_allclose(found.delta, 15 * (sums / sums.min() - 1), atol=1e-5)
    assert (found.statistic, found.threshold) == ("F", pytest.approx(stats.f.ppf(0.95, 1, 15)))
    assert found.parabola_interval[1] - found.fitted == pytest.approx(stats.t.ppf(0.975, 15) * found.standard_error)


def test_the_others_are_fitted_again_at_every_value():
    data = simulate_in_box(
        HarmonicOscillator(1.3, damping_ratio=0.1), y0=[1.0, 0.5], t_end=4.0, points=33, noise=0.2, seed=2
    )
    config = FitConfig(initial_state="fit", sigma=0.2, **GRID)
    found = profile(data, config, "omega", points=5, width=3.0)

    def residuals(others, omega):
        zeta, x, v = others
        slow, w = zeta * omega, omega * np.sqrt(1 - zeta**2)
        cos, sin, fall = np.cos(w * data.t), np.sin(w * data.t), np.exp(-slow * data.t)
        position = fall * (x * cos + (v + slow * x) / w * sin)
        velocity = fall * (v * cos - (omega**2 * x + slow * v) / w * sin)
        return (np.stack([position, velocity], 1) - data.y[0]).ravel() / 0.2

    refits = [least_squares(residuals, [0.1, 1.0, 0.5], args=(value,), xtol=1e-12) for value in found.values]
    chi = np.array([2 * each.cost for each in refits])
    np.testing.assert_allclose(found.delta, chi - chi.min(), atol=5e-3)
    np.testing.assert_allclose(found.others["damping_ratio"], [each.x[0] for each in refits], atol=1e-4)
    for errors in (-3.0, -1.5, 0.0, 1.5, 3.0):
        assert min(np.array(found.values) - found.fitted - errors * found.standard_error, key=abs) == pytest.approx(0.0)


def test_priors_count(decay):
    config = FitConfig(free=("alpha",), sigma=0.2, priors={"alpha": (-0.5, 0.1)}, **GRID)
    found = profile(decay, config, "alpha", points=5)
    chi = np.array([squares(decay, value) / 0.2**2 + ((value + 0.5) / 0.1) ** 2 for value in found.values])
    np.testing.assert_allclose(found.delta, chi - chi.min(), atol=1e-5)


# The interval.


def test_the_interval_of_a_bent_likelihood_is_not_the_parabola_s(decay):
    found = profile(decay, FitConfig(free=("alpha",), sigma=0.2, **GRID), "alpha")
    best = squares(decay, found.fitted)
    exact = ends(lambda rate: (squares(decay, rate) - best) / 0.2**2, CHI, found.fitted, (-4.0, 1.0))
    width = exact[1] - exact[0]
    assert found.interval == pytest.approx(exact, abs=1e-3 * width)
    assert not found.parabola_holds
    assert abs(found.parabola_interval[0] - exact[0]) > 0.1 * width


def test_with_little_noise_the_parabola_holds():
    found = profile(growing(-1.0, noise=1e-4, t=np.linspace(0.0, 4.0, 9)), FitConfig(free=("alpha",), **GRID), "alpha")
    assert found.interval == pytest.approx(found.parabola_interval, abs=5e-3 * found.standard_error)
    assert found.parabola_holds
    assert found.notes == ()


def test_the_range_is_widened_until_the_threshold_is_crossed(decay):
    config = FitConfig(free=("alpha",), sigma=0.2, **GRID)
    narrow, wide = (profile(decay, config, "alpha", width=width) for width in (0.3, 4.0))
    assert narrow.values[0] < narrow.interval[0]
    assert narrow.interval[1] < narrow.values[-1]
    assert narrow.interval == pytest.approx(wide.interval, abs=2e-3)


def test_fitting_logarithms_changes_nothing_of_it():
    data = growing(0.7, noise=0.6, t=np.linspace(0.0, 1.0, 6))
    plain, logarithmic = (
        profile(data, FitConfig(free=("alpha",), positive=positive, **GRID), "alpha") for positive in (False, True)
    )
    assert logarithmic.values[0] > 0 > plain.values[0]
    assert logarithmic.interval == pytest.approx(plain.interval, abs=5e-3)
    assert logarithmic.standard_error == pytest.approx(plain.standard_error, rel=1e-5)


# Where there is none.


@pytest.mark.slow
def test_what_only_counts_in_a_ratio_has_no_interval():
    data = simulate(Pendulum(1.0), [[1.0, 0.0]], np.linspace(0.0, 2.0, 21), noise=0.01)
    found = profile(data, FitConfig(free=("length", "gravity"), **GRID), "length", points=5)
    assert found.interval == (None, None)
    assert (found.unit, found.parabola_interval, found.parabola_holds) == ("m", None, False)
    assert max(map(abs, found.delta)) < 1e-3
    ratio = np.array(found.others["gravity"]) / found.values
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-4)
    assert found.notes[0] == "no standard error: the data do not determine every unknown"
    assert "no upper end" in found.notes[2]
    assert "practically unidentifiable" in found.notes[2]


def test_a_pendulum_hardly_seen_to_turn_is_bounded_from_one_side():
    """Its length may be anything from some value on: the longer, the less it turns."""
    data = simulate(Pendulum(1.0), [[0.3, 0.0]], np.linspace(0.0, 0.3, 11), noise=2.0, seed=1)
    found = profile(data, FitConfig(free=("length",), sigma=2.0, **GRID), "length", points=11)

    def chi(length):
        def slopes(t, y):
            return [y[1], -9.81 / length * np.sin(y[0])]

        path = solve_ivp(slopes, (0.0, 0.3), [0.3, 0.0], t_eval=data.t, rtol=1e-9, atol=1e-11).y.T
        return float(((data.y[0] - path)[1:] ** 2).sum()) / 2.0**2

    low, high = found.interval
    least = min(map(chi, found.values))
    assert high is None
    assert low == pytest.approx(*ends(lambda length: chi(length) - least, CHI, found.fitted, (0.02,)), rel=2e-3)
    assert [("no upper end" in note, "practically unidentifiable" in note) for note in found.notes] == [(True, True)]


def test_a_bound_ends_it(decay):
    config = FitConfig(free=("alpha",), sigma=0.2, bounds={"alpha": (-10.0, -0.9)}, **GRID)
    found = profile(decay, config, "alpha", points=5)
    assert found.values[-1] == -0.9
    assert found.interval[1] is None
    assert found.notes[-1].endswith("alpha ends at its bound -0.9")


def test_a_side_ends_where_no_solution_reaches():
    data = growing(0.7, noise=0.5, t=np.linspace(0.0, 1.0, 6))
    config = FitConfig(free=("alpha",), sigma=100.0, max_steps=30, method="dopri5", train_until=1.0)
    found = profile(data, config, "alpha", points=5)
    assert found.interval[1] is None
    assert "no upper end" in found.notes[-1]
    assert "no fit with alpha = " in found.notes[-1]


def test_a_wrong_minimum_is_told():
    """Of 20 values of a fast oscillation, 1.6 explains some; 1.3 is the truth."""
    data = simulate_in_box(HarmonicOscillator(1.3), y0=[1.0, 0.0], t_end=20.0, points=41, noise=0.1, seed=1)
    config = FitConfig(free=("omega",), schedule="full", init={"omega": (1.75,)}, **GRID)
    found = profile(data, config, "omega", points=41, width=40.0)
    assert abs(found.fitted - 1.3) > 0.1
    assert found.interval == pytest.approx((1.3, 1.3), abs=0.05)
    assert "has ended in a wrong minimum" in found.notes[0]
    assert min(found.delta) == 0.0


# Beginnings.


def test_it_begins_where_a_fit_has_ended(decay):
    config = effective_config(FitConfig(free=("alpha",), sigma=0.2, optimizer="adam", **GRID), decay)
    best = best_objective(decay, config).parameters.snapshot()
    begun = profile(decay, config, "alpha", points=5, best=best)
    anew = profile(decay, dataclasses.replace(config, optimizer="lm", lr=None, lr_decay=None), "alpha", points=5)
    np.testing.assert_allclose(begun.delta, anew.delta, rtol=1e-6)
    with pytest.raises(DataError, match="raw_mu, the settings ask for raw_alpha"):
        profile(decay, config, "alpha", best={"raw_mu": best["raw_alpha"]})


def test_its_progress_rises_to_the_end(decay):
    told: list[float] = []
    profile(decay, FitConfig(free=("alpha",), **GRID), "alpha", points=5, progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0


@pytest.mark.parametrize(
    ("settings", "name", "message"),
    [
        ({"rhs": "hybrid"}, "alpha", "needs a fit with rhs='physical', got rhs='hybrid'"),
        ({"rhs": "neural"}, "alpha", "got rhs='neural'"),
        ({"robust": "huber", "sigma": 0.2}, "alpha", "got robust='huber'"),
        ({"free": ("alpha",)}, "beta", "`name` must be a fitted constant or element: alpha; got 'beta'"),
        ({"free": ("alpha",)}, "alpha[1]", r"got 'alpha\[1\]'"),
    ],
)
def test_what_has_no_profile_is_refused(decay, settings, name, message):
    with pytest.raises(ConfigError, match=message):
        profile(decay, FitConfig(**settings, **GRID), name)


def test_masses_are_profiled_one_by_one():
    bodies = simulate_three_body(preset="aca", t_end=0.2, points=12)
    config = FitConfig(train_until=1.0, sigma=1e-3, method="rk4", fix={"masses[3]": (0.9,)})
    with pytest.raises(ConfigError, match=r"element: masses\[1\], masses\[2\]; got 'masses'"):
        profile(bodies, config, "masses")
    found = profile(bodies, config, "masses[2]", points=5)
    assert found.fitted == pytest.approx(1.1, rel=1e-2)
    assert list(found.others) == ["masses[1]"]


@pytest.mark.parametrize(
    ("options", "message"),
    [({"points": 4}, "`points` must be 5 or more, got 4"), ({"width": 0.0}, "`width` must be above 0 and finite")],
)
def test_impossible_arguments_are_named(decay, options, message):
    with pytest.raises(ValueError, match=message):
        profile(decay, FitConfig(), "alpha", **options)


def test_data_without_a_value_too_many_have_none():
    data = growing(-1.0, noise=0.1, t=np.array([0.0, 1.0]))
    one = dataclasses.replace(data, y=np.where([[True, True], [True, False]], data.y, np.nan))
    with pytest.raises(DataError, match="the fit leaves 1 values for 1 unknowns; give `sigma`"):
        profile(one, FitConfig(free=("alpha",), **GRID), "alpha")


def test_those_of_a_parabola_are_exact():
    values = np.array([-3.0, -1.4, -0.5, 0.2, 1.0, 2.7])
    assert crossings(values, (values - 0.2) ** 2, 2.0) == pytest.approx((0.2 - 2**0.5, 0.2 + 2**0.5), rel=1e-12)


def test_those_of_a_smooth_curve_are_near():
    values = np.linspace(-1.0, 1.0, 11)
    low, high = crossings(values, 40.0 * (np.exp(values) - 1.0) ** 2, 4.0)
    assert (low, high) == pytest.approx((np.log(1 - 0.1**0.5), np.log(1 + 0.1**0.5)), abs=2e-3)


def test_a_side_that_stays_below_has_none():
    assert crossings([0.0, 1.0, 2.0, 3.0], [0.3, 0.0, 1.0, 4.0], 1.0) == (None, pytest.approx(2.0))
    assert crossings([0.0, 1.0], [0.0, 9.0], 1.0) == (None, pytest.approx(1.0 / 3.0))
    assert crossings([0.0], [0.0], 1.0) == (None, None)


def test_the_nearest_to_the_smallest_value_count():
    low, high = crossings([0.0, 1.0, 2.0, 3.0, 4.0, 5.0], [0.0, 5.0, 1.0, 4.0, 0.5, 4.0], 4.0)
    assert low is None
    assert 0.0 < high < 1.0
