"""``physode plot``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from physode.cli.main import cli
from physode.datasets import write_trajectories
from physode.plotting import FIGURES
from physode.rhs import Pendulum
from physode.simulators import simulate, simulate_three_body, simulate_van_der_pol


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


def test_a_run_of_bodies_has_all_that_suits_bodies(bodies):
    result = run("plot", bodies)
    assert (result.exit_code, result.stderr) == (0, "")
    paths = [Path(line) for line in result.stdout.splitlines()]
    assert [path.stem for path in paths] == ["orbits", "phase_portrait", "loss", "constants", "residuals", "drift"]
    assert all(is_png(path) and path.parent == bodies / "figures" for path in paths)


def test_a_run_of_two_components_has_a_phase_portrait_and_no_drift(folder):
    write_trajectories("vdp.h5", simulate_van_der_pol(preset="aca", n=2, t_end=6.0, points=60, noise=0.01))
    run("fit", "vdp.h5", "--epochs", "2")  # too few to explain the data: exits with 1
    found = json.loads(run("plot", "runs/vdp-physical", "--trajectory", "1", "--json").stdout)
    assert [Path(path).stem for path in found["figures"]] == ["phase_portrait", "loss", "constants", "residuals"]


def test_figures_are_drawn_by_name(bodies):
    result = run("plot", bodies, "--only", "loss", "--only", "drift")
    assert [Path(line).name for line in result.stdout.splitlines()] == ["loss.png", "drift.png"]
    assert sorted(path.name for path in (bodies / "figures").iterdir()) == ["drift.png", "loss.png"]
    missing = run("plot", bodies, "--only", "residual_force")
    assert (missing.exit_code, missing.stderr.count("\n")) == (1, 1)
    assert "does not have; it has orbits, phase_portrait, loss, constants, residuals, drift" in missing.stderr
    assert run("plot", bodies, "--only", "masses").exit_code == 2


def test_the_constants_of_an_old_history_are_not_drawn(bodies):
    history = bodies / "metrics.jsonl"
    lines = [json.loads(line) for line in history.read_text().splitlines()]
    for line in lines:
        del line["constants"]
    history.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert (
        "does not have; it has orbits, phase_portrait, loss, residuals"
        in run("plot", bodies, "--only", "constants").stderr
    )


def test_a_hybrid_s_learnt_residual_is_drawn_beside_what_is_missing(folder):
    data = simulate(Pendulum(1.0, damping=0.4), [[2.0, 0.0]], np.linspace(0.0, 1.0, 21))
    write_trajectories("swing.h5", data)
    options = ("--fix", "damping=0", "--free", "length", "--hidden", "4", "--epochs", "2")
    assert run("fit", "swing.h5", "--rhs", "hybrid", *options).exit_code == 0
    result = run("plot", "runs/swing-hybrid", "--only", "residual_force")
    assert (result.exit_code, result.stderr) == (0, "")
    assert is_png(Path(result.stdout.strip()))


def test_measured_positions_with_gaps_are_drawn(folder):
    rows = ["time,body,x,y,z,sigma"]
    for k in range(30):
        angle = 0.1 * k
        rows.append(f"{0.1 * k},Sun,0,0,0,0.01")
        if k != 7:
            rows.append(f"{0.1 * k},Earth,{np.cos(angle)},{np.sin(angle)},0.001,0.01")
    Path("orbit.csv").write_text("\n".join(rows) + "\n")
    options = ("--fix", "masses[1]=1", "--fix", "G=1", "--init", "masses[2]=0.001", "--epochs", "2")
    assert run("fit", "orbit.csv", *options).exit_code == 0
    result = run("plot", "runs/orbit-physical")
    assert (result.exit_code, result.stderr) == (0, "")
    names = [Path(line).stem for line in result.stdout.splitlines()]
    assert names == ["orbits", "phase_portrait", "loss", "constants", "residuals", "drift"]


def test_the_names_of_figures_are_those_that_are_drawn():
    from physode.plotting.run import _MAKERS

    assert tuple(_MAKERS) == FIGURES


def test_a_network_s_drift_is_measured_by_the_true_system(bodies):
    assert run("fit", "--rhs", "augmented", "--epochs", "1").exit_code == 0
    assert "drift.png" in run("plot", "runs/threebody-augmented", "--only", "drift").stdout


def test_figures_are_kept_unless_forced(bodies):
    assert run("plot", bodies, "--only", "loss").exit_code == 0
    again = run("plot", bodies)
    assert again.exit_code == 1
    assert "loss.png exists already" in again.stderr
    assert run("plot", bodies, "--only", "loss", "--force").exit_code == 0


def test_data_that_have_moved_are_named_and_found_again(bodies):
    Path("threebody.h5").rename("moved.h5")
    result = run("plot", bodies)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "are gone; name the file where they are now (--data)" in result.stderr
    assert run("plot", bodies, "--data", "moved.h5", "--only", "loss").exit_code == 0


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
