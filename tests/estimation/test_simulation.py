"""Experiments with inputs, doses and steady states, solved as one batch, against SciPy and finite differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from physode.errors import ConfigError
from physode.estimation import inputs
from physode.estimation.problem import (
    Change,
    Estimation,
    Experiment,
    Input,
    Measurements,
    Model,
    Observable,
    Trigger,
    Unknown,
)  # fmt: skip
from physode.estimation.simulation import Simulator, SolverOptions
from physode.estimation.timeline import make_timeline

T = np.linspace(0.0, 10.0, 21)
N = len(T)
MODEL = Model(
    states=("x", "v"),
    constants=("k", "c", "x0"),
    rhs=lambda t, x, p, u: torch.stack([x[:, 1], -p[:, 0] * x[:, 0] - p[:, 1] * x[:, 1] + u[:, 0]], -1),
    initial=lambda p: torch.stack([p[:, 2], p[:, 2] * 0], -1),
    values=("k", "c", "x0"),
    inputs=("F",),
)
STEP = Input(np.array([0.0, 3.0, 7.0]), np.array([0.0, 1.0, -1.0]), "step")
LINE = Input(np.array([0.0, 3.0, 12.0]), np.array([0.0, 1.0, -1.0]), "linear")
HELD = Input(np.array([0.0]), np.array([1.0]), "step")
EXPERIMENTS = (
    Experiment("stepped", inputs={"F": STEP}),
    Experiment(
        "dosed",
        constants={"c": 0.3},
        initial={"v": "v0"},
        changes=(Change(4.0, {"k": 3.0}, {"x": lambda t, x, p: x[0] + p[2] * x[1]}),),
        inputs={"F": LINE},
    ),
    Experiment("settled", changes=(Change(-math.inf, {"k": 4.0}),), inputs={"F": HELD}),
)
UNKNOWNS = (Unknown("k"), Unknown("c"), Unknown("x0"), Unknown("v0"))
THETA = torch.tensor([[2.0, 1.8, 1.0, 0.5], [1.0, 2.2, 0.5, 0.1]], dtype=torch.float64)


def estimation(experiments=EXPERIMENTS, times=T):
    count = len(experiments)
    measured = Measurements(
        np.repeat(np.arange(count), len(times)),
        np.zeros(count * len(times), dtype=np.int64),
        np.tile(times, count),
        np.zeros(count * len(times)),
    )
    return Estimation(MODEL, UNKNOWNS, experiments, (Observable("x", lambda t, x, p, u, q: x[:, 0]),), measured)


SIMULATOR = Simulator(estimation(), SolverOptions(rtol=1e-8, atol=1e-10))


@pytest.fixture(scope="module")
def rows():
    return SIMULATOR.run(THETA, tangents=True)


def reference(f, start, end, state, times):
    inside = times[(times >= start) & (times <= end)]
    sol = solve_ivp(f, (start, end), state, t_eval=inside, method="DOP853", rtol=1e-11, atol=1e-13)
    last = solve_ivp(f, (start, end), state, method="DOP853", rtol=1e-11, atol=1e-13).y[:, -1]
    return sol.y[0], last


def test_steps_of_an_input(rows):
    k, c, x0, _ = THETA[0].tolist()
    found, state = [], [x0, 0.0]
    for start, end, force in ((0.0, 3.0, 0.0), (3.0, 7.0, 1.0), (7.0, 10.0, -1.0)):
        path, state = reference(lambda t, x, F=force: [x[1], -k * x[0] - c * x[1] + F], start, end, state, T)
        found.append(path[: None if end == 10.0 else -1])
    assert np.allclose(rows.x[:N, 0], np.concatenate(found), atol=1e-7)
    assert rows.u[:N, 0].tolist() == [0.0] * 6 + [1.0] * 8 + [-1.0] * 7


def test_a_dose_and_a_switch_act_before_what_is_measured_at_their_time(rows):
    k, _, x0, v0 = THETA[0].tolist()

    def f(t, x, k):
        return [x[1], -k * x[0] - 0.3 * x[1] + np.interp(t, LINE.times, LINE.values)]

    first, state = reference(lambda t, x: f(t, x, k), 0.0, 3.0, [x0, v0], T)
    second, state = reference(lambda t, x: f(t, x, k), 3.0, 4.0, state, T)
    third, _ = reference(lambda t, x: f(t, x, 3.0), 4.0, 10.0, [state[0] + x0 * state[1], state[1]], T)
    expected = np.concatenate([first[:-1], second[:-1], third])
    assert np.allclose(rows.x[N : 2 * N, 0], expected, atol=1e-7)


def test_a_steady_state_is_where_an_experiment_begins(rows):
    assert rows.x[2 * N].tolist() == pytest.approx([0.25, 0.0], abs=1e-8)
    k, c = THETA[0, :2].tolist()
    path, _ = reference(lambda t, x: [x[1], -k * x[0] - c * x[1] + 1.0], 0.0, 10.0, [0.25, 0.0], T)
    assert np.allclose(rows.x[2 * N : 3 * N, 0], path, atol=1e-7)


def test_a_steady_state_is_measured_at_infinity():
    experiment = Experiment("settled", inputs={"F": HELD})
    found = Simulator(estimation((experiment,), np.array([0.0, 1.0, np.inf])), SolverOptions()).run(
        THETA, tangents=True
    )
    assert found.x[[2, 5], 0].tolist() == pytest.approx([0.5, 1.0], abs=1e-6)
    assert found.dx is not None
    assert found.dx[2, 0].tolist() == pytest.approx([-0.25, 0.0, 0.0, 0.0], abs=1e-5)


def test_derivatives_are_those_of_finite_differences(rows):
    step = 1e-6
    for i in (0, 2):
        moved = torch.zeros(4, dtype=torch.float64)
        moved[i] = step
        ahead, behind = (SIMULATOR.run(THETA + sign * moved).x for sign in (1, -1))
        assert torch.allclose((ahead - behind) / (2 * step), rows.dx[..., i], atol=2e-6)


def test_gradients_backwards_are_the_same(rows):
    theta = THETA.clone().requires_grad_()
    weights = torch.linspace(-1, 1, rows.x.numel(), dtype=torch.float64).reshape(rows.x.shape)
    (SIMULATOR.run(theta).x * weights).sum().backward()
    expected = (weights.unsqueeze(-1) * rows.dx).sum(1).reshape(2, -1, 4).sum(1)
    assert torch.allclose(theta.grad, expected, rtol=1e-9, atol=1e-9)


def test_what_a_model_does_by_itself_has_derivatives_too():
    # x grows by k; at the level c it falls to c / 4: the time of that depends on both.
    fall = Trigger("fall", lambda t, x, p, u: x[:, 0] - p[:, 1], {"x": lambda t, x, p: 0.25 * p[1] + 0 * x[0]})
    model = Model(
        ("x",), ("k", "c"), lambda t, x, p, u: p[:, :1] + 0 * x, lambda p: 0.1 * p[:, :1], ("k", "c"), triggers=(fall,)
    )
    times = np.array([0.0, 0.5, 1.5, 2.5])
    measured = Measurements(np.zeros(4, int), np.zeros(4, int), times, np.zeros(4))
    unknowns = (Unknown("k"), Unknown("c"))
    posed = Estimation(model, unknowns, (Experiment("e"),), (Observable("x", lambda t, x, p, u, q: x[:, 0]),), measured)
    theta = torch.tensor([[1.0, 1.2], [0.8, 0.7]], dtype=torch.float64)
    found = Simulator(posed, SolverOptions("dopri5")).run(theta, tangents=True)
    for row, (k, c) in enumerate(theta.tolist()):
        first = (c - 0.1 * k) / k
        period = 0.75 * c / k
        falls = [max(0, math.ceil((t - first) / period)) for t in times]
        x = [0.1 * k + k * t - 0.75 * c * n for t, n in zip(times, falls, strict=True)]
        assert found.x[4 * row : 4 * row + 4, 0].tolist() == pytest.approx(x, rel=1e-8)
        by_k, by_c = [0.1 + t for t in times], [-0.75 * n for n in falls]
        assert found.dx[4 * row : 4 * row + 4, 0, 0].tolist() == pytest.approx(by_k, rel=1e-6)
        assert found.dx[4 * row : 4 * row + 4, 0, 1].tolist() == pytest.approx(by_c, rel=1e-6)


@pytest.mark.parametrize("beside", [(), (Experiment("settled", changes=(Change(-math.inf, {"c": 0.5}),)),)])
def test_what_a_model_does_at_once_has_derivatives_wherever_experiments_begin(beside):
    fall = Trigger("fall", lambda t, x, p, u: x[:, 0] - p[:, 1], {"x": lambda t, x, p: 0.1 * p[0] * x[0]}, False)
    model = Model(
        ("x",), ("k", "c"), lambda t, x, p, u: -p[:, :1] * x, lambda p: 3 * p[:, :1], ("k", "c"), triggers=(fall,)
    )
    measured = Measurements(
        np.arange(1 + len(beside)), np.zeros(1 + len(beside), int), np.ones(1 + len(beside)), np.zeros(1 + len(beside))
    )
    posed = Estimation(
        model, (Unknown("k"), Unknown("c", free=False)), (Experiment("e"), *beside),
        (Observable("x", lambda t, x, p, u, q: x[:, 0]),), measured,
    )  # fmt: skip
    k = 0.9
    found = Simulator(posed, SolverOptions("dopri5")).run(torch.tensor([[k, 0.5]], dtype=torch.float64), tangents=True)
    assert float(found.x[0, 0]) == pytest.approx(0.3 * k**2 * math.exp(-k), rel=1e-7)
    assert float(found.dx[0, 0, 0]) == pytest.approx((0.6 * k - 0.3 * k**2) * math.exp(-k), rel=1e-6)


def test_one_start_that_runs_away_spoils_no_other():
    model = Model(("x",), ("k",), lambda t, x, p, u: p * x**2, lambda p: torch.ones_like(p), ("k",))
    measured = Measurements(np.zeros(3, int), np.zeros(3, int), np.array([0.0, 0.5, 2.0]), np.zeros(3))
    posed = Estimation(
        model, (Unknown("k"),), (Experiment("e"),), (Observable("x", lambda t, x, p, u, q: x[:, 0]),), measured
    )
    theta = torch.tensor([[0.1], [1.0], [torch.nan]], dtype=torch.float64)
    found = Simulator(posed, SolverOptions()).run(theta, tangents=True)
    values = found.x[:, 0].reshape(3, 3)
    assert values[0].tolist() == pytest.approx([1.0, 1 / (1 - 0.05), 1 / (1 - 0.2)])
    assert values[1, :2].tolist() == pytest.approx([1.0, 2.0])
    assert math.isnan(values[1, 2])
    assert bool(torch.isnan(values[2]).all())


@pytest.mark.parametrize(
    ("experiment", "message"),
    [
        (Experiment("late", start=1.0, inputs={"F": HELD}), "starts at 1, and is measured at 0 already"),
        (Experiment("bare"), "has no input 'F'"),
        (Experiment("short", inputs={"F": Input(np.array([0.0, 5.0]), np.zeros(2))}), "known from 0 to 5, .* to 10"),
        (Experiment("odd", constants={"q": 1.0}, inputs={"F": HELD}), "'q', which is no constant"),
        (Experiment("odd", constants={"k": "q"}, inputs={"F": HELD}), "'q', which is no unknown"),
        (Experiment("odd", initial={"q": 1.0}, inputs={"F": HELD}), "'q', which is no state"),
        (
            Experiment("mixed", changes=(Change(5.0), Change(2.0)), inputs={"F": HELD}),
            "put them into the order of time",
        ),
    ],
)
def test_experiments_that_cannot_be(experiment, message):
    with pytest.raises(ConfigError, match=message):
        make_timeline(estimation((experiment,)))


def test_pieces_of_an_input_are_the_same_selected_or_looked_up(monkeypatch):
    t = torch.cat([torch.linspace(-1.0, 13.0, 57), torch.tensor([3.0, 7.0, 12.0])]).double()
    experiments = torch.arange(3).repeat_interleave(20)
    inside = t + 1e-3
    found = SIMULATOR.inputs.at(t, inside, experiments)
    monkeypatch.setattr(inputs, "_FEW", 0)
    assert torch.equal(found, SIMULATOR.inputs.at(t, inside, experiments))
