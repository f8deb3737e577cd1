"""The loss of a stage, its gradient and its residuals' Jacobian agree with each other and with differences."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from physode.errors import SolveError
from physode.fitting import FitConfig, effective_config
from physode.fitting.objective import Objective
from physode.fitting.problem import pose_fit
from physode.simulators import simulate_van_der_pol

POINTS = 21


def observed(n=1, *, sigma=False, own_times=False, missing=False):
    """Noisy van der Pol with mu = 0.7 and threshold 0.4."""
    data = simulate_van_der_pol(n=n, mu=0.7, threshold=0.4, t_end=2.0, points=POINTS, noise=0.01, seed=4)
    rng = np.random.default_rng(1)
    y, t = data.y.copy(), data.t
    if missing:
        y[:, 3:6, 0] = np.nan
    if own_times:
        t = np.stack([data.t + 0.01 * k for k in range(n)])
    return dataclasses.replace(data, t=t, y=y, sigma=rng.uniform(0.01, 0.1, y.shape) if sigma else None)


def objective_of(data, *, stage=-1, **settings) -> Objective:
    """The objective of a stage, a little off the truth; a grid of steps, so that residuals are smooth functions."""
    same = {"init": {"mu": (0.8,), "threshold": (0.5,)}, "schedule": "full", "train_until": 10.0, "method": "rk4"}
    config = effective_config(FitConfig(**{**same, **settings}), data)
    problem = pose_fit(data, config)
    return problem.begin(problem.stages[stage])


SHOOTING = {"schedule": "shooting", "stages": 3, "stage": 0}
CASES = {
    "one trajectory": (observed(), {}),
    "an unknown initial state": (observed(), {"initial_state": "fit"}),
    "several trajectories": (observed(3), {}),
    "unknown initial states of several": (observed(3), {"initial_state": "fit"}),
    "times of their own": (observed(2, own_times=True), {"initial_state": "fit"}),
    "missing values": (observed(missing=True), {}),
    "a share of the times": (observed(), {"schedule": "growing", "stages": 3, "stage": 0}),
    "segments": (observed(), SHOOTING),
    "segments of several": (observed(2), {**SHOOTING, "initial_state": "fit"}),
    "segments with missing values and weights": (observed(2, sigma=True, missing=True), SHOOTING),
    "a fixed constant": (observed(), {"free": ("mu",), "init": {"mu": (0.8,)}, **SHOOTING}),
    "logarithms": (observed(), {"positive": True, "initial_state": "fit"}),
    "weights": (observed(sigma=True), {"initial_state": "fit"}),
    "early times first": (observed(), {"time_weight": 0.01}),
    "early times of several first": (observed(2, own_times=True), {"time_weight": 0.1, "initial_state": "fit"}),
    "early times of segments first": (observed(2, sigma=True, missing=True), {**SHOOTING, "time_weight": 0.1}),
    "priors": (observed(), {"sigma": 0.02, "priors": {"mu": (0.6, 0.1), "threshold": (0.5, 0.2)}}),
    "everything": (
        observed(2, sigma=True, missing=True),
        {**SHOOTING, "positive": True, "initial_state": "fit", "priors": {"mu": (0.6, 0.1)}},
    ),
}


def differences(objective: Objective, step: float = 1e-5) -> np.ndarray:
    """The residuals' Jacobian by central differences of fourth order."""
    parameters = objective.parameters
    here = parameters.vector()

    def residuals(x):
        parameters.move(x)
        return objective.linearise().residuals.numpy()

    columns = []
    for row in np.eye(len(here)) * step:
        near, far = (residuals(here + k * row) - residuals(here - k * row) for k in (1, 2))
        columns.append((8 * near - far) / (12 * step))
    parameters.move(here)
    return np.stack(columns, -1)


