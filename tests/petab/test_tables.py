"""Tables: parameters and priors, noise, measurements; results in tables; and what is refused in one line."""

from __future__ import annotations

import csv
import math
import sys
import warnings

import numpy as np
import pytest

pytest.importorskip("libsbml")
pytest.importorskip("petab")

import petab.v1 as petab
from petab.v1.priors import Prior as PetabPrior
from petab.v2 import Problem as Problem2

from physode.errors import ConfigError, DataError
from physode.estimation.problem import Prior
from physode.petab import is_petab, read_problem, write_parameters, write_simulations
from tests.petab.problems import model, write_version_1, write_version_2
from tests.petab.reference import chi_squared, guesses, log_likelihood, log_prior, simulations

MODEL = model(
    species={"A": {"initial": 2.0}}, parameters={"k": 0.5}, reactions={"v": ("A ->", "c * k * A")}
)  # fmt: skip
OBSERVABLE = {"observableId": "o", "observableFormula": "A", "noiseFormula": "0.5"}


def version_1(folder, **tables):
    return write_version_1(folder, tables.pop("text", MODEL), **{
        "parameters": [{"parameterId": "k"}], "observables": [OBSERVABLE], "conditions": [{"conditionId": "c0"}],
        "measurements": [{"observableId": "o", "simulationConditionId": "c0", "time": t, "measurement": 1.0 + t}
                         for t in (0.0, 1.0)],
        **tables,
    })  # fmt: skip


def version_2(folder, **tables):
    return write_version_2(folder, tables.pop("text", MODEL), **{
        "parameters": [{"parameterId": "k"}], "observables": [OBSERVABLE],
        "measurements": [{"observableId": "o", "time": t, "measurement": 1.0 + t} for t in (0.0, 1.0)],
        **tables,
    })  # fmt: skip


def test_noise_of_all_kinds_is_what_petab_computes(tmp_path):
    kinds = [(t, d) for t in ("lin", "log", "log10") for d in ("normal", "laplace")]
    observables = [
        {**OBSERVABLE, "observableId": f"o_{t}_{d}", "observableTransformation": t, "noiseDistribution": d,
         "noiseFormula": f"noiseParameter1_o_{t}_{d} + 0.1 * sd"}
        for t, d in kinds
    ]  # fmt: skip
    measurements = [
        {"observableId": f"o_{t}_{d}", "simulationConditionId": "c0", "time": time, "measurement": 1.3 + time / 3,
         "noiseParameters": 0.2 + 0.1 * place}
        for place, (t, d) in enumerate(kinds) for time in (0.5, 1.0)
    ]  # fmt: skip
    path = version_1(
        tmp_path, observables=observables, measurements=measurements,
        parameters=[{"parameterId": "k", "nominalValue": 0.4},
                    {"parameterId": "sd", "nominalValue": 1.5, "estimate": 0}],
    )  # fmt: skip
    estimation = read_problem(path)
    values, spreads = simulations(estimation, guesses(estimation))
    write_simulations(path, values, tmp_path / "simulations.tsv")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        problem = petab.Problem.from_yaml(str(path))
        tables = (problem.measurement_df, petab.get_simulation_df(str(tmp_path / "simulations.tsv")))
    others = (problem.observable_df, problem.parameter_df)
    assert log_likelihood(estimation, values, spreads) == pytest.approx(
        petab.calculate_llh(*tables, *others), rel=1e-12
    )
    assert chi_squared(estimation, values, spreads) == pytest.approx(petab.calculate_chi2(*tables, *others), rel=1e-12)


PRIORS = [
    ("uniform", "0.5;3", "lin"), ("normal", "1;2", "log10"), ("laplace", "1;2", "lin"), ("logNormal", "0.3;2", "log10"),
    ("logLaplace", "0.3;2", "lin"), ("parameterScaleUniform", "-1;1", "log10"),
    ("parameterScaleNormal", "0.2;0.7", "log10"), ("parameterScaleNormal", "0.2;0.7", "log"),
    ("parameterScaleLaplace", "0.2;0.7", "lin"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "numbers", "scale"), PRIORS)
def test_priors_of_version_1_are_those_of_petab_but_for_a_constant(tmp_path, kind, numbers, scale):
    """On the scale of the parameter petab leaves out the derivative of the value: a constant of the difference."""
    row = {
        "parameterId": "k", "parameterScale": scale, "lowerBound": 1e-3, "upperBound": 1e3, "nominalValue": 1.7,
        "objectivePriorType": kind, "objectivePriorParameters": numbers,
    }  # fmt: skip
    estimation = read_problem(version_1(tmp_path, parameters=[row]))
    reference = PetabPrior(kind, tuple(map(float, numbers.split(";"))), (1e-3, 1e3), scale, _bounds_truncate=False)

    def difference(value):
        density = -reference.neglogprior(value)
        if kind.startswith("parameterScale") and scale != "lin":
            density += math.log(value)
        return log_prior(estimation, {"k": value})["k"] - density

    assert difference(1.2) == pytest.approx(difference(2.9), abs=1e-12)


