"""``physode fit`` of an equation of one's own: a model file, Python, or PEtab, and any table."""

from __future__ import annotations

import csv
import importlib
import json
import tomllib

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.optimize import curve_fit

from physode.cli.main import cli

MODEL = """version = 1
time_unit = "s"
equations = "x' = -k*x"

[constants]
k = { guess = 1.0, bounds = [0, 10], unit = "1/s" }

[states]
x = { unit = "m" }
"""
PYTHON = """import torch


def decay(t, x, k=1.0):
    return -k * x


class Decay(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.k = torch.nn.Parameter(torch.tensor(1.0))

    def forward(self, t, x):
        return -self.k * x
"""


def run(*arguments: object):
    return CliRunner().invoke(cli, ["fit", *map(str, arguments)])


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    t = np.linspace(0, 4, 25)
    x = 2 * np.exp(-0.7 * t) + 0.02 * np.random.default_rng(0).normal(size=25)
    rows = "".join(f"{a:.4f},{b:.5f}\n" for a, b in zip(t, x, strict=True))
    (tmp_path / "decay.csv").write_text(f"time [s],x [m]\n{rows}")
    (tmp_path / "decay.toml").write_text(MODEL)
    (tmp_path / "own.py").write_text(PYTHON)
    return tmp_path


def reference(here):
    t, x = np.genfromtxt(here / "decay.csv", delimiter=",", skip_header=1).T
    best, spread = curve_fit(lambda t, k, a: a * np.exp(-k * t), t, x, p0=(1.0, 1.0))
    return best, np.sqrt(np.diag(spread))


@pytest.mark.parametrize(
    "source", [("--model", "decay.toml"), ("--rhs", "own.py:decay"), ("--rhs", "own.py:Decay")], ids="".join
)
def test_three_ways_to_one_fit(here, source):
    done = run("decay.csv", *source, "--starts", 2, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    best, errors = reference(here)
    constants = {one["name"]: one for one in found["constants"]}
    assert [constants[name]["value"] for name in ("k", "x(0)")] == pytest.approx(best, rel=1e-5)
    assert [constants[name]["error"] for name in ("k", "x(0)")] == pytest.approx(errors, rel=1e-3)
    assert found["converged"]


@pytest.mark.slow
def test_what_a_run_keeps(here):
    done = run("decay.csv", "--model", "decay.toml", "--starts", 2, "--until", 8)
    assert done.exit_code == 0, done.output
    assert "k" in done.stdout
    assert "2 of 2" in done.stdout
    folder = here / "runs" / "decay"
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {
        "config.toml", "report.json", "constants.csv", "curves.csv", "residuals.csv", "starts.csv", "model/decay.toml",
        "figures/fit.png", "figures/residuals.png", "figures/starts.png", "figures/correlations.png",
    } <= files  # fmt: skip
    settings = tomllib.loads((folder / "config.toml").read_text())["estimate"]
    assert settings["kind"] == "model"
    assert settings["until"] == 8.0
    with (folder / "curves.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert max(float(row["time"]) for row in rows) == 8.0
    assert all(
        float(row["lowest"]) <= float(row["low"]) <= float(row["mean"]) for row in rows if row["kind"] != "state"
    )
    with (folder / "residuals.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 25
    again = run("decay.csv", "--model", "decay.toml", "--starts", 2)
    assert again.exit_code == 1
    assert "--force" in again.stderr
    assert run("decay.csv", "--model", "decay.toml", "--starts", 2, "--force").exit_code == 0


def test_options_change_what_is_fitted(here):
    done = run(
        "decay.csv", "--model", "decay.toml", "--starts", 1, "--fix", "x(0)=2", "--init", "k=0.5", "--bound", "k=0,0.6",
        "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    constants = {one["name"]: one for one in json.loads(done.stdout)["constants"]}
    assert constants["x(0)"]["value"] == 2.0
    assert constants["x(0)"]["remark"] == "fixed"
    assert constants["k"]["value"] == 0.6
    assert constants["k"]["remark"] == "at its bound"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--model", "none.toml"), 1, "none.toml"),
        (("--rhs", "own.py:other"), 1, "has no attribute 'other'"),
        (("--rhs", "nothere.py:decay"), 1, "there is no file"),
        (("--rhs", "wrong"), 2, "nor FILE.py:NAME"),
        (("--model", "decay.toml", "--rhs", "physical"), 2, "give one of them"),
        (("--model", "decay.toml", "--optimizer", "adam"), 2, "--optimizer has no part in a fit of a model file"),
        (("--model", "decay.toml", "--states", "x,v"), 2, "--states has no part in a fit of a model file"),
        (("--model", "decay.toml", "--starts", "0"), 2, "--starts"),
        (("--model", "decay.toml", "--init", "q=1"), 1, "there is no constant 'q'"),
        (("--model", "decay.toml", "--bound", "k=2,3", "--init", "k=1"), 1, "outside of its bounds"),
        (("--model", "decay.toml", "--method", "rk4"), 1, "fixed steps"),
        (("--starts", "3"), 2, "--starts needs an equation of your own"),
    ],
)
def test_what_cannot_be_is_one_line(here, arguments, code, message):
    done = run("decay.csv", *arguments)
    assert done.exit_code == code, done.output
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (here / "runs").exists()


@pytest.mark.parametrize(
    ("until", "message"),
    [("-1", "`until` must lie behind the start"), ("9", "the input 'u' of experiment 'driven' is known from 0 to 4")],
)
def test_how_far_curves_go_is_checked_before_the_search(here, monkeypatch, until, message):
    def search(*arguments, **options):
        raise AssertionError("it is searched")

    monkeypatch.setattr(importlib.import_module("physode.estimation.fit"), "estimate_posed", search)
    (here / "driven.csv").write_text("time,x,u\n0,2,0\n2,1,1\n4,1,0\n")
    (here / "driven.toml").write_text(MODEL.replace("-k*x", "-k*x + u") + "[inputs]\nu = 'u'\n")
    done = run("driven.csv", "--model", "driven.toml", "--until", until)
    assert done.exit_code == 1
    assert message in done.stderr
    assert not (here / "runs").exists()


def test_data_are_named(here):
    done = run("--model", "decay.toml")
    assert done.exit_code == 1
    assert "name the data" in done.stderr


@pytest.mark.slow
def test_a_guess_that_cannot_be_solved(here):
    (here / "own.py").write_text("def f(t, x, k=50.0):\n    return k * x**2\n")
    done = run("decay.csv", "--rhs", "own.py:f", "--starts", 1)
    assert done.exit_code == 1
    assert "at the initial guess" in done.stderr


def test_a_search_that_explains_nothing_exits_with_1_and_keeps_its_run(here):
    """A decay from 100, which is nowhere near these values; the sum of squares is 1e15 standard deviations."""
    done = run("decay.csv", "--rhs", "own.py:decay", "--fix", "x(0)=100", "--sigma", 1e-6, "--starts", 1, "--json")
    found = json.loads(done.stdout)
    assert (done.exit_code, found["status"], found["converged"]) == (1, "explains nothing", True)
    assert found["chi_square"] > 1e12
    last = done.stderr.splitlines()[-1]
    assert last.startswith("Error: no fit, explains nothing: the search came to rest where the fit leaves ")
    kept = json.loads((here / "runs" / "decay" / "report.json").read_text())
    assert kept["ended"] == found["ended"]
