"""What the data determine, in words; profile likelihoods against closed forms and lmfit."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
import torch
from scipy import optimize

from physode.errors import ConfigError
from physode.estimation import fit, identifiability, profile

T = np.linspace(0.0, 3.0, 13)
NOISE = 0.03 * np.cos(11 * T + 0.3)
Y = 2.0 * np.exp(-0.7 * T) + NOISE


def decay(t, x, k):
    return -k * x


@functools.cache
def plain():
    return fit(decay, {"t": T, "x": Y}, constants={"k": 1.0}, starts=1)


def scaled(**options):
    return fit(
        lambda t, x, k, scale: -k * x,
        {"t": T, "s": Y},
        constants={"k": 1.0, "scale": 1.0},
        states=["x"],
        observe=lambda t, x, k, scale: scale * x,
        starts=1,
        **options,
    )


def test_what_is_determined_needs_no_remark():
    fitted = plain()
    assert identifiability(fitted).sentences == ("the data determine all constants",)


@pytest.mark.parametrize("log", [False, True])
def test_a_scale_and_an_initial_state_are_open_but_for_their_product(log):
    fitted = scaled(log=["scale"] if log else False)
    (moves,) = identifiability(fitted).combinations
    assert moves == pytest.approx({"scale": 1.0, "x(0)": -1.0}, rel=1e-4)
    assert identifiability(fitted).sentences == (
        "the data determine only a combination of scale and x(0), such as their product: moving scale by +1 % and x(0) "
        "by -1 % changes nothing that was measured; fix one of them, or measure it",
    )
    assert fitted["k"].error is not None
    assert fitted["scale"].remark == "not determined"


def test_a_ratio_is_called_one():
    fitted = fit(
        lambda t, x, a, b: -a / b * x,
        {"t": T, "x": Y},
        constants={"a": 1.0, "b": 1.5},
        starts=1,
    )
    (sentence,) = identifiability(fitted).sentences
    assert "such as their ratio: moving a by +1 % and b by +1 %" in sentence


def test_what_nothing_measured_depends_on_stands_alone():
    fitted = fit(
        lambda t, x, k, idle: torch.stack([-k * x[0], idle * x[0]]),  # what becomes of x is not measured
        {"t": T, "x": Y}, constants={"k": 1.0, "idle": 2.0}, states=["x", "y"], observe=["x"],
        start={"x": "fit", "y": 0.0}, starts=1,
    )  # fmt: skip
    assert identifiability(fitted).combinations == ({"idle": 1.0},)
    assert identifiability(fitted).sentences[0].startswith("nothing that was measured depends on idle")


def test_constants_that_move_together_and_those_at_bounds_are_named():
    early = np.linspace(0.0, 0.4, 12)
    rows = {"t": early, "x": np.exp(-0.5 * early) + 1e-3 * np.cos(40 * early)}
    fitted = fit(lambda t, x, a, b: -a * x - b, rows, constants={"a": 0.3, "b": 0.1}, starts=1)
    (pair,) = [pair for pair in identifiability(fitted).pairs if set(pair[:2]) == {"a", "b"}]
    assert pair[2] == pytest.approx(fitted.correlation[0, 1])
    assert abs(pair[2]) > 0.99
    assert any(line.startswith("a and b are correlated by -0.99") for line in identifiability(fitted).sentences)
    bound = fit(decay, {"t": T, "x": Y}, constants={"k": 1.0}, bounds={"k": (0.9, 5.0)}, starts=1)
    assert identifiability(bound).at_bounds == (("k", 0.9),)
    assert "k ended at its bound 0.9" in identifiability(bound).sentences[0]


def test_the_profile_of_a_straight_line_is_student_s_interval():
    fitted = fit(lambda t, x, v: v.expand(1), {"t": T, "x": 1 + 0.5 * T + NOISE}, constants={"v": 1.0}, starts=1)
    found = profile(fitted, "v", points=8)
    assert found.interval == pytest.approx((fitted["v"].low, fitted["v"].high), rel=1e-5)
    sums = 0.5 * len(T) * np.log1p(((found.values - found.value) / found.error) ** 2 / (len(T) - 2))
    np.testing.assert_allclose(found.delta, sums, atol=1e-6)
    assert found.sentence == f"v lies between {found.interval[0]:.4g} and {found.interval[1]:.4g}"


@pytest.mark.slow
def test_the_profile_of_a_rate_is_that_of_scipy_s_refits():
    fitted = fit(decay, {"t": T, "x": Y}, constants={"k": 1.0}, sigma=0.05, starts=1)
    found = profile(fitted, "k", points=6)

    def loss(k):
        shape = np.exp(-k * T)
        x0 = (shape @ Y) / (shape @ shape)
        return 0.5 * np.sum((Y - x0 * shape) ** 2) / 0.05**2

    best = optimize.minimize_scalar(loss, bracket=(0.5, 1.0), tol=1e-12)
    np.testing.assert_allclose(found.delta, [loss(k) - best.fun for k in found.values], atol=1e-5)
    np.testing.assert_allclose(
        found.others["x(0)"],
        [(np.exp(-k * T) @ Y) / np.sum(np.exp(-2 * k * T)) for k in found.values],
        rtol=1e-4,
    )
    for end, bracket in zip(found.interval, ((0.3, best.x), (best.x, 1.5)), strict=True):
        root = optimize.brentq(lambda k: loss(k) - best.fun - 1.920729, *bracket)
        assert end == pytest.approx(root, rel=1e-4)
    assert not found.better


def test_intervals_agree_with_lmfit_s():
    lmfit = pytest.importorskip("lmfit")
    parameters = lmfit.Parameters()
    parameters.add("k", 1.0)
    parameters.add("x0", 2.0)
    minimizer = lmfit.Minimizer(lambda p: p["x0"] * np.exp(-p["k"] * T) - Y, parameters)
    result = minimizer.minimize()
    rows = lmfit.conf_interval(minimizer, result, sigmas=[0.95], p_names=["k"])["k"]
    found = profile(plain(), "k", points=2)
    assert found.interval == pytest.approx((rows[0][1], rows[-1][1]), rel=1e-3)


def test_what_is_not_determined_has_a_flat_profile():
    found = profile(scaled(), "scale", points=5)
    assert found.interval == (None, None)
    assert np.abs(found.delta).max() < 1e-5
    products = found.values * found.others["x(0)"]
    np.testing.assert_allclose(products, products[0], rtol=1e-5)
    assert found.sentence == "scale is not determined: no value that was tried can be excluded"


def test_a_profile_ends_at_a_bound():
    fitted = fit(decay, {"t": T, "x": Y}, constants={"k": 1.0}, bounds={"k": (0.69, 5.0)}, starts=1)
    found = profile(fitted, "k", points=4)
    assert found.interval[0] is None
    assert found.values.min() == pytest.approx(0.69)
    assert found.sentence == f"k is below {found.interval[1]:.4g}: no lower end can be told"


def test_a_profile_of_no_constant_is_refused():
    fitted = plain()
    with pytest.raises(ConfigError, match=r"'q' is none of the constants that were estimated: k, x\(0\)"):
        profile(fitted, "q")
    with pytest.raises(ConfigError, match="`points` must be at least 2"):
        profile(fitted, "k", points=1)


def test_a_profile_is_a_table():
    pytest.importorskip("pandas")
    fitted = plain()
    frame = profile(fitted, "k", points=3).to_frame()
    assert set(frame.columns) == {"x(0)", "k", "delta"}
    assert math.isclose(frame["delta"].min(), 0.0, abs_tol=1e-9)
