"""``physode sweep``."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from physode.cli.main import cli
from physode.datasets import read_trajectories, write_trajectories
from physode.simulators import simulate_lotka_volterra

GROWTH = """
def growth(t, x, rate=0.5, capacity=2.0):
    return rate * x * (1 - x / capacity)
"""


@pytest.fixture(autouse=True)
def _working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def herds():
    write_trajectories("herds.h5", simulate_lotka_volterra(n=3, vary=0.2, points=25, t_end=4.0, noise=0.02, rtol=1e-8))


def run(*arguments: object):
    return CliRunner().invoke(cli, ["sweep", *map(str, arguments)])


def rows(path: str) -> list[dict[str, str]]:
    return list(csv.DictReader(Path(path).read_text().splitlines()))


def plants() -> list[str]:
    """Two tables of logistic growth."""
    for name, rate in (("a", 0.7), ("b", 0.9)):
        y = [2.0 / (1.0 + 9.0 * 2.718281828459045 ** (-rate * t)) + 1e-3 * (-1) ** t for t in range(12)]
        Path(f"{name}.csv").write_text("t,x\n" + "".join(f"{t},{value}\n" for t, value in enumerate(y)))
    return ["a.csv", "b.csv"]


def test_every_trajectory_has_a_row_and_the_cells_are_gone_when_all_is_there(herds):
    result = run("fit", "herds.h5", "--positive", "--over", "trajectories", "--batch", 2)
    assert result.exit_code == 0, result.output
    assert "converged  3" in result.output
    found = rows("fits.csv")
    true = read_trajectories("herds.h5").params["gamma"]
    assert [row["member"] for row in found] == ["0", "1", "2"]
    for row, gamma in zip(found, true, strict=True):
        assert abs(float(row["gamma"]) - gamma) < 5 * float(row["gamma_error"])
    assert sorted(path.name for path in Path().iterdir()) == ["fits.csv", "herds.h5"]


@pytest.mark.slow
def test_files_are_members_of_an_equation_of_ones_own(tmp_path):
    Path("growth.py").write_text(GROWTH)
    over = ("--fix", "capacity", "--over", "capacity=2,3")
    result = run("fit", *plants(), "--rhs", "growth.py:growth", *over, "--out", "plants.csv", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {"table": "plants.csv", "rows": 4, "statuses": {"converged": 4}}
    found = rows("plants.csv")
    assert [(row["member"], row["capacity"]) for row in found] == [("a", "2"), ("a", "3"), ("b", "2"), ("b", "3")]
    assert float(found[0]["rate"]) == pytest.approx(0.7, abs=0.01)
    assert float(found[2]["rate"]) == pytest.approx(0.9, abs=0.01)
    assert float(found[1]["explained"]) < float(found[0]["explained"])


def test_a_table_is_not_replaced_without_being_told(herds):
    Path("fits.csv").touch()
    result = run("fit", "herds.h5")
    assert result.exit_code == 1
    assert "fits.csv exists" in result.output
    assert Path("fits.csv").read_text() == ""


@pytest.mark.slow
def test_simulations_run_over_elements_and_seeds():
    arguments = ("--over", "masses[1]=0.9:1.1:3", "--t-end", 0.02, "--points", 3, "--trajectories", "all.h5")
    result = run("simulate", "threebody", "--preset", "aca", *arguments)
    assert result.exit_code == 0, result.output
    assert [row["masses[1]"] for row in rows("simulations.csv")] == ["0.9", "1.0", "1.1"]
    assert read_trajectories("all.h5").params["masses"][:, 0].tolist() == [0.9, 1.0, 1.1]
    result = run("simulate", "lotkavolterra", "--seeds", "0:2", "--t-end", 0.1, "--points", 3, "--out", "herds.csv")
    assert result.exit_code == 0, result.output
    assert [row["seed"] for row in rows("herds.csv")] == ["0", "1"]


@pytest.mark.slow
def test_what_fails_is_kept_to_be_tried_again(monkeypatch):
    arguments = ("simulate", "vanderpol", "--over", "mu=1,2", "--t-end", 1, "--points", 3, "--batch", 1)
    from physode.sweeps import schedulers

    whole = schedulers.perform

    def failing(function, arguments, version):
        return whole("os:_missing" if "[2.0]" in arguments else function, arguments, version)

    monkeypatch.setattr(schedulers, "perform", failing)
    result = run(*arguments)
    assert result.exit_code == 3
    assert "Error: 1 of 2 rows failed with their batches" in result.output
    assert [row["status"] for row in rows("simulations.csv")] == ["done", "failed"]
    assert len(list(Path("simulations.cells/cells").iterdir())) == 2
    monkeypatch.setattr(schedulers, "perform", whole)
    assert run(*arguments).exit_code == 0
    assert [row["status"] for row in rows("simulations.csv")] == ["done", "done"]
    assert not Path("simulations.cells").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("simulate", "vanderpol"), 2, "needs something to run over"),
        (("simulate", "vanderpol", "--over", "mu"), 1, "not of the form NAME=VALUES"),
        (("simulate", "vanderpol", "--over", "mu=1", "--jobs", 2, "--scheduler", "x"), 2, "do not go together"),
        (("simulate", "nothing", "--over", "mu=1"), 1, "no system that can be simulated"),
        (("simulate", "vanderpol", "--over", "mu=1", "--out", "table.txt"), 1, "neither .csv nor .parquet"),
        (("fit", "missing.h5"), 1, "missing.h5 does not exist"),
        (("fit", "a.csv"), 2, "give --rhs SYSTEM or FILE.py:NAME"),
        (("fit", "a.csv", "--rhs", "pendulum", "--bound", "length=1"), 2, "a lower and an upper number"),
    ],
)
def test_what_cannot_be_is_one_line(arguments, code, message):
    plants()
    result = run(*arguments)
    assert result.exit_code == code, result.output
    assert message in result.output
