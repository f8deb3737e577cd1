"""``physode fit`` and ``physode simulate`` of PEtab problems."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from click.testing import CliRunner

from physode.cli.main import cli

pytest.importorskip("petab")
pytest.importorskip("libsbml")

from tests.petab.problems import model, write_version_1, write_version_2

TIMES = (0.0, 0.5, 1.0, 2.0, 3.0)
MEASURED = (2.1, 1.4, 1.05, 0.5, 0.26)
K, X0, SIGMA = 0.7, 2.0, 0.1
DECAY = {"species": {"A": {"initial": X0}}, "parameters": {"k": 1.0}, "reactions": {"gone": ("A ->", "k * A")}}
OBSERVABLES = [{"observableId": "a", "observableFormula": "A", "noiseFormula": "sigma"}]
PARAMETERS = [
    {"parameterId": "k", "parameterScale": "log10", "lowerBound": 0.01, "upperBound": 100, "nominalValue": K},
    {"parameterId": "sigma", "parameterScale": "lin", "nominalValue": SIGMA, "estimate": 0},
]  # fmt: skip
MEASUREMENTS = [
    {"observableId": "a", "simulationConditionId": "c", "time": time, "measurement": value}
    for time, value in zip(TIMES, MEASURED, strict=True)
]  # fmt: skip


def run(*arguments: object):
    return CliRunner().invoke(cli, list(map(str, arguments)))


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file, delimiter="\t"))


@pytest.fixture
def problem(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return write(tmp_path)


def write(folder, text=None, **tables):
    given = {
        "parameters": PARAMETERS, "observables": OBSERVABLES, "measurements": MEASUREMENTS,
        "conditions": [{"conditionId": "c"}], **tables,
    }  # fmt: skip
    return write_version_1(folder, model(**DECAY) if text is None else text, **given)


def test_a_problem_is_simulated_at_its_nominal_parameters(problem, tmp_path):
    done = run("simulate", problem, "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    exact = X0 * np.exp(-K * np.array(TIMES))
    residuals = (np.array(MEASURED) - exact) / SIGMA
    assert told["chi_square"] == pytest.approx(np.sum(residuals**2), rel=1e-6)
    density = -0.5 * residuals**2 - np.log(SIGMA * np.sqrt(2 * np.pi))
    assert told["log_likelihood"] == pytest.approx(density.sum(), rel=1e-7)
    table = rows(tmp_path / "problem_simulations.tsv")
    assert [float(row["simulation"]) for row in table] == pytest.approx(exact, rel=1e-6)
    assert [float(row["time"]) for row in table] == list(TIMES)
    assert "measurement" not in table[0]


def test_a_table_in_the_way_is_kept_unless_it_may_be_replaced(problem, tmp_path):
    assert run("simulate", problem, "--output", "own.tsv").exit_code == 0
    again = run("simulate", problem, "--output", "own.tsv")
    assert again.exit_code == 1
    assert "own.tsv" in again.stderr
    done = run("simulate", problem, "--output", "own.tsv", "--force")
    assert done.exit_code == 0
    assert "log likelihood" in done.stdout
    assert "chi square" in done.stdout
    assert not (tmp_path / "problem_simulations.tsv").exists()


def test_simulating_asks_for_no_more_values_than_parameters(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one = [{"observableId": "a", "experimentId": "", "time": 1.0, "measurement": 1.0}]
    free = [{"parameterId": "k", "nominalValue": K}, {"parameterId": "sigma", "nominalValue": SIGMA}]
    path = write_version_2(tmp_path, model(**DECAY), parameters=free, observables=OBSERVABLES, measurements=one)
    done = run("simulate", path, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["free_parameters"] == 2
    refused = run("fit", path)
    assert refused.exit_code == 1
    assert "2 free constants are more than 1 values determine" in refused.stderr


def test_simulating_needs_nothing_to_be_estimated(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path, parameters=[{**row, "estimate": 0} for row in PARAMETERS])
    assert run("simulate", path).exit_code == 0


@pytest.mark.slow
def test_a_fit_writes_tables_that_stand_for_the_problems_own(problem, tmp_path):
    done = run("fit", problem, "--starts", 2, "--json")
    assert done.exit_code == 0, done.output
    (fitted,) = [one["value"] for one in json.loads(done.stdout)["constants"] if one["name"] == "k"]
    folder = tmp_path / "runs" / "problem" / "petab"
    parameters = {row["parameterId"]: row for row in rows(folder / "parameters.tsv")}
    assert float(parameters["k"]["nominalValue"]) == fitted
    assert parameters["k"]["parameterScale"] == "log10"
    assert float(parameters["sigma"]["nominalValue"]) == SIGMA
    simulated = [float(row["simulation"]) for row in rows(folder / "simulations.tsv")]
    assert simulated == pytest.approx(X0 * np.exp(-fitted * np.array(TIMES)), rel=1e-6)
    assert run("fit", problem, "--starts", 2, "--force").exit_code == 0

    (tmp_path / "parameters.tsv").write_text((folder / "parameters.tsv").read_text())
    assert run("simulate", problem).exit_code == 0
    assert [float(row["simulation"]) for row in rows(tmp_path / "problem_simulations.tsv")] == pytest.approx(
        simulated, rel=1e-6
    )


def unsupported(folder, changed, **tables):
    return write(folder, model(**{**DECAY, **changed}), **tables)


def wrong_observable(folder):
    return write(folder, observables=[{**OBSERVABLES[0], "observableFormula": "A + nothing_of_the_kind"}])


def wrong_bounds(folder):
    return write(folder, parameters=[{**PARAMETERS[0], "lowerBound": 5, "upperBound": 1}, PARAMETERS[1]])


def wrong_condition(folder):
    return write(folder, measurements=[{**row, "simulationConditionId": "other"} for row in MEASUREMENTS])


def wrong_in_version_2(folder):
    measured = [{"observableId": "b", "experimentId": "", "time": 1.0, "measurement": 1.0}]
    parameters = [{"parameterId": "k"}, {"parameterId": "sigma"}]
    return write_version_2(
        folder, model(**DECAY), parameters=parameters, observables=OBSERVABLES, measurements=measured
    )


def delayed(folder):
    pulse = {"pulse": {"trigger": "time > 1", "assignments": {"A": "1"}, "delay": 2}}
    return unsupported(folder, {"events": pulse})


def delay_function(folder):
    return unsupported(folder, {"reactions": {"gone": ("A ->", "k * delay(A, 1)")}})


def damaged(folder):
    return write(folder, "<sbml>")


def no_table(folder):
    path = write(folder)
    (folder / "measurements.tsv").unlink()
    return path


@pytest.mark.parametrize("command", ["fit", "simulate"])
@pytest.mark.parametrize(
    ("made", "message"),
    [
        (wrong_observable, "nothing_of_the_kind"),
        (wrong_bounds, "PEtab's linter refuses it"),
        (wrong_condition, "PEtab's linter refuses it"),
        (wrong_in_version_2, "PEtab's linter refuses it"),
        (delayed, "delay"),
        (delay_function, "delay"),
        (damaged, "model.xml"),
        (no_table, "measurements.tsv"),
        (lambda folder: folder / "none.yaml", "none.yaml"),
    ],
    ids=["observable", "bounds", "condition", "version-2", "delayed", "delay", "damaged", "no-table", "no-file"],
)
def test_what_cannot_be_read_is_one_line(tmp_path, monkeypatch, command, made, message):
    monkeypatch.chdir(tmp_path)
    done = run(command, made(tmp_path).name)
    assert done.exit_code == 1, done.output
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.glob("*_simulations.tsv"))
    assert not (tmp_path / "runs").exists()


def test_what_cannot_be_solved_is_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path, model(**{**DECAY, "reactions": {"more": ("-> A", "k * A * A")}}))
    done = run("simulate", path, "--max-steps", 200)
    assert done.exit_code == 1
    assert "a at time 1 of c cannot be simulated" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
