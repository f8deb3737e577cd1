"""``physode profile``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from physode.cli.main import cli
from physode.datasets import read_trajectories, write_trajectories
from physode.fitting import open_run
from physode.fitting.profile_likelihood import profile
from physode.rhs import LotkaVolterra
from physode.simulators import simulate, simulate_three_body

GRID = ("--method", "rk4", "--train-until", "10")


def run(*arguments: object):
    return CliRunner().invoke(cli, list(map(str, arguments)))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def decay(folder):
    """A run that has fitted the second of two decays."""
    system = LotkaVolterra(-1.0, beta=0.0, delta=0.0, gamma=0.0)
    data = simulate(system, [[2.0, 0.0], [1.0, 0.0]], np.linspace(0.0, 4.0, 9), noise=0.1)
    write_trajectories("decay.h5", data)
    options = ("--free", "alpha", "--sigma", 0.1, "--trajectory", 1, *GRID)
    assert run("fit", "decay.h5", *options).exit_code == 0
    return Path("runs/decay-physical")


def test_it_is_that_of_the_library_and_drawn(decay):
    result = run("profile", decay, "alpha", "--points", 7, "--range", 3, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    found = json.loads(result.stdout)
    figure = Path(found.pop("figure"))
    assert figure == decay / "figures" / "profile_alpha.png"
    assert figure.read_bytes().startswith(b"\x89PNG\r\n")
    expected = profile(read_trajectories("decay.h5"), open_run(decay).config, "alpha", points=7, width=3.0)
    assert found["interval"] == pytest.approx(expected.interval, rel=1e-4)
    assert found["delta"] == pytest.approx(expected.delta, rel=1e-4, abs=1e-6)
    assert (found["run"], found["name"], found["statistic"]) == (str(decay), "alpha", "chi-square")
    assert found["parabola_holds"] is expected.parabola_holds
    report = json.loads((decay / "report.json").read_text())
    assert found["parabola_interval"] == pytest.approx(report["constants"][0]["interval"], rel=1e-6)


def test_it_is_shown_with_both_intervals(decay):
    result = run("profile", decay, "alpha", "--points", 5)
    assert (result.exit_code, result.stderr) == (0, "")
    rows = [line.split() for line in result.stdout.splitlines()]
    assert ["alpha", "loss", "Delta"] in rows
    (ours,) = (row for row in rows if row[:2] == ["profile", "likelihood"] and len(row) == 4)
    (theirs,) = (row for row in rows if row[:2] == ["standard", "error"] and len(row) == 4)
    assert float(ours[2]) < float(theirs[2]) < -0.9 < float(ours[3])
    assert "the standard error tells the same  no" in result.stdout
    assert "3.84146, of chi-square" in result.stdout


@pytest.mark.slow
def test_an_element_is_named_and_the_others_follow_it(folder):
    write_trajectories("bodies.h5", simulate_three_body(preset="aca", t_end=0.2, points=12))
    assert run("fit", "bodies.h5", "--sigma", 0.001, *GRID).exit_code == 0
    result = run("profile", "runs/bodies-physical", "masses[2]", "--points", 5, "--range", 2, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    found = json.loads(result.stdout)
    assert list(found["others"]) == ["masses[1]", "masses[3]"]
    assert found["interval"][0] < 1.1 < found["interval"][1]
    assert Path("runs/bodies-physical/figures/profile_masses_2.png").exists()


def test_a_figure_is_kept_unless_forced(decay):
    assert run("profile", decay, "alpha", "--points", 5).exit_code == 0
    again = run("profile", decay, "alpha", "--points", 5)
    assert (again.exit_code, again.stdout, again.stderr.count("\n")) == (1, "", 1)
    assert "profile_alpha.png exists already; overwrite it (--force)" in again.stderr
    assert run("profile", decay, "alpha", "--points", 5, "--force").exit_code == 0


def test_data_that_have_moved_are_named(decay):
    Path("decay.h5").rename("moved.h5")
    result = run("profile", decay, "alpha")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "are gone; name the file where they are now (--data)" in result.stderr
    assert run("profile", decay, "alpha", "--points", 5, "--data", "moved.h5").exit_code == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--robust", "huber", "--sigma", "0.2"), "a profile needs sums of squares, got robust='huber'"),
        (("--rhs", "hybrid", "--hidden", "2"), "a profile needs a fit with rhs='physical', got rhs='hybrid'"),
        (("--rhs", "neural", "--hidden", "2"), "a profile needs a fit with rhs='physical', got rhs='neural'"),
    ],
)
def test_runs_without_one_are_refused_in_a_line(decay, options, message):
    run(
        "fit", "decay.h5", "--name", "other", "--epochs", 2, *GRID, *options
    )  # too few to explain the data: exits with 1
    result = run("profile", "runs/other", "alpha")
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert message in result.stderr
    assert not Path("runs/other/figures").exists()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda run: (run / "report.json").unlink(), "its fit has not ended"),
        (lambda run: (run / "checkpoints" / "best.pt").unlink(), "best.pt does not exist"),
        (lambda run: (run / "config.toml").unlink(), "is not a run"),
    ],
)
def test_a_damaged_run_is_one_line(decay, spoil, message):
    spoil(decay)
    result = run("profile", decay, "alpha")
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert message in result.stderr


def test_wrong_names_and_numbers_are_told(decay):
    assert "must be a fitted constant or element: alpha; got 'gamma'" in run("profile", decay, "gamma").stderr
    assert run("profile", decay, "alpha", "--points", 3).exit_code == 2
    assert run("profile", decay, "alpha", "--range", 0).exit_code == 2
