"""How ``physode fit`` ends: its status, exit code and JSON; its time limit; options that have no part are refused."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from physode.cli.main import cli
from physode.datasets import write_trajectories
from physode.simulators import simulate_van_der_pol


def run(*arguments: object):
    return CliRunner().invoke(cli, list(map(str, arguments)))


def strict(text: str):
    def refuse(name: str):
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_trajectories("vdp.h5", simulate_van_der_pol(preset="aca", t_end=6.0, points=40, noise=0.01))
    return tmp_path


RUNAWAY = ("vdp.h5", "--free", "mu", "--optimizer", "adam", "--lr", 30, "--epochs", 3, "--method", "rk4", "--name", "r")


def test_a_fit_that_runs_away_exits_with_1_and_keeps_the_best(folder):
    result = run("fit", *RUNAWAY, "--json")
    found = strict(result.stdout)
    assert (result.exit_code, found["status"]) == (1, "diverged")
    assert result.stderr.startswith("Error: no fit, diverged: the loss went from ")
    lines = [strict(line) for line in (folder / "runs" / "r" / "metrics.jsonl").read_text().splitlines()]
    assert found["loss"] <= lines[0]["loss"] < lines[-1]["loss"]
    assert strict((folder / "runs" / "r" / "report.json").read_text()) == {k: v for k, v in found.items() if k != "run"}
    assert run("plot", "runs/r", "--only", "loss").exit_code == 0


def test_the_status_is_in_the_table(folder):
    result = run("fit", "vdp.h5", "--method", "rk4")
    assert result.exit_code == 0
    assert [line.split()[1] for line in result.stdout.splitlines() if line.startswith("status")] == ["converged"]


def test_a_fit_out_of_time_is_gone_on_with(folder):
    options = ("vdp.h5", "--method", "rk4", "--optimizer", "lbfgs", "--json")
    whole = strict(run("fit", *options, "--name", "whole").stdout)
    limited = run("fit", *options, "--name", "part", "--max-seconds", 1e-9)
    assert (limited.exit_code, strict(limited.stdout)["status"]) == (0, "out of time")
    gone_on = run("fit", "--resume", "runs/part", "--json")
    assert strict(gone_on.stdout) == {**whole, "run": "runs/part"}


@pytest.mark.parametrize(
    "arguments",
    [
        ("fit", "vdp.h5", "--method", "rk4", "--rtol", "1e-3"),
        ("gradcheck", "van_der_pol", "--step", "0.1", "--rtol", "1e-3"),
        ("gradcheck", "van_der_pol", "--method", "rk4", "--atol", "1e-3"),
        ("train", "bars.h5", "--step", "0.1", "--rtol", "1e-3"),
        ("train", "timeseries", "visits.csv", "--step", "0.1", "--atol", "1e-3"),
        ("train", "timeseries", "visits.csv", "--method", "midpoint", "--rtol", "1e-3"),
    ],
    ids=lambda words: " ".join(words[:2] + words[-2:]),
)
def test_tolerances_have_no_part_beside_fixed_steps(folder, arguments):
    for name in ("bars.h5", "visits.csv"):
        (folder / name).touch()
    result = run(*arguments)
    assert result.exit_code == 2
    assert "has no part beside --" in result.stderr
    assert not (folder / "runs").exists()


@pytest.mark.parametrize("words", [("--y0", "1,2,3"), ("--y0", "1"), ("--dim", "3")])
@pytest.mark.parametrize("name", ["van_der_pol", "own.py:f", "own.py:Module"])
def test_an_initial_state_of_the_wrong_length_is_no_fault_of_the_program(folder, name, words):
    (folder / "own.py").write_text(
        "import torch\n\n\ndef f(t, y):\n    a, b = y\n    return torch.stack([b, -a])\n\n\n"
        "class Module(torch.nn.Module):\n    def forward(self, t, y):\n        return torch.stack([y[1], -y[0]])\n"
    )
    result = run("gradcheck", name, *words)
    assert result.exit_code in (1, 2)
    assert "report it" not in result.stderr
    assert any(told in result.stderr for told in ("numbers", "must have the state's shape (3,), got (2,)"))
