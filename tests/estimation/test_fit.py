"""Fits of anybody's equation, against closed forms, SciPy and lmfit."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.optimize import curve_fit, least_squares
from torch import nn

from physode.datasets import Trajectories
from physode.errors import ConfigError, DataError, SolveError
from physode.estimation.fit import fit

T = np.linspace(0.0, 5.0, 30)


def decay(t, x, k):
    return -k * x


def decaying(seed=0, noise=0.02, k=0.7, a=2.0):
    return a * np.exp(-k * T) + noise * np.random.default_rng(seed).normal(size=len(T))


def test_constants_and_errors_are_those_of_least_squares():
    y = decaying()
    found = fit(decay, {"t": T, "y": y}, constants={"k": 1.0}, starts=1)
    best, spread = curve_fit(lambda t, k, a: a * np.exp(-k * t), T, y, p0=(1.0, 1.0))
    errors = np.sqrt(np.diag(spread))
    for name, value, error in zip(("k", "y(0)"), best, errors, strict=True):
        assert found[name].value == pytest.approx(value, rel=1e-6)
        assert found[name].error == pytest.approx(error, rel=1e-4)
    residuals = y - best[1] * np.exp(-best[0] * T)
    assert found.spreads["y"] == pytest.approx(math.sqrt((residuals**2).sum() / 28), rel=1e-6)
    assert found.converged


def test_known_standard_deviations_are_absolute():
    y, sigma = decaying(), np.linspace(0.01, 0.05, len(T))
    table = {"t": T, "y": y, "y_sigma": sigma}
    found = fit(decay, table, constants={"k": 1.0}, starts=1)
    best, spread = curve_fit(
        lambda t, k, a: a * np.exp(-k * t), T, y, p0=(1.0, 1.0), sigma=sigma, absolute_sigma=True
    )  # fmt: skip
    assert [found["k"].value, found["y(0)"].value] == pytest.approx(best, rel=1e-6)
    assert [found["k"].error, found["y(0)"].error] == pytest.approx(np.sqrt(np.diag(spread)), rel=1e-4)
    low, high = found["k"].low, found["k"].high
    assert (high - low) / 2 == pytest.approx(1.959964 * found["k"].error, rel=1e-5)
    assert found.chi_square == pytest.approx((((y - best[1] * np.exp(-best[0] * T)) / sigma) ** 2).sum() / 28, rel=1e-6)


def test_a_module_is_fitted_by_its_parameters():
    class Decay(nn.Module):
        def __init__(self):
            super().__init__()
            self.k = nn.Parameter(torch.tensor(1.0))

        def forward(self, t, x):
            return -self.k * x

    module = Decay()
    found = fit(module, (T, decaying()), starts=1)
    assert found["k"].value == pytest.approx(fit(decay, (T, decaying()), constants={"k": 1.0}, starts=1)["k"].value)
    assert float(module.k.detach()) == 1.0


@pytest.mark.slow
def test_what_is_observed_of_a_state():
    def swing(t, x, k, c):
        return torch.stack([x[1], -k * x[0] - c * x[1]])

    times = np.linspace(0, 8, 60)
    path = solve_ivp(lambda t, x: [x[1], -2.0 * x[0] - 0.3 * x[1]], (0, 8), [1.0, 0.0], t_eval=times, rtol=1e-9).y
    path = path + 0.01 * np.random.default_rng(1).normal(size=path.shape)
    one = fit(
        swing, {"time": times, "x": path[0]}, constants={"k": 1.5, "c": 0.1}, states=["x", "v"], observe=["x"], starts=1
    )  # fmt: skip

    def residuals(p):
        sol = solve_ivp(
            lambda t, x: [x[1], -p[0] * x[0] - p[1] * x[1]], (0, 8), p[2:], t_eval=times, rtol=1e-9, atol=1e-11
        )
        return sol.y[0] - path[0]

    best = least_squares(residuals, [1.9, 0.3, 1.0, 0.0], x_scale="jac", xtol=1e-12, ftol=1e-12)
    values = [one[name].value for name in ("k", "c", "x(0)", "v(0)")]
    assert values == pytest.approx(best.x, rel=1e-4, abs=1e-5)
    spread = np.linalg.inv(best.jac.T @ best.jac) * (best.fun**2).sum() / (len(times) - 4)
    errors = [one[name].error for name in ("k", "c", "x(0)", "v(0)")]
    assert errors == pytest.approx(np.sqrt(np.diag(spread)), rel=0.02)
    energy = 0.5 * path[1] ** 2 + path[0]
    two = fit(
        swing,
        {"time": times, "x": path[0], "e": energy},
        constants={"k": 1.5, "c": 0.1},
        states=["x", "v"],
        observe=lambda t, x, k, c: torch.stack([x[0], 0.5 * x[1] ** 2 + x[0]]),
        starts=1,
    )
    assert two["k"].value == pytest.approx(2.0, abs=0.02)
    assert set(two.spreads) == {"x", "e"}


def test_experiments_share_constants_or_have_their_own():
    rng = np.random.default_rng(3)
    rates, table = {"a": 0.5, "b": 0.9, "c": 1.4}, {"t": [], "y": [], "experiment": []}
    for label, k in rates.items():
        table["t"].append(T)
        table["y"].append(3.0 + 2.0 * np.exp(-k * T) + 0.01 * rng.normal(size=len(T)))
        table["experiment"] += [label] * len(T)
    table["t"], table["y"] = np.concatenate(table["t"]), np.concatenate(table["y"])
    found = fit(lambda t, x, k, floor: -k * (x - floor), table, constants={"k": 1.0, "floor": 1.0}, own=["k"], starts=1)
    for label, k in rates.items():
        assert found[f"k[{label}]"].value == pytest.approx(k, abs=5 * found[f"k[{label}]"].error)
    assert found["floor"].value == pytest.approx(3.0, abs=5 * found["floor"].error)
    assert {f"x(0)[{label}]".replace("x", "y") for label in rates} <= set(found.values)


@pytest.mark.slow
def test_arrays_bounds_logarithms_and_fixed_constants():
    def f(t, x, rates):
        return -rates * x

    y = np.stack([2 * np.exp(-0.5 * T), 3 * np.exp(-1.5 * T)], -1) + 0.01 * np.random.default_rng(0).normal(
        size=(30, 2)
    )
    found = fit(f, (T, y), constants={"rates": [1.0, 1.0]}, log=True, starts=1, start=[2.0, 3.0])
    assert found["rates[1]"].value == pytest.approx(0.5, abs=0.01)
    assert found["rates[2]"].value == pytest.approx(1.5, abs=0.02)
    kept = fit(
        f, (T, y), constants={"rates": [0.5, 1.0]}, fixed=["rates[1]"], bounds={"rates[2]": (0.0, 1.2)}, starts=1
    )
    assert kept["rates[1]"].remark == "fixed"
    assert kept["rates[2]"].value == 1.2
    assert kept["rates[2]"].remark == "at its bound"


def test_a_prior_is_a_measurement_of_a_constant():
    y = decaying(noise=0.2)
    free = fit(decay, {"t": T, "y": y}, constants={"k": 1.0}, sigma=0.2, start=[2.0], starts=1)
    at = free["k"].value - free["k"].error
    prior = (at, free["k"].error)
    held = fit(decay, {"t": T, "y": y}, constants={"k": 1.0}, sigma=0.2, start=[2.0], starts=1, priors={"k": prior})
    assert held["k"].value == pytest.approx((free["k"].value + at) / 2, abs=0.1 * free["k"].error)
    assert held["k"].error == pytest.approx(free["k"].error / math.sqrt(2), rel=0.1)


@pytest.mark.slow
def test_many_starts_find_what_one_misses():
    t = np.linspace(0, 10, 40)
    w = 1.2
    x = np.cos(w * t) + 0.02 * np.random.default_rng(0).normal(size=len(t))

    def f(t, s, w):
        return torch.stack([s[1], -w * w * s[0]])

    options = {"states": ["x", "v"], "observe": ["x"], "start": [1.0, 0.0], "bounds": {"w": (0.1, 5.0)}}
    found = fit(f, {"t": t, "x": x}, constants={"w": 4.0}, starts=8, **options)
    assert found["w"].value == pytest.approx(w, abs=5 * found["w"].error)
    assert 1 <= found.met <= 8
    again = fit(f, {"t": t, "x": x}, constants={"w": 4.0}, starts=8, **options)
    assert again["w"].value == found["w"].value


def test_missing_values_and_shuffled_rows_change_nothing_else():
    y = decaying()
    y[3] = np.nan
    order = np.random.default_rng(0).permutation(len(T))
    one = fit(decay, {"t": T, "y": y}, constants={"k": 1.0}, starts=1)
    other = fit(decay, {"t": np.delete(T, 3)[::-1], "y": np.delete(y, 3)[::-1]}, constants={"k": 1.0}, starts=1)
    third = fit(decay, {"t": T[order], "y": y[order]}, constants={"k": 1.0}, starts=1)
    assert one["k"].value == other["k"].value == third["k"].value


@pytest.mark.slow
def test_trajectories_and_frames_are_tables_too():
    pandas = pytest.importorskip("pandas")
    y = decaying()
    columns = {"t": T, "y": y}
    expected = fit(decay, columns, constants={"k": 1.0}, starts=1)
    framed = fit(decay, pandas.DataFrame(columns), constants={"k": 1.0}, starts=1)
    stored = fit(
        decay, Trajectories(t=T, y=y[None, :, None], columns=("y",), units=("",)), constants={"k": 1.0}, starts=1
    )
    assert framed["k"] == expected["k"] == stored["k"]
    frame = framed.to_frame()
    assert frame.loc["k", "value"] == framed["k"].value
    assert list(frame.columns) == ["unit", "value", "error", "low", "high", "remark"]


def test_what_the_data_leave_open_has_no_error():
    found = fit(lambda t, x, k, c: -k * c * x, {"t": T, "y": decaying()}, constants={"k": 1.0, "c": 0.5}, starts=1)
    assert found["k"].remark == found["c"].remark == "not determined"
    assert found["k"].value * found["c"].value == pytest.approx(0.7, abs=0.05)
    assert found["y(0)"].error is not None


def test_the_answer_reads_well():
    text = repr(fit(decay, {"t": T, "y": decaying()}, constants={"k": 1.0}))
    assert re.search(r"^  k     0\.(69|70)\d* +0\.0\d+", text, re.MULTILINE)
    assert "converged" in text
    assert "starts that met 8 of 8" in text


def test_a_best_that_one_start_alone_came_to_is_doubted():
    found = fit(decay, {"t": T, "y": decaying()}, constants={"k": 1.0}, starts=4)
    assert found.doubt == ""
    minima = replace(found.minima, loss=torch.tensor([3.0, 1.0, 2.0, 3.0], dtype=torch.float64))
    alone = replace(found, minima=minima, z=found.z)
    assert "one start alone came to the best" in repr(alone)
    assert alone.doubt in repr(alone)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"constants": {}}, ConfigError, "no constants to fit"),
        ({"constants": {"k": math.nan}}, ConfigError, "must be finite"),
        ({"constants": {"k": "fast"}}, ConfigError, "must be a number"),
        ({"bounds": {"q": (0, 1)}}, ConfigError, "`bounds` names 'q'"),
        ({"bounds": {"k": (2.0, 3.0)}}, ConfigError, "lies outside of its bounds"),
        ({"bounds": {"k": (3.0, 2.0)}}, ConfigError, "a lower and a larger"),
        ({"priors": {"k": (1.0, 0.0)}}, ConfigError, "cannot have the numbers"),
        ({"sigma": -1.0}, ConfigError, "`sigma` of 'y' must be above 0"),
        ({"sigma": {"z": 1.0}}, ConfigError, "`sigma` names 'z'"),
        ({"fixed": ["k", "y(0)"]}, ConfigError, "nothing is to be estimated"),
        ({"observe": ["z"]}, ConfigError, "name the states"),
        ({"observe": ["z"], "states": ["y"]}, ConfigError, "no state"),
        ({"start": {"z": 1.0}}, ConfigError, "no state"),
        ({"starts": 0}, ConfigError, "`starts` must be at least 1"),
        ({"method": "rk4"}, ConfigError, "fixed steps"),
    ],
)
def test_arguments_that_cannot_be_used(change, error, message):
    with pytest.raises(error, match=message):
        fit(decay, {"t": T, "y": decaying()}, **{"constants": {"k": 1.0}, **change})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (3, "must be trajectories, a table"),
        ({"t": T}, "no column of values"),
        ({"t": T, "y": T[:3]}, "has 3 rows"),
        ({"t": np.append(T[:-1], T[0]), "y": T}, "two rows at time 0"),
        ({"t": T, "y": np.full(30, np.inf)}, "infinite values"),
        ({"t": np.full(30, np.nan), "y": T}, "a time that is missing"),
        ({"t": T, "y": ["a"] * 30}, "must hold numbers"),
        ({"t": T, "y": T, "y_sigma": -T}, "without a standard deviation above 0"),
        ((T, T[:4]), "must be"),
        (([], []), "has no rows"),
        ({"date": np.array(["2020-03-01", "2020-03-02"], "datetime64[s]"), "y": [1.0, 2.0]}, "'date' holds dates"),
    ],
)
def test_data_that_cannot_be_used(data, message):
    with pytest.raises(DataError, match=message):
        fit(decay, data, constants={"k": 1.0})


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (lambda t, x, k: -k * np.exp(x), "`f` fails where the data begin: .*; write it in torch"),
        (lambda t, x, k: x[1], r"IndexError.*x of shape \(1,\): y \(`states` names others\)"),
        (lambda t, x, q: -x, "unexpected keyword argument 'k'"),
        (lambda t, x, k: [-k * x[0]], r"`f` must return the derivatives of y, a tensor of shape \(1,\), got list"),
        (lambda t, x, k: -k * x[0], r"got the shape \(\)"),
        (lambda t, x, k: torch.cat([x, x]), r"got the shape \(2,\)"),
    ],
)
def test_functions_that_cannot_be_used(f, message):
    with pytest.raises(ConfigError, match=message) as caught:
        fit(f, {"t": T, "y": decaying()}, constants={"k": 1.0})
    assert "\n" not in str(caught.value)


def test_more_constants_than_values_are_refused():
    with pytest.raises(ConfigError, match="more than 2 values determine"):
        fit(lambda t, x, a, b: -a * x + b, {"t": [0.0, 1.0], "y": [1.0, 0.5]}, constants={"a": 1.0, "b": 0.0})


@pytest.mark.slow
def test_a_guess_that_cannot_be_solved_is_said():
    with pytest.raises(SolveError, match="at the initial guess"):
        fit(lambda t, x, k: k * x**2, {"t": T, "y": decaying()}, constants={"k": 50.0}, start=[10.0], starts=1)


@pytest.mark.parametrize(
    ("f", "constants", "idle"),
    [
        (lambda t, x, k, z: -(k + 0 * z) * x, {"k": 1.0, "z": 2.0}, "z"),
        (lambda t, x, k, z: -k * x + (z - z), {"k": 1.0, "z": 2.0}, "z"),
        (lambda t, x, k, z: -k * x, {"k": 1.0, "z": [0.0, 1.0]}, "z"),
    ],
)
def test_a_constant_that_nothing_depends_on_is_refused_by_its_name(f, constants, idle):
    with pytest.raises(ConfigError, match=f"nothing depends on the constant '{idle}'"):
        fit(f, {"t": T, "y": decaying()}, constants=constants, starts=1)
    assert fit(f, {"t": T, "y": decaying()}, constants=constants, fixed=[idle], starts=1).converged


@pytest.mark.slow
def test_a_constant_that_acts_somewhere_else_than_at_the_guess_is_no_idle_one():
    y = decaying()
    wide = fit(lambda t, x, k, z: -k * x * (1 + z * t), {"t": T, "y": y}, constants={"k": 0.0, "z": 0.0}, starts=1)
    assert wide["k"].value == pytest.approx(0.7, rel=0.1)
    seen = fit(
        lambda t, x, k, scale: -k * x, {"t": T, "y": 3 * y}, constants={"k": 1.0, "scale": 1.0}, states=["x"],
        start=[2.0], observe=lambda t, x, k, scale: scale * x, starts=1,
    )  # fmt: skip
    assert seen["scale"].value == pytest.approx(3.0, rel=0.05)


@pytest.mark.parametrize(
    ("sigma", "status"), [(1e-6, "explains nothing"), (None, "explains nothing"), (1e3, "converged")]
)
def test_a_search_that_came_to_rest_far_from_the_data_explains_nothing(sigma, status):
    """A decay from 100 is nowhere near a small oscillation; an error of 1000 hides all of it."""
    t = np.linspace(0.0, 3.0, 40)
    found = fit(
        lambda t, x, k: -k * x,
        {"t": t, "x": np.sin(5.0 * t)},
        constants={"k": 0.5},
        bounds={"k": (0.1, 1.0)},
        start={"x": 100.0},
        states=["x"],
        sigma=sigma,
        starts=1,
    )
    y, predicted = np.sin(5.0 * t), 100.0 * np.exp(-found["k"].value * t)
    assert found.left == pytest.approx(((y - predicted) ** 2).sum() / ((y - y.mean()) ** 2).sum(), rel=1e-5)
    assert (found.converged, found.status, found.as_dict()["status"]) == (True, status, status)
    assert found.ended.startswith(f"{status}: ")
