"""``physode simulate``."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from physode import progress as progress_module
from physode.cli.commands.simulate_systems import PRESETS, physical_systems
from physode.cli.main import cli
from physode.cli.options import ADAPTIVE_METHODS
from physode.datasets import read_trajectories
from physode.progress import progress_bar
from physode.rhs import SYSTEMS
from physode.simulators import simulate_system

SYSTEM_COMMANDS = ("threebody", "vanderpol", "lotkavolterra")
SHORT = ("--t-end", "0.05", "--points", "6")


@pytest.fixture(autouse=True)
def _working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(*arguments: object):
    return CliRunner().invoke(cli, ["simulate", *map(str, arguments)])


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_the_systems_own(name):
    assert PRESETS[name] == tuple(SYSTEMS[name].presets)


@pytest.mark.parametrize(("kind", "file"), [(kind, f"{kind}.h5") for kind in SYSTEM_COMMANDS])
def test_file_has_its_default_name_in_the_working_folder(kind, file):
    result = run(kind, *SHORT)
    assert result.exit_code == 0, result.output
    assert [path.name for path in Path().iterdir()] == [file]
    assert read_trajectories(file).y.shape[:2] == (1, 6)


def test_preset_aca_is_written_with_its_constants():
    run("threebody", "--preset", "aca", *SHORT)
    found = read_trajectories("threebody.h5")
    assert found.params["masses"].tolist() == [[1.1, 1.1, 0.9]]
    assert found.attrs["rhs"]["velocity_scale"] == 7.239323869320315


def test_options_reach_the_simulator():
    arguments = ["--n", 3, "--noise", 0.1, "--seed", 4, "--method", "tsit5", "--rtol", 1e-7, "--atol", 1e-8]
    result = run("threebody", "--masses", 1, 2, 0.5, *arguments, *SHORT, "--out", "some.h5")
    assert result.exit_code == 0, result.output
    found = read_trajectories("some.h5")
    assert found.params["masses"].tolist() == [[1.0, 2.0, 0.5]] * 3
    assert found.y_clean is not None
    assert not np.array_equal(found.y, found.y_clean)
    expected = {"noise": 0.1, "seed": 4, "method": "tsit5", "rtol": 1e-7, "atol": 1e-8}
    assert {name: found.attrs[name] for name in expected} == expected
    assert (found.t[-1], len(found.t)) == (0.05, 6)


def test_same_command_gives_the_same_numbers():
    run("threebody", *SHORT, "--noise", 0.1, "--out", "a.h5")
    run("threebody", *SHORT, "--noise", 0.1, "--out", "b.h5")
    assert np.array_equal(read_trajectories("a.h5").y, read_trajectories("b.h5").y)


def test_van_der_pol_takes_its_constants():
    run("vanderpol", "--mu", 3, "--threshold", 0.5, *SHORT)
    assert read_trajectories("vanderpol.h5").attrs["rhs"] == {"mu": 3.0, "threshold": 0.5}


@pytest.mark.parametrize("kind", SYSTEM_COMMANDS)
def test_random_times_are_each_trajectorys_own(kind):
    result = run(kind, "--n", 3, "--times", "random", *SHORT, "--json")
    assert result.exit_code == 0, result.output
    found = read_trajectories(f"{kind}.h5")
    assert found.t.shape == (3, 6)
    summary = json.loads(result.output)
    assert summary["times"] == 6
    assert summary["span"] == [found.t.min(), found.t.max()]
    assert 0.0 < summary["span"][0] < summary["span"][1] <= 0.05


def test_lotka_volterra_takes_its_rates_and_how_much_they_vary():
    run("lotkavolterra", "--alpha", 2, "--gamma", 1.5, "--n", 4, "--vary", 0.1, *SHORT)
    params = read_trajectories("lotkavolterra.h5").params
    for name, rate in {"alpha": 2.0, "beta": 1.0, "delta": 1.0, "gamma": 1.5}.items():
        assert (np.abs(params[name] / rate - 1.0) < 0.1).all()
        assert len(np.unique(params[name])) == 4


def test_periodic_series_are_written_with_what_they_were_made_from():
    result = run("periodic", "--n", 5, "--points", 7, "--frequency", 0.5, 0.5, "--amplitude", 2, 3, "--noise", 0)
    assert result.exit_code == 0, result.output
    assert "close encounters" not in result.output
    found = read_trajectories("periodic.h5")
    a, f, phase = (found.params[name][:, None] for name in ("amplitude", "frequency", "phase"))
    assert (f == 0.5).all()
    assert ((a >= 2) & (a <= 3)).all()
    np.testing.assert_allclose(found.y[..., 0], a * np.sin(2 * np.pi * f * found.t + phase), atol=1e-14)


def test_hopper_sequences_are_written_with_joints_and_units():
    result = run("hopper", "--n", 3, "--points", 10, "--steps", 20, "--seed", 2, "--noise", 0.1)
    assert result.exit_code == 0, result.output
    found = read_trajectories("hopper.h5")
    assert found.y.shape == (3, 10, 14)
    assert found.columns[:3] == ("rootx", "rootz", "rooty")
    assert found.attrs["time_unit"] == "s"
    assert (found.attrs["steps"], found.attrs["seed"], found.attrs["noise"]) == (20, 2, 0.1)
    assert found.y_clean is not None


def test_summary_counts_and_lists_close_encounters():
    result = run("threebody", "--preset", "pythagorean", "--t-end", 2, "--points", 5)
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.output.splitlines()]
    assert ["close", "encounters", "1"] in lines
    assert ["0", "2,", "3"] in [line[:3] for line in lines]


def test_json_summary_is_complete():
    summary = json.loads(run("threebody", "--preset", "pythagorean", "--t-end", 2, "--points", 5, "--json").output)
    (encounter,) = summary["close_encounters"]
    assert encounter["bodies"] == [2, 3]
    assert summary["min_distance"] == encounter["distance"]
    assert (summary["path"], summary["trajectories"], summary["span"]) == ("threebody.h5", 1, [0.0, 2.0])
    assert summary["failures"] == []
    assert summary["max_energy_drift"] < 1e-6


def test_existing_file_is_refused_before_the_work_and_left_alone(monkeypatch):
    Path("threebody.h5").write_text("precious")
    monkeypatch.setattr("physode.simulators.simulate_three_body", lambda **_: pytest.fail("simulated"))
    result = run("threebody")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: threebody.h5 exists already")
    assert "--force" in result.stderr
    assert Path("threebody.h5").read_text() == "precious"


def test_force_replaces_an_existing_file():
    Path("threebody.h5").write_text("old")
    assert run("threebody", *SHORT, "--force").exit_code == 0
    assert len(read_trajectories("threebody.h5")) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["threebody", "--masses", "1", "-1", "2"], 1, "`masses` must not be negative, got [1.0, -1.0, 2.0]"),
        (["threebody", "--masses", "1", "nan", "2"], 1, "`masses` must be finite"),
        (["threebody", "--masses", "1", "2"], 2, "'--masses' requires 3 arguments"),
        (["threebody", "--masses", "1", "0", "0"], 1, "`masses` must have two above 0"),
        (["threebody", "--n", "0"], 2, "'--n': 0 is not in the range"),
        (["threebody", "--t-end", "0"], 2, "'--t-end': 0.0 is not in the range"),
        (["threebody", "--t-end", "inf"], 2, "'--t-end': inf is not a finite number"),
        (["threebody", "--points", "1"], 2, "'--points': 1 is not in the range"),
        (["threebody", "--noise", "-1"], 2, "'--noise': -1.0 is not in the range"),
        (["threebody", "--noise", "nan"], 1, "`noise` must be finite"),
        (["threebody", "--rtol", "0"], 2, "'--rtol'"),
        (["threebody", "--method", "rk5"], 2, "'rk5' is not one of 'heun_euler'"),
        (["threebody", "--preset", "acca"], 2, "'acca' is not one of 'aca', 'figure-eight', 'pythagorean'"),
        (["threebody", "--times", "sorted"], 2, "'sorted' is not one of 'grid', 'random'"),
        (["lotkavolterra", "--vary", "1"], 2, "'--vary': 1.0 is not in the range"),
        (["lotkavolterra", "--alpha", "0"], 2, "'--alpha': 0.0 is not in the range"),
        (
            ["periodic", "--frequency", "2", "1"],
            1,
            "`frequency` must be two finite bounds above 0, the lower one first",
        ),
        (["periodic", "--method", "rk4"], 2, "No such option"),
        (["hopper", "--points", "300"], 1, "`points` must be at least 2 and at most `steps` = 200, got 300"),
        (["vanderpol", "--mu", "nan"], 1, "`mu` must be finite"),
        (["threebody", "--out", "no/such/folder.h5"], 1, "the folder no/such does not exist"),
        (["threebody", "--max-steps", "5"], 1, "no trajectory reached the end time"),
        (["fourbody"], 2, "No such command 'fourbody'"),
        (["n_body"], 2, "Missing option '--masses'"),
        (["n_body", "--masses", "1,-1"], 1, "`masses` must not be negative"),
        (["pendulum", "--length", "0"], 1, "`length` must not be 0"),
        (["pendulum", "--y0", "1,2,3"], 1, "`y0` must have shape (2,)"),
        (["pendulum", "--range", "height", "0", "1"], 1, "`ranges` names 'height'; pendulum has the columns angle"),
        (["pendulum", "--range", "angle", "1", "0"], 1, "`ranges` of 'angle' must be two finite bounds"),
        (["hires", "--vary", "0.1"], 2, "No such option"),
    ],
)
def test_bad_input_gets_one_line_and_writes_nothing(arguments, code, message):
    result = run(*arguments)
    assert result.exit_code == code
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert [path.name for path in Path().iterdir()] == []


DERIVED = [name for name in physical_systems() if name not in ("three_body", "van_der_pol", "lotka_volterra")]


def test_systems_are_listed_without_torch_as_the_registry_knows_them():
    assert physical_systems() == {
        name: system.__doc__.partition("\n")[0]
        .translate({ord(mark): None for mark in "`\\"})
        .replace(":math:", "")
        .replace(":class:", "")
        for name, system in SYSTEMS.items()
        if system.__module__.startswith("physode.rhs.physical.")
    }
    code = "import sys; from physode.cli.main import cli; cli(['simulate', '--help'], standalone_mode=False)"
    listed = subprocess.run(
        [sys.executable, "-c", f"{code}; assert 'torch' not in sys.modules"], capture_output=True, text=True, check=True
    )
    assert all(f"  {name} " in listed.stdout for name in DERIVED)


@pytest.mark.parametrize("name", DERIVED)
def test_every_system_has_a_command_made_from_its_declarations(name):
    system = SYSTEMS[name]
    text = run(name, "--help").output
    assert f"Examples:\n    physode simulate {name}" in text
    for constant in system.declared.values():
        assert f"--{constant.name.replace('_', '-')} " in text
    masses = ["--masses", "1,2,0.5,1"] if name == "n_body" else []
    t_end = system.span.t_end * 1e-3
    result = run(name, *masses, "--n", 2, "--t-end", t_end, "--points", 4, "--noise", 1e-6, "--seed", 3)
    assert result.exit_code == 0, result.output
    found = read_trajectories(f"{name}.h5")
    assert found.y.shape[:2] == (2, 4)
    assert (found.attrs["system"], found.attrs["noise"], found.attrs["seed"]) == (name, 1e-6, 3)
    assert (found.attrs["method"], found.attrs["rtol"]) == (("rodas5p", 1e-6) if system.stiff else ("dopri8", 1e-10))
    library = simulate_system(
        name, constants={"masses": (1, 2, 0.5, 1)} if masses else {}, n=2, t_end=t_end, points=4, noise=1e-6, seed=3
    )
    assert np.array_equal(found.y, library.y)


def test_constants_states_and_ranges_reach_a_derived_system():
    arguments = ["--length", 2, "--damping", 0.1, "--y0", "-1,0.5", "--range", "angle", 1, 2, "--n", 3, "--vary", 0.1]
    result = run("pendulum", *arguments, *SHORT)
    assert result.exit_code == 0, result.output
    found = read_trajectories("pendulum.h5")
    assert ((found.y[:, 0, 0] >= 1) & (found.y[:, 0, 0] <= 2)).all()
    assert len(np.unique(found.y[:, 0, 0])) == 3
    assert (found.y[:, 0, 1] == 0.5).all()
    for name, value in {"length": 2.0, "gravity": 9.81, "damping": 0.1}.items():
        assert (np.abs(found.params[name] / value - 1.0) < 0.1).all()
        assert len(np.unique(found.params[name])) == 3


def test_a_systems_own_name_finds_its_older_command():
    assert run("van_der_pol", "--mu", 3, *SHORT).exit_code == 0
    assert read_trajectories("vanderpol.h5").attrs["rhs"]["mu"] == 3.0


def test_a_derived_file_can_be_inspected():
    assert run("robertson", "--t-end", 40, "--points", 20).exit_code == 0
    assert CliRunner().invoke(cli, ["inspect", "robertson.h5"]).exit_code == 0


@pytest.mark.slow
def test_a_derived_file_can_be_fitted():
    assert run("harmonic-oscillator", "--omega", 2, "--t-end", 5, "--points", 40).exit_code == 0
    fitted = CliRunner().invoke(cli, ["fit", "harmonic_oscillator.h5", "--rhs", "physical", "--json"])
    assert fitted.exit_code == 0, fitted.output


@pytest.mark.slow
def test_failed_trajectories_are_listed_and_the_others_written():
    arguments = ["threebody", "--n", 4, "--seed", 0, "--t-end", 2, "--points", 5, "--max-steps", 500]
    summary = json.loads(run(*arguments, "--json").output)
    failed = [failure["trajectory"] for failure in summary["failures"]]
    assert 0 < len(failed) < 4
    assert {failure["reason"] for failure in summary["failures"]} == {"MAX_STEPS"}
    table = run(*arguments, "--force").output
    assert "ended early" in table
    assert "MAX_STEPS" in table
    y = read_trajectories("threebody.h5").y
    assert np.isnan(y[failed, -1]).all()
    assert np.isfinite(np.delete(y, failed, axis=0)).all()


def test_all_adaptive_methods_are_offered():
    output = run("threebody", "--help").output
    assert all(method in output for method in ADAPTIVE_METHODS)


@pytest.mark.parametrize("kind", [*SYSTEM_COMMANDS, "periodic", "hopper"])
def test_every_simulation_explains_itself_with_examples(kind):
    result = run(kind, "--help")
    assert result.exit_code == 0
    assert f"physode simulate {kind}" in result.output.partition("Examples:")[2]
    assert kind in run("--help").output


@pytest.mark.slow
def test_simulation_killed_at_the_last_moment_leaves_no_file_under_its_name(tmp_path):
    script = """
import os, pathlib, signal
pathlib.Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
from physode.cli.main import cli
cli(["simulate", "threebody", "--t-end", "0.01", "--points", "3"])
"""
    process = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True)
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "threebody.h5").exists()


def test_no_bar_where_stderr_is_no_terminal(capsys):
    with progress_bar("working") as progress:
        assert progress is None
    assert capsys.readouterr().err == ""


def test_bar_moves_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(progress_module.sys.stderr, "isatty", lambda: True)
    with progress_bar("working") as progress:
        assert progress is not None
        progress(0.5)
        progress(1.0)
    captured = capsys.readouterr()
    assert "working" in captured.err
    assert captured.out == ""