@pytest.mark.parametrize("case", CASES)
def test_the_jacobian_is_that_of_differences(case):
    data, settings = CASES[case]
    objective = objective_of(data, **settings)
    found = objective.linearise()
    assert found.jacobian.shape == (len(found.residuals), len(objective.parameters.vector()))
    np.testing.assert_allclose(found.jacobian.numpy(), differences(objective), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("case", CASES)
def test_the_gradient_of_the_loss_is_that_of_its_residuals(case):
    data, settings = CASES[case]
    objective = objective_of(data, **settings)
    found, evaluation = objective.linearise(), objective.evaluate()
    n = int(objective.segments.counted.sum())
    assert found.values == n
    gradient = torch.cat([each.grad.reshape(-1) for each in objective.parameters.tensors])
    mask = objective.parameters.mask
    expected = 2 / n * found.jacobian.T @ found.residuals
    torch.testing.assert_close(gradient[mask], expected, rtol=1e-9, atol=1e-12)
    assert not gradient[~mask].any()
    losses = [evaluation.loss, found.loss, objective.loss()]
    np.testing.assert_allclose(losses, float(found.residuals.square().sum()) / n, rtol=1e-12)


def test_adaptive_steps_leave_jacobian_and_gradient_exact():
    adaptive = {"method": "dopri8", "rtol": 1e-12, "atol": 1e-13, "sigma": 0.05, "initial_state": "fit"}
    objective = objective_of(observed(), **adaptive)
    found = objective.linearise()
    np.testing.assert_allclose(found.jacobian.numpy(), differences(objective, 1e-3), rtol=1e-6, atol=1e-7)
    objective.evaluate()
    gradient = torch.cat([each.grad.reshape(-1) for each in objective.parameters.tensors])
    torch.testing.assert_close(gradient, 2 / found.values * found.jacobian.T @ found.residuals, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(
    ("robust", "slope"),
    [
        ("huber", lambda z: np.where(z <= 1, 1, 1 / np.sqrt(np.maximum(z, 1)))),
        ("soft_l1", lambda z: 1 / np.sqrt(1 + z)),
        ("cauchy", lambda z: 1 / (1 + z)),
    ],
)
def test_robust_losses_weigh_the_residuals_and_leave_gaps_and_priors_alone(robust, slope):
    settings = {**SHOOTING, "sigma": 0.01, "robust": robust, "robust_scale": 1.5, "priors": {"mu": (0.6, 0.1)}}
    objective = objective_of(observed(), **settings)
    found = objective.linearise()
    r = found.residuals.numpy().copy()
    r[: found.values] *= slope((r[: found.values] / 1.5) ** 2)
    objective.evaluate()
    gradient = torch.cat([each.grad.reshape(-1) for each in objective.parameters.tensors])[objective.parameters.mask]
    np.testing.assert_allclose(gradient.numpy(), 2 / found.values * found.jacobian.numpy().T @ r, rtol=1e-8, atol=1e-9)


def test_gaps_weigh_as_much_as_residuals_of_equal_relative_size():
    """Segments that begin at a tenth of their columns' spread off cost what values off by a tenth of their size do."""
    data = simulate_van_der_pol(n=1, mu=0.7, threshold=0.4, t_end=2.0, points=POINTS)
    objective = objective_of(data, **SHOOTING, init={"mu": (0.7,), "threshold": (0.4,)})
    exact = torch.tensor(data.y[0, list(objective.segments.starts)])
    states = objective.parameters.states
    with torch.no_grad():
        states.copy_(exact)
    assert objective.loss() < 1e-8
    shifted = 0.1 * exact.std(0)
    with torch.no_grad():
        states[-1] += shifted  # one gap of the links, in every column
    found = objective.linearise()
    gaps, links = found.residuals[found.values :], len(objective.segments.links)
    size = objective.segments.y[objective.segments.counted].square().mean()
    torch.testing.assert_close(
        gaps.square().sum() / found.values, 0.01 * size / links, rtol=0.02, atol=0.0, check_dtype=False
    )


def test_a_loss_that_cannot_be_computed_is_infinite_and_its_derivatives_are_refused():
    objective = objective_of(observed(), method="dopri5", init={"mu": (-50.0,), "threshold": (0.15,)})
    assert objective.loss() == torch.inf
    for compute in (objective.linearise, objective.evaluate):
        with pytest.raises(SolveError):
            compute()


def test_states_at_other_beginnings_are_those_of_the_solution():
    data = observed(2)
    objective = objective_of(data, schedule="growing", stages=2, stage=0)
    states = objective.states_at((0, 1, 1), (0, 5, POINTS - 1))
    y = objective.predict().y
    last = objective.stage.times - 1
    torch.testing.assert_close(states, torch.stack([y[0, 0], y[5, 1], y[last, 1]]), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("own_times", [False, True])
def test_squared_residuals_count_a_power_of_the_time_since_the_start(own_times):
    data = observed(2, own_times=own_times)
    plain, early = objective_of(data), objective_of(data, time_weight=0.01)
    since = torch.as_tensor(data.t - data.t[..., :1]).expand(2, POINTS)
    predicted = plain.predict().y
    squares = (predicted - plain.data.y).square() * plain.data.training
    expected = (0.01 ** since.T[..., None] * squares).sum() / plain.data.training.sum()
    assert early.loss() == pytest.approx(float(expected), rel=1e-12)
    assert early.loss() < plain.loss()
