"""``physode fit``."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from physode.cli.commands import fit as module
from physode.cli.main import cli
from physode.datasets import write_trajectories
from physode.fitting.config import GRADIENTS, OPTIMIZERS, RHS, ROBUST, SCHEDULES, STARTS
from physode.rhs import NBody
from physode.simulators import simulate, simulate_three_body, simulate_van_der_pol


def run(*arguments: object):
    return CliRunner().invoke(cli, ["fit", *map(str, arguments)])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def oscillation(folder):
    write_trajectories("vdp.h5", simulate_van_der_pol(preset="aca", t_end=6.0, points=60))


@pytest.fixture
def bodies(folder):
    write_trajectories("threebody.h5", simulate_three_body(preset="aca", t_end=0.4, points=80))


def option(name: str):
    return next(each for each in module.command.params if each.name == name)


def test_the_choices_are_the_library_s():
    assert tuple(option("rhs").type.choices) == RHS
    assert tuple(option("optimizer").type.choices) == OPTIMIZERS
    assert tuple(option("gradient").type.choices) == GRADIENTS
    assert tuple(option("schedule").type.choices) == SCHEDULES
    assert tuple(option("initial_state").type.choices) == STARTS
    assert tuple(option("robust").type.choices) == ROBUST


def test_masses_are_found_from_the_default_file(bodies, folder):
    result = run()
    assert (result.exit_code, result.stderr) == (0, "")
    lines = [line.split() for line in result.stdout.splitlines()]
    rows = {line[0]: line for line in lines if line and line[0].startswith("masses")}
    assert {name: row[1] for name, row in rows.items()} == {"masses[1]": "1.1", "masses[2]": "1.1", "masses[3]": "0.9"}
    assert all(float(row[-1]) < 1e-7 for row in rows.values())
    spans = {line[0]: float(line[-1]) for line in lines if line and line[0] in ("training", "beyond", "all")}
    assert set(spans) == {"training", "beyond", "all"}
    assert max(spans.values()) < 1e-14
    assert (folder / "runs" / "threebody-physical" / "predictions.h5").exists()


@pytest.mark.slow
def test_json_is_the_report(oscillation, folder):
    result = run("vdp.h5", "--json", "--name", "mine", "--out", "somewhere/deep")
    found = json.loads(result.stdout)
    kept = json.loads((folder / "somewhere" / "deep" / "mine" / "report.json").read_text())
    assert found == {"run": "somewhere/deep/mine", **kept}
    assert [each["name"] for each in found["constants"]] == ["mu", "threshold"]


def test_options_reach_the_settings(oscillation, folder):
    result = run(
        *("vdp.h5", "--rhs", "hybrid", "--optimizer", "adam", "--gradient", "naive", "--method", "tsit5"),
        *("--rtol", "1e-4", "--atol", "1e-6", "--epochs", "1", "--lr", "0.02", "--lr-decay", "0.5", "--seed", "3"),
        *("--train-until", "2.5", "--init", "mu=0.8", "--free", "mu", "--positive", "--hidden", "8,4"),
        *("--dtype", "float32", "--loss", "state", "--trajectory", "0"),
    )
    assert result.exit_code == 0
    kept = tomllib.loads((folder / "runs" / "vdp-hybrid" / "config.toml").read_text())
    assert kept["data"] == [str(folder / "vdp.h5")]
    assert kept["fit"] == {
        "rhs": "hybrid",
        "optimizer": "adam",
        "gradient": "naive",
        "compile": False,
        "method": "tsit5",
        "rtol": 1e-4,
        "atol": 1e-6,
        "max_steps": 20_000,
        "epochs": 1,
        "lr": 0.02,
        "lr_decay": 0.5,
        "seed": 3,
        "device": "cpu",
        "dtype": "float32",
        "train_until": 2.5,
        "loss": "state",
        "init": {"mu": [0.8]},
        "free": ["mu"],
        "fix": {},
        "positive": True,
        "bounds": {},
        "priors": {},
        "initial_state": "known",
        "schedule": "full",
        "stages": 1,
        "hidden": [8, 4],
        "activation": "tanh",
        "pairs": "ordered",
        "gravity_units": False,
        "trajectories": [0],
        "sequence": 20,
        "predicts": "step",
        "given": 10,
    }


def kept(folder: Path, name: str) -> dict[str, object]:
    """The effective settings of a run."""
    found: dict[str, object] = tomllib.loads((folder / "runs" / name / "config.toml").read_text())["fit"]
    return found


QUICK = ("--method", "dopri5", "--rtol", "1e-4", "--atol", "1e-6", "--epochs", "2")


def test_options_about_constants_and_weights_reach_the_settings(oscillation, folder):
    result = run(
        *("vdp.h5", "--fix", "threshold=0.2", "--bound", "mu=0.5,2", "--prior", "mu=1,0.1", "--sigma", "0.01"),
        *("--robust", "soft_l1", "--robust-scale", "2.5", "--initial-state", "fit", "--schedule", "shooting"),
        *("--stages", "3", *QUICK),
    )
    assert (result.exit_code, result.stderr) == (0, "")
    settings = kept(folder, "vdp-physical")
    expected = {
        "fix": {"threshold": [0.2]},
        "free": ["mu"],
        "bounds": {"mu": [0.5, 2.0]},
        "priors": {"mu": [1.0, 0.1]},
        "sigma": 0.01,
        "robust": "soft_l1",
        "robust_scale": 2.5,
        "initial_state": "fit",
        "schedule": "shooting",
        "stages": 3,
    }
    assert {name: settings[name] for name in expected} == expected
    assert "y1(0)" in result.stdout
    assert "chi-square a degree of freedom" in result.stdout


def test_a_constant_fixed_without_a_value_keeps_the_data_s(oscillation, folder):
    found = json.loads(run("vdp.h5", "--fix", "threshold", *QUICK, "--json").stdout)
    assert [each["name"] for each in found["constants"]] == ["mu"]
    assert kept(folder, "vdp-physical")["fix"] == {"threshold": []}


def test_elements_are_fixed_guessed_and_bounded_by_their_number(bodies, folder):
    options = ("--fix", "masses[1]=1.1", "--init", "masses[2]=1.05", "--bound", "masses[3]=0.5,2", *QUICK, "--json")
    found = json.loads(run("threebody.h5", *options).stdout)
    assert [each["name"] for each in found["constants"]] == ["masses[2]", "masses[3]"]
    settings = kept(folder, "threebody-physical")
    assert settings["free"] == ["masses[2]", "masses[3]"]
    assert settings["init"] == {"masses": [1.1, 1.05, 1.0]}
    assert settings["bounds"] == {"masses[3]": [0.5, 2.0]}


# Data of others.

MU = 39.477  # G of AU, years and solar masses, rounded


@pytest.fixture
def orbits():
    """A star and a planet of a hundredth of its mass, once round each other: positions and velocities, (T, 12)."""
    system = NBody(masses=[1.0, 0.01], G=MU)
    speed = np.sqrt(MU * 1.01)
    start = [-0.01 / 1.01, 0, 0, 1 / 1.01, 0, 0, 0, -speed * 0.01 / 1.01, 0, 0, speed / 1.01, 0]
    return simulate(system, start, np.linspace(0.0, 1.0, 25))


def write_long(path: Path, data, *, units: bool) -> None:
    names = ("time [yr]", "body", "x [AU]", "y [AU]", "z [AU]") if units else ("time", "body", "x", "y", "z")
    rows = [
        f"{float(t)!r},{body},{','.join(repr(float(value)) for value in state[3 * k : 3 * k + 3])}"
        for t, state in zip(data.t, data.y[0], strict=True)
        for k, body in enumerate(("Star", "Planet"))
    ]
    path.write_text("\n".join([",".join(names), *rows]) + "\n")


def write_horizons(path: Path, data, body: int, name: str) -> None:
    """A vector table in the layout of JPL Horizons, as much of it as is read."""
    epochs, columns = 2451545.0 + 365.25 * data.t, [*range(3 * body, 3 * body + 3), *range(6 + 3 * body, 9 + 3 * body)]
    states = data.y[0][:, columns] / np.repeat([1.0, 365.25], 3)
    rows = [
        f"{epoch:.9f}, A.D. 2000-Jan-01 12:00:00.0000, {', '.join(f'{value:.15E}' for value in state)},"
        for epoch, state in zip(epochs, states, strict=True)
    ]
    head = [
        f"Target body name: {name}   {{source: none}}",
        "Center body name: Solar System Barycenter (0)   {source: none}",
        "Output units    : AU-D",
        "Output type     : GEOMETRIC cartesian states",
        "Reference frame : Ecliptic of J2000.0",
        "JDTDB, Calendar Date (TDB), X, Y, Z, VX, VY, VZ,",
    ]
    path.write_text("\n".join([*head, "$$SOE", *rows, "$$EOE"]) + "\n")


SOLVER = ("--method", "dopri5", "--rtol", "1e-6", "--atol", "1e-9")
ORBIT = ("--fix", "masses[1]=1", "--init", "masses[2]=0.02", "--train-until", "1", "--stages", "2", "--json", *SOLVER)


def test_a_table_of_positions_with_units_is_fitted(orbits, folder):
    write_long(folder / "orbits.csv", orbits, units=True)
    result = run("orbits.csv", *ORBIT, "--sigma", "1e-6")
    found = json.loads(result.stdout)
    (planet,) = found["constants"]
    assert (planet["name"], planet["fitted"]) == ("masses[2]", pytest.approx(0.01, rel=0.01))
    assert [each["name"] for each in found["initial_states"]][:2] == ["r1_x(0)", "r1_y(0)"]
    assert len(found["initial_states"]) == 12


def test_a_table_without_units_asks_for_the_gravitational_constant(orbits, folder):
    write_long(folder / "orbits.csv", orbits, units=False)
    asked = run("orbits.csv")
    assert (asked.exit_code, asked.stdout, asked.stderr.count("\n")) == (1, "", 1)
    assert "the data do not say in which units they are" in asked.stderr
    assert "--fix G=39.477" in asked.stderr
    assert not (folder / "runs").exists()
    found = json.loads(run("orbits.csv", "--fix", f"G={MU}", *ORBIT).stdout)
    assert found["constants"][0]["fitted"] == pytest.approx(0.01, rel=1e-4)
    assert kept(folder, "orbits-physical")["fix"] == {"G": [MU], "masses[1]": [1.0]}


@pytest.mark.slow
def test_several_tables_of_horizons_are_the_bodies_of_one_system(orbits, folder):
    for body, name in enumerate(("Star (1)", "Planet (2)")):
        write_horizons(folder / f"{body}.txt", orbits, body, name)
    found = json.loads(run("0.txt", "1.txt", *ORBIT, "--name", "pair").stdout)
    assert found["constants"][0]["fitted"] == pytest.approx(0.01, rel=0.01)
    content = tomllib.loads((folder / "runs" / "pair" / "config.toml").read_text())
    assert content["data"] == [str(folder / "0.txt"), str(folder / "1.txt")]
    again = run("--resume", "runs/pair", "--json")
    assert json.loads(again.stdout) == found


@pytest.mark.parametrize(("arguments", "threads"), [([], 1), (["--threads", "2"], 2)])
def test_small_states_are_fitted_on_one_thread_unless_asked(oscillation, monkeypatch, arguments, threads):
    told = []
    monkeypatch.setattr("torch.set_num_threads", told.append)
    found = run("vdp.h5", "--epochs", "1", *arguments)
    assert found.stderr.startswith("Error: no fit, explains nothing: all evaluations used up")
    assert told == [threads]


def test_a_run_goes_on_with_more_epochs(oscillation):
    options = ("vdp.h5", "--optimizer", "adam", "--method", "dopri5", "--rtol", "1e-5", "--json")
    assert run(*options, "--epochs", "2", "--name", "short").exit_code == 0
    whole = json.loads(run(*options, "--epochs", "4", "--name", "long").stdout)
    found = json.loads(run("--resume", "runs/short", "--epochs", "4", "--json").stdout)
    assert found == {**whole, "run": "runs/short"}


def test_without_data_it_says_what_to_run(folder):
    result = run("--rhs", "physical")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "Error: there is no threebody.h5 in this folder; make one with: physode simulate threebody; "
        "or name a file: physode fit DATA\n"
    )
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothere.h5"], "nothere.h5 does not exist"),
        (["vdp.h5", "--rhs", "augmented"], "rhs='augmented' needs bodies' positions and velocities"),
        (["vdp.h5", "--init-masses", "1,1,1"], "`init` names 'masses'; the constants of van_der_pol are mu, threshold"),
        (["vdp.h5", "--gradient", "naive"], "`gradient` 'naive' has no part in optimizer='lm'"),
        (["vdp.h5", "--train-until", "0"], "`train_until` 0 leaves fewer than two times to train on"),
        (["vdp.h5", "--trajectory", "7"], "`trajectories` must be between 0 and 0, got 7"),
        (["--resume", "runs/nothing"], "runs/nothing is not a folder; name the folder of a run"),
        (["--fix", "mass=3"], "`fix` names 'mass'; van_der_pol has mu, threshold"),
        (["--fix", "G=1"], "`fix` names 'G'; van_der_pol has mu, threshold"),
        (["--fix", "mu", "--fix", "threshold"], "`fix` leaves no constant of van_der_pol to fit"),
        (["--fix", "mu[1]=1"], "`fix` names 'mu[1]', but 'mu' is one number"),
        (["--fix", "mu[0]=1"], "'mu[0]' is not the name of a constant, or of an element such as masses[2]"),
        (["--rhs", "neural", "--fix", "mu"], "`fix` needs a right-hand side with constants"),
        (["--bound", "mu=2"], "`bounds` of 'mu' must be a lower and a larger upper number, got [2.0]"),
        (["--bound", "mu=2,1"], "`bounds` of 'mu' must be a lower and a larger upper number, got [2.0, 1.0]"),
        (["--prior", "mu=1,0.1"], "`priors` need the standard deviation of the observations: give `sigma` (--sigma)"),
        (["--prior", "mu=1,0", "--sigma", "1"], "`priors` of 'mu' must be a mean and a standard deviation above 0"),
        (["--robust", "huber"], "`robust` need the standard deviation of the observations: give `sigma` (--sigma)"),
        (["--robust-scale", "2"], "`robust_scale` has no part without `robust`"),
        (["--schedule", "full", "--stages", "3"], "`stages` has no part in schedule='full'; choose 'growing'"),
        (["--system", "pond"], "`system` must be one of: "),
    ],
)
def test_what_cannot_be_fitted_is_one_line_and_makes_no_folder(oscillation, folder, arguments, message):
    named = arguments[0].endswith(".h5") or arguments[0] == "--resume"
    result = run(*([] if named else ["vdp.h5"]), *arguments)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert message in result.stderr
    assert not (folder / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rhs", "magic"], "'magic' is not one of 'physical', 'augmented'"),
        (["--epochs", "0"], "0 is not in the range x>=1"),
        (["--lr", "-1"], "-1.0 is not in the range x>0.0"),
        (["--init", "masses"], "'masses' is not of the form NAME=A,B,..."),
        (["--init", "masses=1,x"], "'1,x' is not numbers with commas between them"),
        (["--init-masses", "1,,2"], "'1,,2' is not numbers with commas between them"),
        (["--fix", "mu=x"], "'x' is not numbers with commas between them"),
        (["--fix", "mu="], "'mu=' is not of the form NAME or NAME=A,B,..."),
        (["--bound", "mu"], "'mu' is not of the form NAME=LOW,HIGH"),
        (["--prior", "=1,2"], "'=1,2' is not of the form NAME=MEAN,SD"),
        (["--sigma", "0"], "0.0 is not in the range x>0.0"),
        (["--robust", "magic"], "'magic' is not one of 'huber', 'soft_l1', 'cauchy'"),
        (["--initial-state", "guess"], "'guess' is not one of 'known', 'fit'"),
        (["--schedule", "magic"], "'magic' is not one of 'full', 'growing', 'shooting', 'matching'"),
        (["--stages", "0"], "0 is not in the range x>=1"),
        (["--hidden", "8,0"], "'8,0' has a width below 1"),
        (["--name", "a/b"], "'a/b' is not the name of a folder"),
        (["--resume", "runs/x", "--lr", "0.1"], "--resume and --lr do not go together"),
        (["--resume", "runs/x", "vdp.h5"], "--resume and data do not go together"),
    ],
)
def test_wrong_usage_exits_with_2(folder, arguments, message):
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())


@pytest.mark.slow
def test_a_run_that_exists_is_kept_unless_forced(oscillation, folder):
    assert run("vdp.h5").exit_code == 0
    before = (folder / "runs" / "vdp-physical" / "config.toml").read_text()
    again = run("vdp.h5", "--seed", "5")
    assert again.exit_code == 1
    assert "runs/vdp-physical exists already" in again.stderr
    assert (folder / "runs" / "vdp-physical" / "config.toml").read_text() == before
    assert run("vdp.h5", "--seed", "5", "--force").exit_code == 0


@pytest.mark.slow
def test_a_run_of_another_version_is_one_line(oscillation, folder):
    run("vdp.h5")
    settings = folder / "runs" / "vdp-physical" / "config.toml"
    settings.write_text(settings.read_text().replace("run_version = 2", "run_version = 1"))
    for command in (["fit", "--resume"], ["plot"]):
        result = CliRunner().invoke(cli, [*command, "runs/vdp-physical"])
        assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
        assert "is a run of version 1" in result.stderr


@pytest.mark.parametrize("seconds", ["nan", "inf", "-1"])
def test_seconds_between_checkpoints_are_a_finite_number_before_a_folder_is_made(seconds, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli, ["fit", "vdp.h5", "--checkpoint-seconds", seconds])
    assert result.exit_code == 2
    assert "--checkpoint-seconds" in result.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"G": "x"}, "its attribute `rhs` has G = 'x', which is no number; correct it"),
        ({"G": None}, "its attribute `rhs` has G = None"),
        ({"velocity_scale": [1]}, "its attribute `rhs` has velocity_scale = [1]"),
        ({"softening": float("nan")}, "its attribute `rhs` has softening = nan"),
        ([1, 2], "its attribute `rhs` must be values by their names, it is [1, 2]"),
    ],
)
@pytest.mark.parametrize("rhs", ["physical", "augmented"])
def test_what_a_file_says_of_its_equations_is_checked_before_a_folder_is_made(folder, bodies, value, message, rhs):
    with h5py.File("threebody.h5", "r+") as file:
        file.attrs["rhs"] = json.dumps(value)
    result = run("threebody.h5", "--rhs", rhs)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: threebody.h5: {message}")
    assert result.stderr.count("\n") == 1
    assert not (folder / "runs").exists()
