"""Runs of equations of one's own, gone on with after a kill, drawn anew and profiled."""

from __future__ import annotations

import csv
import importlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from physode.cli.main import cli

MODEL = """version = 1
time_unit = "s"
equations = "x' = -k*x"

[constants]
k = { guess = 1.0, bounds = [0.05, 10], unit = "1/s" }

[states]
x = { unit = "m" }
"""
PYTHON = "def decay(t, x, k=1.0):\n    return -k * x\n"
FIT = ("fit", "decay.csv", "--model", "decay.toml", "--starts", 3)

scoring = importlib.import_module("physode.estimation.scoring")
search = importlib.import_module("physode.estimation.search")
runs = importlib.import_module("physode.estimation.run")


def run(*arguments: object):
    return CliRunner().invoke(cli, list(map(str, arguments)))


def of(done):
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def refused(done, message):
    assert done.exit_code == 1, done.output
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    return done


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


def killed_in_stage(monkeypatch, number):
    """End the process, as it were, in one of the stages of a search."""
    calls = []

    def minimise(*arguments, **options):
        calls.append(None)
        if len(calls) == number:
            raise KeyboardInterrupt
        return scoring.minimise(*arguments, **options)

    monkeypatch.setattr(search, "minimise", minimise)


@pytest.mark.parametrize("number", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_a_fit_that_was_killed_goes_on_to_the_same_end(here, monkeypatch, number):
    whole = of(run(*FIT, "--json", "--name", "whole"))
    with monkeypatch.context() as patch:
        killed_in_stage(patch, number)
        assert run(*FIT).exit_code != 0
    folder = here / "runs" / "decay"
    assert not (folder / "report.json").exists()
    refused(run("plot", "runs/decay"), "go on with: physode fit --resume runs/decay")
    refused(run(*FIT), "--resume runs/decay")
    again = of(run("fit", "--resume", "runs/decay", "--json"))
    assert again["constants"] == whole["constants"]
    assert again["loss"] == whole["loss"]
    for name in ("constants.csv", "starts.csv", "curves.csv", "minima.json"):
        assert (folder / name).read_bytes() == (here / "runs" / "whole" / name).read_bytes()
    assert not (folder / "checkpoints").exists()
    refused(run("fit", "--resume", "runs/decay"), "has ended; draw it anew with: physode plot runs/decay")


def test_a_fit_that_was_killed_while_it_wrote_results_searches_no_more(here, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(runs, "_curve_rows", lambda curves: (_ for _ in ()).throw(KeyboardInterrupt()))
        assert run(*FIT).exit_code != 0
    killed_in_stage(monkeypatch, 1)
    assert of(run("fit", "--resume", "runs/decay", "--json"))["converged"]


@pytest.mark.slow
def test_a_search_that_fails_leaves_no_run(here):
    (here / "own.py").write_text("def f(t, x, k=50.0):\n    return k * x**2\n")
    done = run("fit", "decay.csv", "--rhs", "own.py:f", "--starts", 1)
    assert done.exit_code == 1
    assert not any((here / "runs").iterdir())


def test_batches_of_starts_are_gone_on_with(here):
    found = of(run(*FIT[:-1], 9, "--jobs", 1, "--json"))
    assert found["starts"] == 9
    assert found["met"] == 9
    folder = here / "runs" / "decay"
    (folder / "report.json").unlink()
    assert of(run("fit", "--resume", "runs/decay", "--jobs", 1, "--json"))["constants"] == found["constants"]
    one = of(run(*FIT, "--json", "--force"))
    assert one["starts"] == 3
    (folder / "report.json").unlink()
    refused(run("fit", "--resume", "runs/decay", "--jobs", 1), "--jobs and --scheduler have no part in it")


def test_batches_are_of_open_fits_and_in_one_place(here):
    done = run(*FIT, "--jobs", 2, "--scheduler", "tcp://127.0.0.1:1")
    assert done.exit_code == 2
    assert "do not go together" in done.stderr
    done = run("fit", "decay.csv", "--jobs", 2)
    assert done.exit_code == 2
    assert "--jobs needs an equation of your own" in done.stderr


@pytest.mark.parametrize(
    "source",
    [("--model", "decay.toml"), pytest.param(("--rhs", "own.py:decay"), marks=pytest.mark.slow)],
    ids=["model", "python"],
)
def test_figures_are_drawn_anew(here, source):
    of(run("fit", "decay.csv", *source, "--starts", 2, "--name", "one", "--json"))
    figures = here / "runs" / "one" / "figures"
    before = (figures / "fit.png").read_bytes()
    refused(run("plot", "runs/one"), "exists")
    done = run("plot", "runs/one", "--force")
    assert done.exit_code == 0, done.output
    assert len(done.stdout.splitlines()) == 4
    assert (figures / "fit.png").read_bytes() == before
    assert run("plot", "runs/one", "--only", "states").exit_code == 0
    assert (figures / "states.png").exists()
    refused(run("plot", "runs/one", "--only", "orbits"), "does not have")
    assert run("plot", "runs/one", "--trajectory", 0).exit_code == 2
    refused(run("animate", "runs/one"), "is a run of `physode fit (of an equation of your own)`")


def test_a_run_stands_by_itself(here):
    of(run(*FIT, "--json"))
    (here / "decay.toml").write_text(MODEL.replace("-k*x", "-k*x^2"))
    assert run("plot", "runs/decay", "--force").exit_code == 0
    (here / "decay.toml").unlink()
    shutil.move(here / "decay.csv", here / "moved.csv")
    refused(run("plot", "runs/decay", "--force"), "decay.csv")
    assert run("plot", "runs/decay", "--force", "--data", "moved.csv").exit_code == 0
    (here / "moved.csv").write_text((here / "moved.csv").read_text().replace("2.00", "2.01"))
    refused(run("plot", "runs/decay", "--force", "--data", "moved.csv"), "have changed since they were fitted")
    (here / "runs" / "decay" / "model" / "decay.toml").write_text(MODEL.replace("-k*x", "-2*k*x"))
    (here / "moved.csv").write_text((here / "moved.csv").read_text().replace("2.01", "2.00"))
    refused(run("plot", "runs/decay", "--force", "--data", "moved.csv"), "the model of runs/decay has changed")


def test_a_constant_is_profiled(here):
    found = of(run(*FIT, "--json"))
    k = next(one for one in found["constants"] if one["name"] == "k")
    told = of(run("profile", "runs/decay", "k", "--points", 8, "--json"))
    assert told["interval"] == pytest.approx([k["low"], k["high"]], rel=0.01)
    with Path(told["table"]).open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["k"]) for row in rows] == told["values"]
    assert set(rows[0]) == {"k", "delta", "x(0)"}
    assert (here / "runs" / "decay" / "figures" / "profile_k.png").exists()
    refused(run("profile", "runs/decay", "k"), "exists")
    refused(run("profile", "runs/decay", "q"), "'q' is none of the constants")
    assert run("profile", "runs/decay", "k", "--range", 3).exit_code == 2


def test_damaged_settings_are_one_line(here):
    of(run(*FIT, "--json"))
    settings = here / "runs" / "decay" / "config.toml"
    whole = settings.read_text()
    for line in ("starts = 'three'", "unheard = 1", "bounds = 3", "kind = 'other'"):
        name = line.partition(" ")[0]
        kept = [text for text in whole.splitlines() if not text.startswith(f"{name} =")]
        settings.write_text("\n".join(kept).replace("[estimate]", f"[estimate]\n{line}"))
        refused(run("plot", "runs/decay", "--force"), "config.toml is damaged")
    for text in ("run_version = 1\n[estimate]\n", "run_version = 1\ndata_digest = 'x'\n[estimate]\n[table]\n"):
        settings.write_text(text)
        refused(run("plot", "runs/decay", "--force"), "is damaged")
