"""Problems in PEtab, from the file to the likelihood and its gradient, against SciPy and differences."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("libsbml")
pytest.importorskip("petab")

from physode.estimation.search import Problem
from physode.estimation.simulation import SolverOptions
from physode.petab import read_problem
from tests.petab.problems import model, write_version_1, write_version_2
from tests.petab.reference import guesses, log_likelihood, simulations

CHAIN = {
    "species": {"A": {"initial": 1.0}, "B": {"initial": 0.2}},
    "parameters": {"k": 0.5, "l": 0.3, "dose": 0.0, "a": 1.0},
    "initial": {"A": "a"},
    "reactions": {"in": ("-> A", "c * dose"), "v": ("A -> B", "c * k * A"), "w": ("B ->", "c * l * B / (1 + B)")},
}  # fmt: skip
PARAMETERS = [{"parameterId": name, "nominalValue": value} for name, value in (("k", 0.8), ("l", 1.1), ("s", 2.0))]


def version_1(folder):
    parameters = [{**row, "parameterScale": "log10", "lowerBound": 0.01} for row in PARAMETERS]
    scaled = "observableParameter1_o * B"
    observables = [{
        "observableId": "o", "observableFormula": scaled, "noiseFormula": f"0.1 + 0.1 * {scaled}",
        "observableTransformation": "log", "noiseDistribution": "normal",
    }]  # fmt: skip
    measurements = [
        {"observableId": "o", "preequilibrationConditionId": "before", "simulationConditionId": condition, "time": t,
         "measurement": 0.7, "observableParameters": scale}
        for condition, scale in (("kept", "s"), ("anew", 3)) for t in (0, 0.5, 2)
    ]  # fmt: skip
    conditions = [
        {"conditionId": "before", "dose": 0.3, "A": "", "a": "k"},
        {"conditionId": "kept", "dose": 0.6, "A": "", "a": 1},
        {"conditionId": "anew", "dose": 0.1, "A": "l", "a": 1},
    ]  # fmt: skip
    return write_version_1(
        folder, model(**CHAIN), parameters=parameters, observables=observables, measurements=measurements,
        conditions=conditions,
    )  # fmt: skip


def version_2(folder):
    observables = [{
        "observableId": "o", "observableFormula": "s * A + B", "noiseFormula": "sd * k", "noisePlaceholders": "sd",
        "noiseDistribution": "laplace",
    }]  # fmt: skip
    measurements = [
        {"observableId": "o", "experimentId": experiment, "time": t, "measurement": 0.9, "noiseParameters": 0.5}
        for experiment, times in (("e", (1, 2, 3)), ("f", (2, 4))) for t in times
    ]  # fmt: skip
    conditions = [
        {"conditionId": "more", "targetId": "A", "targetValue": "A * l + 1"},
        {"conditionId": "more", "targetId": "dose", "targetValue": "dose + k^2"},
        {"conditionId": "other", "targetId": "a", "targetValue": "k + l"},
    ]  # fmt: skip
    experiments = [
        {"experimentId": "e", "time": 1, "conditionId": "other"},
        {"experimentId": "e", "time": 2, "conditionId": "more"},
        {"experimentId": "f", "time": 0, "conditionId": ""},
        {"experimentId": "f", "time": 3, "conditionId": "more"},
    ]  # fmt: skip
    return write_version_2(
        folder, model(**CHAIN, events={"pulse": {"trigger": "time >= 1.5", "assignments": {"B": "B + l"}}}),
        parameters=PARAMETERS, observables=observables, measurements=measurements, conditions=conditions,
        experiments=experiments,
    )  # fmt: skip


@pytest.mark.parametrize("write", [version_1, version_2])
def test_the_likelihood_and_its_gradient_are_those_of_the_reference(tmp_path, write):
    estimation = read_problem(write(tmp_path))
    values = guesses(estimation)
    problem = Problem(estimation, SolverOptions(method="rodas5p", rtol=1e-9, atol=1e-11))
    likelihood = problem.likelihood(problem.scales.guess()[None])
    assert float(-likelihood.loss[0]) == pytest.approx(
        log_likelihood(estimation, *simulations(estimation, values)), rel=1e-6
    )

    def reference(name, value):
        return log_likelihood(estimation, *simulations(estimation, {**values, name: value}))

    assert likelihood.gradient is not None
    for slope, unknown in zip(-likelihood.gradient[0], estimation.free, strict=True):
        step = 1e-4 * unknown.guess
        ends = [reference(unknown.name, unknown.guess + sign * step) for sign in (1, -1)]
        assert float(slope) == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-5, abs=1e-5)


def test_a_right_hand_side_takes_rows_as_they_come(tmp_path):
    estimation = read_problem(version_2(tmp_path))
    rhs, states, constants = estimation.model.rhs, estimation.model.states, estimation.model.constants
    generator = torch.Generator().manual_seed(0)
    t, x, p = (
        torch.rand(*shape, generator=generator, dtype=torch.float64)
        for shape in ((5,), (5, len(states)), (5, len(constants)))
    )
    u = torch.empty(5, 0, dtype=torch.float64)
    together = rhs(t, x, p, u)
    assert together.shape == (5, len(states))
    alone = torch.cat([rhs(t[i : i + 1], x[i : i + 1], p[i : i + 1], u[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(together, alone, rtol=1e-14, atol=0)
    of_one = torch.func.vmap(
        torch.func.jacrev(lambda t, x, p, u: rhs(t[None], x[None], p[None], u[None])[0], argnums=1)
    )
    a, b = states.index("A"), states.index("B")
    k = p[:, constants.index("k")]
    torch.testing.assert_close(of_one(t, x, p, u)[:, b, a], k)
