"""``physode fit``."""

from __future__ import annotations

import json
import tomllib

import pytest
from click.testing import CliRunner

from physode.cli.commands import fit as module
from physode.cli.main import cli
from physode.datasets import write_trajectories
from physode.simulators import simulate_three_body, simulate_van_der_pol
from physode.training.config import GRADIENTS, OPTIMIZERS, RHS, FitConfig


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
    assert set(module._SETTINGS) <= set(FitConfig.__dataclass_fields__)


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
        "trajectories": [0],
        "sequence": 20,
        "given": 10,
    }


@pytest.mark.parametrize(("arguments", "threads"), [([], 1), (["--threads", "2"], 2)])
def test_small_states_are_fitted_on_one_thread_unless_asked(oscillation, monkeypatch, arguments, threads):
    told = []
    monkeypatch.setattr("torch.set_num_threads", told.append)
    assert run("vdp.h5", "--epochs", "1", *arguments).exit_code == 0
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
    ],
)
def test_what_cannot_be_fitted_is_one_line_and_makes_no_folder(oscillation, folder, arguments, message):
    result = run(*arguments)
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
        (["--hidden", "8,0"], "'8,0' has a width below 1"),
        (["--name", "a/b"], "'a/b' is not the name of a folder"),
        (["--resume", "runs/x", "--lr", "0.1"], "--resume and lr do not go together"),
        (["--resume", "runs/x", "vdp.h5"], "--resume and data do not go together"),
    ],
)
def test_wrong_usage_exits_with_2(folder, arguments, message):
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())


def test_a_run_that_exists_is_kept_unless_forced(oscillation, folder):
    assert run("vdp.h5").exit_code == 0
    before = (folder / "runs" / "vdp-physical" / "config.toml").read_text()
    again = run("vdp.h5", "--seed", "5")
    assert again.exit_code == 1
    assert "runs/vdp-physical exists already" in again.stderr
    assert (folder / "runs" / "vdp-physical" / "config.toml").read_text() == before
    assert run("vdp.h5", "--seed", "5", "--force").exit_code == 0


def test_a_run_of_another_version_is_one_line(oscillation, folder):
    run("vdp.h5")
    settings = folder / "runs" / "vdp-physical" / "config.toml"
    settings.write_text(settings.read_text().replace("run_version = 2", "run_version = 1"))
    for command in (["fit", "--resume"], ["plot"]):
        result = CliRunner().invoke(cli, [*command, "runs/vdp-physical"])
        assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
        assert "is a run of version 1" in result.stderr
