"""Fits and estimations by kernels, beside those without."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from physode.estimation.problem import Change, Estimation, Experiment, Measurements, Model, Observable, Unknown
from physode.estimation.simulation import Simulator, SolverOptions
from physode.fitting import FitConfig, fit
from physode.fused import choice, solving, tangents
from physode.simulators import simulate_van_der_pol
from tests.fused.same import close


@pytest.fixture
def kernels(monkeypatch):
    """What kernels do, which are made at once."""
    monkeypatch.delenv("PHYSODE_COMPILE")
    monkeypatch.setattr(choice, "_LOOKS_AFTER", 0.0)
    monkeypatch.setattr(choice, "_MAKES_AFTER", 0.0)
    done = []

    def noted(owner, name):
        original = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *args, **kwargs: (done.append(name), original(*args, **kwargs))[1])

    noted(solving, "solve_prepared")
    noted(tangents, "solve_with_tangents")
    monkeypatch.setattr(choice, "solve_prepared", solving.solve_prepared)
    return done


def constants(found):
    return [float(x) for parameter in found.rhs.parameters() for x in parameter.detach().reshape(-1)]


@pytest.mark.slow
@pytest.mark.parametrize("schedule", ["growing", "shooting"])
def test_levenberg_marquardt_takes_the_same_way(kernels, monkeypatch, schedule):
    data = simulate_van_der_pol(preset="aca", t_end=6.0, points=60)
    config = FitConfig(schedule=schedule, stages=3, method="dopri5", rtol=1e-9, atol=1e-10, train_until=6.0)
    found = fit(data, config)
    assert {"solve_prepared", "solve_with_tangents"} == set(kernels)
    assert not kernels.clear()
    monkeypatch.setenv("PHYSODE_COMPILE", "never")
    expected = fit(data, config)
    assert kernels == []
    assert found.report.ended == expected.report.ended
    assert len(found.history) == len(expected.history)
    assert constants(found) == pytest.approx(constants(expected), rel=1e-8)
    steps = [[epoch.accepted for epoch in one.history] for one in (found, expected)]
    assert steps[0] == steps[1]


MODEL = Model(
    states=("x", "v"),
    constants=("k", "c", "x0"),
    rhs=lambda t, x, p, u: torch.stack([x[:, 1], -p[:, 0] * x[:, 0] - p[:, 1] * x[:, 1]], -1),
    initial=lambda p: torch.stack([p[:, 2], p[:, 2] * 0], -1),
    values=("k", "c", "x0"),
)
EXPERIMENTS = (
    Experiment("free"),
    Experiment("kicked", constants={"c": 0.3}, initial={"v": "v0"}, changes=(Change(4.0, {"k": 3.0}),)),
)
THETA = torch.tensor([[2.0, 1.8, 1.0, 0.5], [1.0, 2.2, 0.5, 0.1]], dtype=torch.float64)


def simulator(count):
    times = np.linspace(0.0, 10.0, 11)
    measured = Measurements(
        np.repeat(np.arange(count), len(times)), np.zeros(count * len(times), dtype=np.int64),
        np.tile(times, count), np.zeros(count * len(times)),
    )  # fmt: skip
    observed = (Observable("x", lambda t, x, p, u, q: x[:, 0]),)
    unknowns = tuple(map(Unknown, ("k", "c", "x0", "v0")[: 2 + count]))
    estimation = Estimation(MODEL, unknowns, EXPERIMENTS[:count], observed, measured)
    return Simulator(estimation, SolverOptions(method="bosh3", rtol=1e-5, atol=1e-7))


@pytest.mark.parametrize(("count", "starts"), [(2, 2), (1, 1)])
def test_experiments_and_their_derivatives_are_those_without_kernels(kernels, monkeypatch, count, starts):
    theta = THETA[:starts, : 2 + count]
    rows = simulator(count).run(theta, tangents=True)
    assert set(kernels) == {"solve_with_tangents"}
    alone = simulator(count).run(theta)
    assert "solve_prepared" in kernels
    monkeypatch.setenv("PHYSODE_COMPILE", "never")
    expected = simulator(count).run(theta, tangents=True)
    close(rows.x, expected.x, 1e-10)
    close(rows.dx, expected.dx, 1e-9)
    close(alone.x, expected.x, 1e-10)
