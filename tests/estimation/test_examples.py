"""The examples' model files, each estimated from its table, against SciPy's least squares on the same residuals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import least_squares

from physode.equations.model_file import read_model
from physode.estimation.fit import estimate

EXAMPLES = Path(__file__).parents[2] / "examples" / "own_equations"

pytestmark = pytest.mark.slow


def estimated(name, starts=4):
    return estimate(read_model(EXAMPLES / f"{name}.toml").estimation(EXAMPLES / f"{name}.csv"), starts=starts)


def columns(name, **options):
    return np.genfromtxt(EXAMPLES / f"{name}.csv", skip_header=1, **options)


def agree(found, names, residuals, start, *, free=None):
    """Compare values and standard errors with SciPy's, the variance of the residuals found from them."""
    best = least_squares(residuals, start, x_scale="jac", xtol=1e-14, ftol=1e-14, gtol=1e-14)
    free = len(best.fun) - len(start) if free is None else free
    variance = (best.fun**2).sum() / free
    errors = np.sqrt(np.diag(np.linalg.inv(best.jac.T @ best.jac)) * variance)
    for name, value, error in zip(names, best.x, errors, strict=True):
        assert found[name].value == pytest.approx(value, rel=1e-4, abs=1e-3 * error)
        assert found[name].error == pytest.approx(error, rel=0.02)


def test_an_oscillator_whose_velocity_is_not_observed():
    t, x = columns("swing", delimiter=",").T

    def residuals(p):
        k, c, a, w, x0, v0 = p
        path = solve_ivp(
            lambda t, y: [y[1], -k * y[0] - c * y[1] + a * np.cos(w * t)], (0, t[-1]), [x0, v0],
            t_eval=t, method="DOP853", rtol=1e-10, atol=1e-12,
        )  # fmt: skip
        return path.y[0] - x

    agree(estimated("swing", starts=8), ("k", "c", "A", "w", "x(0)", "v(0)"), residuals, [2.0, 0.3, 1.0, 1.2, 1.0, 0.0])


def test_a_drug_in_twelve_subjects():
    subject, mass, t, c = columns("dose", delimiter=",").T
    found = estimated("dose")

    def predicted(p):
        ka, ke, volumes = p[0], p[1], p[2:]
        factor = mass / volumes[subject.astype(int) - 1] * ka / (ka - ke)
        return factor * (np.exp(-ke * t) - np.exp(-ka * t))

    sigma = found["sigma(concentration)"].value
    start = [1.0, 0.2, *[30.0] * 12]
    # The likelihood of proportional errors has the logarithm of the prediction, too: residuals whose squares add it.
    best = least_squares(
        lambda p: np.concatenate(
            [(predicted(p) - c) / (sigma * predicted(p)), np.sqrt(2 * np.log(predicted(p)) + 50.0)]
        ),
        start, x_scale="jac", xtol=1e-14, ftol=1e-14, gtol=1e-14,
    )  # fmt: skip
    names = ["ka", "ke", *(f"V[{i}]" for i in range(1, 13))]
    assert [found[name].value for name in names] == pytest.approx(best.x, rel=1e-4)
    model = predicted(best.x)
    slopes = np.stack(
        [
            (np.log(predicted(best.x + 1e-6 * np.eye(14)[i])) - np.log(predicted(best.x - 1e-6 * np.eye(14)[i]))) / 2e-6
            for i in range(14)
        ],
        1,
    )
    # Fisher's information of a normal whose mean and deviation are proportional, sigma beside the constants.
    information = np.zeros((15, 15))
    information[:14, :14] = slopes.T @ slopes * (1 / sigma**2 + 2)
    information[:14, 14] = information[14, :14] = 2 * slopes.sum(0) / sigma
    information[14, 14] = 2 * len(c) / sigma**2
    errors = np.sqrt(np.diag(np.linalg.inv(information)))
    assert [found[name].error for name in names] == pytest.approx(errors[:14], rel=0.02)
    assert sigma == pytest.approx(np.sqrt(np.mean(((c - model) / model) ** 2)), rel=1e-4)


