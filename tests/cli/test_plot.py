"""``physode plot``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from physode.cli.main import cli
from physode.datasets import write_trajectories
from physode.simulators import simulate_three_body, simulate_van_der_pol


def run(*arguments: object):
    return CliRunner().invoke(cli, list(map(str, arguments)))


def _write(*, t_end: float) -> None:
    trajectories = simulate_three_body(preset="aca", t_end=t_end, points=40)
    write_trajectories("threebody.h5", trajectories, overwrite=True)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def bodies(folder):
    _write(t_end=0.2)
    assert run("fit", "--epochs", "2").exit_code == 0
    return Path("runs/threebody-physical")


def is_png(path):
    return path.read_bytes().startswith(b"\x89PNG\r\n") and path.stat().st_size > 10_000


def test_a_run_of_bodies_has_orbits_loss_and_drift(bodies):
    result = run("plot", bodies)
    assert (result.exit_code, result.stderr) == (0, "")
    paths = [Path(line) for line in result.stdout.splitlines()]
    assert [path.name for path in paths] == ["orbits.png", "loss.png", "drift.png"]
    assert all(is_png(path) and path.parent == bodies / "figures" for path in paths)


def test_a_run_of_two_components_has_a_phase_portrait_and_no_drift(folder):
    write_trajectories("vdp.h5", simulate_van_der_pol(preset="aca", n=2, t_end=6.0, points=60, noise=0.01))
    assert run("fit", "vdp.h5", "--epochs", "2").exit_code == 0
    found = json.loads(run("plot", "runs/vdp-physical", "--trajectory", "1", "--json").stdout)
    assert [Path(path).name for path in found["figures"]] == ["phase_portrait.png", "loss.png"]


def test_a_network_s_drift_is_measured_by_the_true_system(bodies):
    assert run("fit", "--rhs", "augmented", "--epochs", "1").exit_code == 0
    assert "drift.png" in run("plot", "runs/threebody-augmented").stdout


def test_figures_are_kept_unless_forced(bodies):
    assert run("plot", bodies).exit_code == 0
    again = run("plot", bodies)
    assert again.exit_code == 1
    assert "orbits.png exists already" in again.stderr
    assert run("plot", bodies, "--force").exit_code == 0


def test_data_that_have_moved_are_named_and_found_again(bodies):
    Path("threebody.h5").rename("moved.h5")
    result = run("plot", bodies)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "are gone; name the file where they are now (--data)" in result.stderr
    assert run("plot", bodies, "--data", "moved.h5").exit_code == 0


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda run: _write(t_end=0.1), "does not hold the numbers"),
        (lambda run: (run / "report.json").unlink(), "its fit has not ended"),
        (lambda run: (run / "predictions.h5").unlink(), "predictions.h5 does not exist"),
        (lambda run: (run / "predictions.h5").write_bytes(b"x"), "is not an HDF5 file"),
        (lambda run: (run / "config.toml").unlink(), "is not a run"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(bodies, spoil, message):
    spoil(bodies)
    result = run("plot", bodies)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert message in result.stderr


def test_a_trajectory_that_is_not_there_is_named(bodies):
    assert "`trajectory` must be between 0 and 0, got 3" in run("plot", bodies, "--trajectory", "3").stderr