TRUNCATED = [
    ("normal", "1;2"), ("log-normal", "0.3;1"), ("cauchy", "1;2"), ("chisquare", "3"), ("exponential", "2"),
    ("gamma", "2;1.5"), ("laplace", "1;2"), ("log-laplace", "0.2;0.7"), ("log-uniform", "0.1;30"), ("rayleigh", "2"),
    ("uniform", "0.1;3"),
]  # fmt: skip


def test_priors_of_version_2_are_petab_s_cut_off_at_the_bounds(tmp_path):
    rows = [
        {"parameterId": f"p{place}", "lowerBound": 0.5, "upperBound": 4, "nominalValue": 1.5,
         "priorDistribution": kind, "priorParameters": numbers}
        for place, (kind, numbers) in enumerate(TRUNCATED)
    ]  # fmt: skip
    text = model(parameters={row["parameterId"]: 1.0 for row in rows})
    path = version_2(tmp_path, text=text, parameters=rows, observables=[{**OBSERVABLE, "observableFormula": "p0"}])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parameters = Problem2.from_yaml(path).parameters
    estimation = read_problem(path)
    expected = {one.id: math.log(float(one.prior_dist.pdf(1.5))) for one in parameters}
    densities = log_prior(estimation, guesses(estimation))
    # A uniform prior is cut off by its own ends: between the larger lower and the smaller upper one.
    assert densities == pytest.approx(expected, rel=1e-12)


def test_parameters_have_their_scales_bounds_guesses_and_priors(tmp_path):
    rows = [
        {"parameterId": "k", "parameterScale": "log10", "lowerBound": 1e-4, "upperBound": 1, "nominalValue": ""},
        {"parameterId": "sd", "estimate": 0, "nominalValue": 2.5, "lowerBound": "", "upperBound": ""},
    ]  # fmt: skip
    observables = [{**OBSERVABLE, "noiseFormula": "sd"}]
    k, sd = read_problem(version_1(tmp_path, parameters=rows, observables=observables)).unknowns
    assert (k.name, k.scale, k.low, k.high, k.free, k.prior) == ("k", "log10", 1e-4, 1.0, True, None)
    assert k.guess == pytest.approx(1e-2)
    assert (sd.guess, sd.free, sd.low, sd.high) == (2.5, False, -math.inf, math.inf)


def test_in_version_2_one_prior_gives_all_that_are_estimated_one(tmp_path):
    rows = [
        {"parameterId": "k", "priorDistribution": "gamma", "priorParameters": "3;0.5"},
        {"parameterId": "sd", "lowerBound": 0.01, "upperBound": 100},
        {"parameterId": "shift", "estimate": "false"},
    ]  # fmt: skip
    observables = [{**OBSERVABLE, "observableFormula": "A + shift", "noiseFormula": "sd"}]
    k, sd, shift = read_problem(version_2(tmp_path, parameters=rows, observables=observables)).unknowns
    assert k.prior == Prior("gamma", (3.0, 0.5), truncated=True)
    assert sd.prior == Prior("uniform", (0.01, 100.0), truncated=True)
    assert sd.scale == "log10"
    assert (k.scale, shift.scale, shift.prior) == ("linear", "linear", None)


def test_simulations_and_parameters_are_written_in_petab_s_own_tables(tmp_path):
    path = version_1(tmp_path, parameters=[{"parameterId": "k", "parameterScale": "log10", "lowerBound": 0.1}])
    write_simulations(path, np.array([2.0, 1.25]), tmp_path / "out.tsv")
    rows = list(csv.DictReader((tmp_path / "out.tsv").read_text().splitlines(), delimiter="\t"))
    assert [row["simulation"] for row in rows] == ["2.0", "1.25"]
    assert [row["time"] for row in rows] == ["0.0", "1.0"]
    assert "measurement" not in rows[0]
    write_parameters(path, {"k": 0.1 + 0.2}, tmp_path / "parameters.tsv", overwrite=True)
    again = read_problem(path)
    assert again.unknowns[0].guess == 0.1 + 0.2
    assert again.unknowns[0].scale == "log10"
    with pytest.raises(DataError, match="3 simulated values for 2 measurements"):
        write_simulations(path, [1, 2, 3], tmp_path / "other.tsv")
    with pytest.raises(DataError, match="has no parameter kk"):
        write_parameters(path, {"kk": 1.0}, tmp_path / "other.tsv")
    with pytest.raises(DataError):
        write_simulations(path, [1, 2], tmp_path / "out.tsv")


def test_a_problem_is_told_from_other_files(tmp_path):
    assert is_petab(version_1(tmp_path))
    (tmp_path / "other.yaml").write_text("a: 1")
    (tmp_path / "format_version.txt").write_text("format_version: 1\nparameter_file: x")
    assert not is_petab(tmp_path / "other.yaml")
    assert not is_petab(tmp_path / "format_version.txt")
    assert not is_petab(tmp_path / "nothing.yaml")
    assert not is_petab(tmp_path)


