"""Gradients of the log-likelihood on the scales of the search, against central differences, to 1e-5."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("libsbml")
pytest.importorskip("petab")

from physode.estimation.search import Problem
from physode.estimation.simulation import SolverOptions
from physode.petab import read_problem
from tests.petab.problems import model, write_version_1, write_version_2
from tests.petab.test_likelihood import version_1, version_2

pytestmark = pytest.mark.slow


def turnover(folder):
    """A steady state before, and another at the end; parameters on all scales."""
    text = model(
        species={"A": {"initial": 0.5}},
        parameters={"inflow": 1.0, "k": 1.0, "dose": 0.0},
        reactions={"made": ("-> A", "inflow + dose"), "gone": ("A ->", "k * A")},
    )
    parameters = [
        {"parameterId": "inflow", "parameterScale": "log", "lowerBound": 0.01, "nominalValue": 1.3},
        {"parameterId": "k", "parameterScale": "log10", "lowerBound": 0.01, "nominalValue": 0.8},
        {"parameterId": "drug", "nominalValue": 2.0},
        {"parameterId": "sigma", "parameterScale": "log10", "lowerBound": 0.01, "nominalValue": 0.3},
    ]  # fmt: skip
    return write_version_1(
        folder, text, parameters=parameters,
        observables=[{"observableId": "a", "observableFormula": "A", "noiseFormula": "sigma * (1 + A)"}],
        measurements=[
            {"observableId": "a", "preequilibrationConditionId": "rest", "simulationConditionId": "treated",
             "time": time, "measurement": value}
            for time, value in ((0, 1.5), (0.5, 2.6), (2, 3.5), ("inf", 4.4))
        ],
        conditions=[{"conditionId": "rest", "dose": 0}, {"conditionId": "treated", "dose": "drug"}],
    )  # fmt: skip


def triggered(folder):
    """Events on a concentration that is solved for, and at a time that is estimated; Laplace noise of logarithms."""
    events = {
        "refill": {"trigger": "A < 0.4", "assignments": {"A": "A + top"}},
        "switch": {"trigger": "time > when", "assignments": {"factor": "2"}},
    }  # fmt: skip
    text = model(
        species={"A": {"initial": 1.0}},
        parameters={"k": 1.0, "factor": 1.0, "top": 1.0, "when": 1.0},
        reactions={"gone": ("A ->", "factor * k * A")},
        events=events,
    )
    parameters = [
        {"parameterId": "k", "lowerBound": 0.01, "nominalValue": 0.7},
        {"parameterId": "top", "lowerBound": 0.01, "nominalValue": 0.8},
        {"parameterId": "when", "nominalValue": 1.7},
        {"parameterId": "sigma", "lowerBound": 0.01, "nominalValue": 0.2},
    ]  # fmt: skip
    return write_version_2(
        folder, text, parameters=parameters,
        observables=[{
            "observableId": "a", "observableFormula": "A", "noiseFormula": "sigma", "noiseDistribution": "log-laplace",
        }],
        measurements=[
            {"observableId": "a", "time": time, "measurement": value}
            for time, value in ((0.5, 0.8), (1.0, 0.55), (1.5, 1.2), (2.0, 0.5), (3.1, 0.9))
        ],
    )  # fmt: skip


@pytest.mark.parametrize("write", [version_1, version_2, turnover, triggered])
def test_gradients_are_those_of_central_differences(tmp_path, write):
    problem = Problem(read_problem(write(tmp_path)), SolverOptions(method="rodas5p", rtol=1e-9, atol=1e-12))
    z = problem.scales.guess()[None]
    likelihood = problem.likelihood(z)
    assert likelihood.gradient is not None
    gradient = likelihood.gradient[0] * problem.scales.slopes(z)[0]
    step = 1e-3
    points = torch.cat([z + shift * step * torch.eye(len(gradient)) for shift in (-2, -1, 1, 2)])
    far, near, nearer, farther = problem.likelihood(points, derivatives=False).loss.reshape(4, -1)
    difference = (far - 8 * near + 8 * nearer - farther) / (12 * step)
    assert float(gradient.norm()) > 0.1
    assert float((gradient - difference).norm()) < 1e-5 * float(gradient.norm())
