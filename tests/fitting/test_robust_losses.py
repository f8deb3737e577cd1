"""Losses that let outliers count less."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy.optimize import least_squares

from physode.errors import ConfigError
from physode.fitting import FitConfig, fit
from physode.fitting.config import ROBUST
from physode.fitting.robust_losses import SCALES, rho
from physode.rhs import HarmonicOscillator
from physode.simulators import simulate_in_box

GRID = {"method": "rk4", "train_until": 10.0, "schedule": "full"}
SIGMA = 0.05


@pytest.mark.parametrize("name", ROBUST)
def test_losses_and_two_derivatives_are_scipy_s(name):
    """SciPy tells its loss only by the cost of a fit; of one residual, r, it is rho((r / C)^2) C^2 / 2."""
    scale = 1.7
    for r in (0.0, 0.3, 1.69, 1.71, 4.0, 50.0):
        z = torch.tensor(r * r, dtype=torch.float64, requires_grad=True)
        value = rho(name, z, scale)
        told = least_squares(lambda x, r=r: np.array([r]) + 0 * x, [1.0], loss=name, f_scale=scale, max_nfev=1).cost
        assert value.item() == pytest.approx(2 * told, rel=1e-12)
        (first,) = torch.autograd.grad(value, z, create_graph=True)
        (second,) = torch.autograd.grad(first, z, allow_unused=True, materialize_grads=True)
        expected = DERIVATIVES[name]((r / scale) ** 2)
        np.testing.assert_allclose([first.item(), second.item() * scale**2], expected, rtol=1e-12)


# First and second derivatives by z, by hand.
DERIVATIVES = {
    "huber": lambda z: (1.0, 0.0) if z <= 1 else (z**-0.5, -0.5 * z**-1.5),
    "soft_l1": lambda z: ((1 + z) ** -0.5, -0.5 * (1 + z) ** -1.5),
    "cauchy": lambda z: (1 / (1 + z), -1 / (1 + z) ** 2),
}


def test_without_a_name_the_loss_is_the_square():
    squares = torch.tensor([0.0, 2.0, 9.0])
    assert torch.equal(rho(None, squares, 3.0), squares)


@pytest.mark.parametrize("name", ROBUST)
def test_the_default_scale_keeps_95_percent_of_the_efficiency_on_normal_errors(name):
    """Efficiency of an M-estimator: E[psi']^2 / E[psi^2] with psi = rho' / 2 by the residual."""
    r = torch.linspace(-12, 12, 200_001, dtype=torch.float64, requires_grad=True)
    density = torch.exp(-0.5 * r.detach() ** 2)
    (psi,) = torch.autograd.grad(rho(name, r.square(), SCALES[name]).sum() / 2, r, create_graph=True)
    (slope,) = torch.autograd.grad(psi.sum(), r)
    weight = density / density.sum()
    efficiency = (weight * slope).sum() ** 2 / (weight * psi.detach() ** 2).sum()
    assert efficiency.item() == pytest.approx(0.95, abs=1e-3)


def ringing(seed, *, outliers=0.0, points=60):
    """A damped oscillator observed to SIGMA; a share of the values is 20 too large."""
    system = HarmonicOscillator(1.3, damping_ratio=0.1)
    data = simulate_in_box(system, y0=[1.0, 0.5], t_end=6.0, points=points, noise=SIGMA, seed=seed)
    wild = np.random.default_rng(seed).random(data.y.shape) < outliers
    return dataclasses.replace(data, y=data.y + 20.0 * wild)


def constants(found):
    return np.array([each.fitted for each in found.report.constants])


def errors(found):
    return np.array([each.standard_error for each in found.report.constants])


START = {"init": {"omega": (1.1,), "damping_ratio": (0.2,)}, "sigma": SIGMA, **GRID}


@pytest.mark.parametrize("optimizer", ["lm", "lbfgs"])
def test_outliers_spoil_squares_and_not_robust_losses(optimizer):
    data, truth = ringing(3, outliers=0.1), [1.3, 0.1]
    squares = fit(data, FitConfig(**START, optimizer=optimizer))
    assert np.abs(constants(squares) - truth).max() > 0.1
    for name in ROBUST:
        found = fit(data, FitConfig(**START, optimizer=optimizer, robust=name))
        assert (np.abs(constants(found) - truth) < 4 * errors(found)).all()
        assert np.abs(constants(found) - truth).max() < 0.04


def test_a_robust_fit_ends_where_scipy_s_of_the_closed_form_does():
    data = ringing(5, outliers=0.1)

    def residuals(p):
        omega, zeta = p
        decay, ringing_at = zeta * omega, omega * np.sqrt(1 - zeta**2)
        c, s = np.cos(ringing_at * data.t), np.sin(ringing_at * data.t)
        b = (0.5 + decay * 1.0) / ringing_at
        fall = np.exp(-decay * data.t)
        x = fall * (c + b * s)
        v = fall * (-decay * (c + b * s) + ringing_at * (b * c - s))
        return (np.stack([x, v], -1) - data.y[0])[1:].ravel() / SIGMA

    for name in ROBUST:
        own = least_squares(residuals, [1.3, 0.1], loss=name, f_scale=SCALES[name], xtol=1e-12, ftol=1e-14)
        found = fit(data, FitConfig(**START, robust=name))
        np.testing.assert_allclose(constants(found), own.x, rtol=1e-4)
        loss = found.history[-1].loss
        assert loss == pytest.approx(2 * own.cost / (2 * 59), rel=1e-5)


@pytest.mark.slow
def test_standard_errors_under_huber_are_those_of_repeated_fits():
    """Of 30 repeats, the spread is known to about 13 %; outliers make it larger than normal errors would."""
    settings = FitConfig(**{**START, "init": {"omega": (1.3,), "damping_ratio": (0.1,)}}, robust="huber")
    found = [fit(ringing(seed, outliers=0.05, points=40), settings) for seed in range(30)]
    spread = np.std([constants(each) for each in found], axis=0, ddof=1)
    told = np.mean([errors(each) for each in found], axis=0)
    np.testing.assert_allclose(told, spread, rtol=0.35)


def test_robust_losses_need_the_size_of_residuals():
    with pytest.raises(ConfigError, match="`robust` need the standard deviation of the observations: give `sigma`"):
        fit(ringing(0), FitConfig(**{**START, "sigma": None}, robust="huber"))