def test_a_missing_package_is_named_with_its_extra(tmp_path, monkeypatch):
    path = version_1(tmp_path)
    monkeypatch.setitem(sys.modules, "libsbml", None)
    with pytest.raises(ConfigError, match=r"reading SBML models needs python-libsbml; install .*'physode\[petab\]'"):
        read_problem(path)


def row_1(**others):
    return [{"observableId": "o", "simulationConditionId": "c0", "time": 1, "measurement": 1, **others}]


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"measurements": row_1(observableId="p")}, "PEtab's linter refuses it"),
        ({"measurements": row_1(simulationConditionId="c1")}, "PEtab's linter refuses it"),
        ({"measurements": row_1(measurement="")}, "PEtab's linter refuses it: Some measurement(s) are null"),
        (
            {"measurements": row_1(time="soon")},
            "the time in row 1 of the measurement table must be a number, got 'soon'",
        ),
        ({"parameters": [{"parameterId": "k"}, {"parameterId": "z"}]}, "PEtab's linter refuses it: Extraneous"),
        ({"observables": [{**OBSERVABLE, "observableFormula": "A +"}]}, "PEtab's linter refuses it: Error parsing"),
        ({"observables": [{**OBSERVABLE, "observableFormula": "A + z"}]}, "PEtab's linter refuses it"),
        ({"conditions": [{"conditionId": "c0", "k": 1}]}, "PEtab's linter refuses it"),
        (
            {"measurements": row_1(time=-1)},
            "row 1 of the measurement table is at time -1; in version 1 experiments begin at 0",
        ),
    ],
)
def test_problems_of_version_1_that_cannot_be_used_are_refused_in_one_line(tmp_path, tables, message):
    with pytest.raises(DataError) as caught:
        read_problem(version_1(tmp_path, **tables))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_condition_cannot_give_a_value_to_what_a_rule_does(tmp_path):
    text = model(
        species={"A": {"initial": 2.0}}, parameters={"k": 0.5, "r": None}, assigned={"r": "k * A"},
        reactions={"v": ("A ->", "c * r")},
    )  # fmt: skip
    with pytest.raises(DataError, match="a condition gives r a value, but it follows from others by a rule"):
        read_problem(version_1(tmp_path, text=text, conditions=[{"conditionId": "c0", "r": 1}]))


def test_what_has_no_value_is_named(tmp_path):
    text = model(
        species={"A": {"initial": 2.0}}, parameters={"k": 0.5, "r": None}, reactions={"v": ("A ->", "c * k * r * A")}
    )
    with pytest.raises(DataError, match="r has no value; give it one in the parameter table, or in every condition"):
        read_problem(version_1(tmp_path, text=text))


E2 = [{"experimentId": "e", "time": 1, "conditionId": ""}]


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"measurements": [{"observableId": "o", "experimentId": "e", "time": 0, "measurement": 1}], "experiments": E2},
         "row 1 of the measurement table is at time 0, before the experiment begins at 1"),
        ({"measurements": [{"observableId": "o", "experimentId": "f", "time": 0, "measurement": 1}]},
         "names the experiment f, which the experiment table does not have"),
        ({"parameters": [{"parameterId": "k", "priorDistribution": "normal", "priorParameters": "1"}]},
         "PEtab's linter refuses it: Prior distribution"),
        ({"parameters": [{"parameterId": "k", "lowerBound": 3, "upperBound": 2}]}, "Lower bound must be less than"),
    ],
)  # fmt: skip
def test_problems_of_version_2_that_cannot_be_used_are_refused_in_one_line(tmp_path, tables, message):
    with pytest.raises(DataError) as caught:
        read_problem(version_2(tmp_path, **tables))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("format_version: 2.0.0", "format_version: 3", "is of PEtab's version 3; physode reads 1 and 2"),
        ("format_version: 2.0.0", "version: 2", "has no format_version"),
        ("model.xml", "http://somewhere/model.xml", "is an address; physode reads files on this machine"),
        ("model.xml", "missing.xml", "missing.xml does not exist"),
        ("language: sbml", "language: pysb", "the model small is written in pysb"),
        ("model_files: {", "model_files: {other: {language: sbml, location: model.xml}, ", "lists 2 models"),
        ("measurement_files: [measurements.tsv]", "measurement_files: []", "lists no measurement_files"),
        (
            "format_version",
            "extensions: {sciml: {version: 1, required: true}}\nformat_version",
            "the PEtab extension sciml",
        ),
        ("format_version", "a: [\nformat_version", "is no YAML"),
    ],
)
def test_lists_of_files_that_cannot_be_used_are_refused_in_one_line(tmp_path, old, new, message):
    path = version_2(tmp_path)
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(DataError) as caught:
        read_problem(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