def test_an_epidemic_with_dates():
    counts = columns("epidemic", delimiter=",", usecols=1)
    days, n = np.arange(0, 80, 2), 50_000

    def infected(p):
        b, g, start = p
        return solve_ivp(
            lambda t, y: [-b * y[0] * y[1] / n, b * y[0] * y[1] / n - g * y[1]], (0, 78), [n - start, start],
            t_eval=days, method="DOP853", rtol=1e-10, atol=1e-10,
        ).y[1]  # fmt: skip

    def residuals(p):
        model = infected(p)
        return np.concatenate([(model - counts) / np.sqrt(1 + model), np.sqrt(np.log(1 + model) + 50.0)])

    found, names = estimated("epidemic"), ("b", "g", "I0")
    best = least_squares(residuals, [0.45, 0.18, 12.0], x_scale="jac", xtol=1e-14, ftol=1e-14, gtol=1e-14)
    assert [found[name].value for name in names] == pytest.approx(best.x, rel=1e-4)
    model, step = infected(best.x), 1e-5 * best.x
    slopes = np.stack(
        [
            (infected(best.x + step * np.eye(3)[i]) - infected(best.x - step * np.eye(3)[i])) / (2 * step[i])
            for i in range(3)
        ],
        1,
    )
    weights = 1 / (1 + model) + 0.5 / (1 + model) ** 2
    errors = np.sqrt(np.diag(np.linalg.inv(slopes.T @ (weights[:, None] * slopes))))
    assert [found[name].error for name in names] == pytest.approx(errors, rel=0.02)


def test_two_reactions_seen_as_a_sum_on_an_unknown_scale():
    converters = {i: lambda cell: float(cell.replace(",", ".")) for i in (0, 1)}
    t, signal = columns("kinetics", delimiter=";", converters=converters, encoding="utf-8").T

    def residuals(p):
        k1, k2, scale = p
        a, b = np.exp(-k1 * t), k1 / (k2 - k1) * (np.exp(-k1 * t) - np.exp(-k2 * t))
        return scale * (b + 0.3 * (1 - a - b)) - signal

    agree(estimated("kinetics"), ("k1", "k2", "scale"), residuals, [0.35, 0.09, 2.7])


def test_a_double_pendulum_with_lengths_and_damping_unknown(tmp_path):
    truth, g = [0.15, 0.14, 0.45, 0.01, 0.02, -1.1, -1.3, -0.5, -4.0], 9.81
    t = np.linspace(0, 3, 151)

    def angles(p):
        l1, l2, m, c1, c2, *start = p

        def f(t, y):
            a, b, w, q = y
            d = a - b
            f1 = -m * l2 * np.sin(d) * q**2 - g * np.sin(a) - c1 * w
            f2 = l1 * np.sin(d) * w**2 - g * np.sin(b) - c2 * (q - w)
            det = 1 - m * np.cos(d) ** 2
            return [w, q, (f1 - m * np.cos(d) * f2) / (l1 * det), (f2 - np.cos(d) * f1) / (l2 * det)]

        return solve_ivp(f, (0, 3), start, t_eval=t, method="DOP853", rtol=1e-10, atol=1e-12).y[:2]

    seen = angles(truth) + 0.02 * np.random.default_rng(0).normal(size=(2, len(t)))
    rows = "".join(f"{x:.3f},{a:.6f},{b:.6f}\n" for x, a, b in zip(t, *seen, strict=True))
    (tmp_path / "swing.csv").write_text(f"time [s],upper [rad],lower [rad]\n{rows}", encoding="utf-8")
    seen = np.genfromtxt(tmp_path / "swing.csv", delimiter=",", skip_header=1)[:, 1:].T
    found = estimate(read_model(EXAMPLES / "double_pendulum.toml").estimation(tmp_path / "swing.csv"), starts=8)
    upper, lower = found.spreads["upper"], found.spreads["lower"]

    def residuals(p):
        return ((angles(p) - seen) / np.array([[upper], [lower]])).ravel()

    names = ("l1", "l2", "M", "c1", "c2", "a(0)", "b(0)", "w(0)", "q(0)")
    best = least_squares(residuals, truth, x_scale="jac", xtol=1e-14, ftol=1e-14, gtol=1e-14)
    errors = np.sqrt(np.diag(np.linalg.inv(best.jac.T @ best.jac)))
    for name, value, error in zip(names, best.x, errors, strict=True):
        assert found[name].value == pytest.approx(value, rel=1e-4, abs=0.01 * error)
        assert found[name].error == pytest.approx(error, rel=0.02)
