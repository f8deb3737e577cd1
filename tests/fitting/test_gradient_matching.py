"""Right-hand sides that have the slopes of the data, before any solve."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from physode.fitting import FitConfig, effective_config, fit
from physode.fitting.gradient_matching import match_slopes, smooth
from physode.fitting.levenberg_marquardt import compressed
from physode.fitting.problem import pose_fit
from physode.rhs import HarmonicOscillator
from physode.simulators import simulate_in_box

GRID = {"method": "rk4", "train_until": 6.0, "optimizer": "lm"}
T = np.linspace(0.0, 4.0, 81)


def matched(data, **settings):
    """The right-hand side, matched; and its misfit of the states' true slopes before and after, as a mean square."""
    config = effective_config(FitConfig(**GRID, **settings), data)
    torch.manual_seed(0)
    problem = pose_fit(data, config)
    states = torch.tensor(data.y[0])
    slopes = torch.tensor(np.gradient(data.y[0], data.t, axis=0, edge_order=2))

    def misfit():
        with torch.no_grad():
            found = torch.func.vmap(problem.rhs)(torch.tensor(data.t), states)
        return (found - slopes).square().mean().item()

    before = misfit()
    match_slopes(problem.rhs, problem.data, config, free=problem.free)
    return problem.rhs, before, misfit()


def test_a_linear_system_is_found_at_once():
    data = simulate_in_box(HarmonicOscillator(1.3, damping_ratio=0.1), y0=[1.0, 0.5], t_end=4.0, points=121)
    rhs, _, _ = matched(data, rhs="neural", hidden=())
    weight, bias = (parameter.detach().numpy() for parameter in rhs.parameters())
    np.testing.assert_allclose(weight, [[0.0, 1.0], [-1.69, -0.26]], atol=1e-6)
    np.testing.assert_allclose(bias, 0.0, atol=1e-6)


def test_constants_of_physics_are_found_too(bodies):
    rhs, _, _ = matched(bodies)
    np.testing.assert_allclose(rhs.constants["masses"].detach(), [1.1, 1.1, 0.9], rtol=5e-3)


def test_fixed_elements_are_left_alone(bodies):
    rhs, _, _ = matched(bodies, fix={"masses[1]": (2.0,)})
    assert rhs.constants["masses"][0].item() == 2.0
    assert rhs.constants["masses"][1].item() != 1.0


def test_velocities_that_were_not_observed_are_found_from_positions(bodies):
    y = bodies.y.copy()
    y[:, 1:, 9:] = np.nan
    rhs, _, _ = matched(dataclasses.replace(bodies, y=y))
    np.testing.assert_allclose(rhs.constants["masses"].detach(), [1.1, 1.1, 0.9], rtol=5e-3)


def test_a_network_has_the_slopes_of_the_data(oscillation):
    _, before, after = matched(oscillation, rhs="neural", hidden=(16, 16))
    assert after < 1e-2 * before


def test_a_narrow_network_comes_nearer_to_the_slopes_of_the_data(oscillation):
    _, before, after = matched(oscillation, rhs="neural", hidden=(8,))
    assert after < 0.5 * before


def test_constants_that_are_one_number_are_found_too(oscillation):
    rhs, _, _ = matched(oscillation)
    np.testing.assert_allclose([value.item() for value in rhs.constants.values()], [1.0, 0.15], rtol=1e-3)


def test_physics_and_a_network_are_matched_together(oscillation):
    _, before, after = matched(oscillation, rhs="hybrid", hidden=(16, 16), init={"mu": (0.7,), "threshold": (0.5,)})
    assert after < 0.1 * before


@pytest.mark.parametrize("optimizer", ["lm", "adam"])
def test_a_fit_begins_at_a_smaller_loss(oscillation, optimizer):
    network = {"rhs": "neural", "hidden": (16, 16), "epochs": 1, **GRID, "optimizer": optimizer}
    plain = fit(oscillation, FitConfig(schedule="full", **network)).history[0].loss
    matching = fit(oscillation, FitConfig(schedule="matching", stages=1, **network)).history[0].loss
    assert matching < 0.1 * plain


def test_many_parameters_are_matched_by_gradients(oscillation, monkeypatch):
    monkeypatch.setattr("physode.fitting.gradient_matching._MOST_PARAMETERS", 10)
    _, before, after = matched(oscillation, rhs="neural", hidden=(16, 16))
    assert after < 0.1 * before


# Slopes.


@pytest.mark.parametrize("t", [T, T[::-1], T**2])
def test_exact_values_give_exact_slopes(t):
    values, slopes = smooth(t, np.sin(t), t, exact=True)
    np.testing.assert_allclose(values, np.sin(t), atol=1e-14)
    np.testing.assert_allclose(slopes, np.cos(t), atol=1e-4)


def test_noise_is_smoothed_away(rng):
    values, slopes = smooth(T, np.sin(T) + 0.05 * rng.normal(size=len(T)), T, exact=False)
    assert np.sqrt(np.mean((values - np.sin(T)) ** 2)) < 0.03
    assert np.sqrt(np.mean((slopes - np.cos(T)) ** 2)) < 0.15


def test_few_values_are_joined_by_lines():
    values, slopes = smooth(T[:4], 3 * T[:4], T[:3] + 0.01, exact=False)
    assert values == pytest.approx(3 * (T[:3] + 0.01))
    assert slopes == pytest.approx([3.0] * 3)


def test_noise_is_smoothed_though_the_first_state_is_known():
    settings = {"rhs": "neural", "hidden": ()}
    data = simulate_in_box(HarmonicOscillator(1.3), y0=[1.0, 0.5], t_end=4.0, points=121, noise=0.02)
    rhs, _, _ = matched(data, **settings)
    weight = next(rhs.parameters()).detach().numpy()
    np.testing.assert_allclose(weight, [[0.0, 1.0], [-1.69, 0.0]], atol=0.1)


# Tall systems.


def test_a_compressed_system_has_the_norm_the_gradient_and_the_gauss_newton_matrix(rng):
    jacobian, residuals = torch.tensor(rng.normal(size=(300, 60))), torch.tensor(rng.normal(size=300))
    r, j = compressed(residuals, jacobian)
    assert j.shape == (61, 60)
    torch.testing.assert_close(r.norm(), residuals.norm())
    torch.testing.assert_close(j.T @ r, jacobian.T @ residuals)
    torch.testing.assert_close(j.T @ j, jacobian.T @ jacobian)


@pytest.mark.parametrize("shape", [(300, 3), (70, 60)])
def test_systems_that_are_small_or_not_tall_stay_as_they_are(shape, rng):
    jacobian, residuals = torch.tensor(rng.normal(size=shape)), torch.tensor(rng.normal(size=shape[0]))
    r, j = compressed(residuals, jacobian)
    assert r is residuals
    assert j is jacobian
