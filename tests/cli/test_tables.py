"""The options of tables, and what is said of how one was read."""

from __future__ import annotations

import dataclasses
import json

import click
import numpy as np
import pytest
from click.testing import CliRunner

from physode.cli import tables
from physode.cli.main import cli
from physode.datasets import TableOptions
from physode.datasets.tables.options import DECIMALS, THOUSANDS, TIME_UNITS
from physode.fitting import open_run

T = np.linspace(0.0, 6.0, 25)


def run(*arguments: object):
    return CliRunner().invoke(cli, list(map(str, arguments)))


def written(value: float) -> str:
    return f"{value:.9f}".replace(".", ",")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = zip(T, np.cos(T), -np.sin(T), strict=True)
    lines = [f"2020-03-01 00:00:{t:05.2f};{written(x)};{written(v)}" for t, x, v in rows]
    (tmp_path / "swing.csv").write_text("time;y1;y2\n" + "\n".join(lines) + "\n", encoding="utf-16")
    return tmp_path


READ = "semicolons, UTF-16, decimal commas, time from dates (2020-03-01T00:00:00 to 2020-03-01T00:00:06, in "


def test_inspect_says_how_a_table_was_read(folder):
    result = run("inspect", "swing.csv", "--time-unit", "min")
    assert (result.exit_code, result.stderr) == (0, "")
    assert READ + "minutes)" in " ".join(result.output.split())
    assert ["span", "0", "to", "0.1", "min"] in [line.split() for line in result.output.splitlines()]
    found = json.loads(run("inspect", "swing.csv", "--json").output)
    assert found["attributes"]["understood"] == READ + "seconds)"
    assert found["attributes"]["time_origin"] == "2020-03-01T00:00:00"


@pytest.mark.slow
def test_fit_and_plot_say_it_and_read_alike(folder):
    result = run(
        "fit", "swing.csv", "--system", "harmonic_oscillator", "--epochs", "2", "--time-unit", "min", "--decimal", ","
    )
    assert result.stderr.splitlines()[0] == f"Note: read as {READ}minutes)"
    fitted = open_run("runs/swing-physical")
    assert fitted.table == TableOptions(time_unit="min", decimal=",")
    result = run("plot", fitted.path, "--only", "residuals")
    assert (result.exit_code, result.stderr) == (0, f"Note: read as {READ}minutes)\n")
    result = run("plot", fitted.path, "--only", "loss", "--time-unit", "h")
    assert "does not hold the numbers" in result.stderr
    settings = (fitted.path / "config.toml").read_text()
    for damage in ('delimiter = "ab"', "mark = 5"):
        (fitted.path / "config.toml").write_text(settings.replace("[table]", f"[table]\n{damage}"))
        result = run("plot", fitted.path)
        assert (result.exit_code, result.stderr.startswith(f"Error: {fitted.path / 'config.toml'}: ")) == (1, True)
    (fitted.path / "config.toml").write_text(settings)
    result = run("fit", "--resume", fitted.path, "--decimal", ",")
    assert "--resume and --decimal do not go together" in result.stderr
    assert run("fit", "--resume", fitted.path, "--epochs", "3").stderr.startswith(f"Note: read as {READ}minutes)")


def test_of_plain_tables_nothing_is_said(folder):
    (folder / "plain.csv").write_text("t,y1,y2\n" + "".join(f"{t},{np.cos(t)},{-np.sin(t)}\n" for t in T))
    assert "read as" not in run("fit", "plain.csv", "--system", "harmonic_oscillator", "--epochs", "2").output
    assert "read as" not in run("inspect", "plain.csv").output
    result = run("plot", "runs/plain-physical", "--only", "loss")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "[table]" not in (folder / "runs/plain-physical/config.toml").read_text()


@pytest.mark.parametrize(
    ("text", "said", "message"),
    [
        ("t;x\n0;1,234\n1;2,345\n", ["--decimal", ","], "say which: --decimal , or --thousands ,"),
        ("t;x\n0;1,234\n1;2,345\n", ["--thousands", ","], "say which: --decimal , or --thousands ,"),
        ("date;x\n03/04/2025;1\n04/05/2025;2\n", ["--dayfirst"], "say which: --dayfirst or --monthfirst"),
        ("date;x\n03/04/2025;1\n04/05/2025;2\n", ["--monthfirst"], "say which: --dayfirst or --monthfirst"),
    ],
)
def test_what_is_asked_for_can_be_said(tmp_path, text, said, message):
    path = tmp_path / "data.csv"
    path.write_text(text)
    result = run("inspect", path)
    assert (result.exit_code, result.stdout) == (1, "")
    assert message in result.stderr
    assert run("inspect", path, *said).exit_code == 0


def test_options_that_have_no_part_or_cannot_be_are_one_line(folder):
    assert "swing.csv: --sheet has no part in text; leave it out" in run("inspect", "swing.csv", "--sheet", "a").stderr
    result = run("inspect", "swing.csv", "--delimiter", "ab")
    assert (result.exit_code, "`delimiter` must be one character" in result.stderr) == (2, True)
    (folder / "set-a").mkdir()
    (folder / "set-a" / "1.txt").write_text("Time,Parameter,Value\n00:00,Age,50\n01:00,HR,70\n02:00,HR,75\n")
    result = run("inspect", "set-a", "--decimal", ",")
    assert "set-a is PhysioNet 2012, in which --decimal has no part; leave it out" in result.stderr
    from physode.datasets import write_trajectories
    from physode.simulators import simulate_van_der_pol

    write_trajectories(folder / "data.h5", simulate_van_der_pol(n=1, points=5))
    result = run("inspect", "data.h5", "--decimal", ",")
    assert "data.h5 is HDF5, in which --decimal has no part; leave it out" in result.stderr


@pytest.mark.parametrize("name", ["inspect", "fit", "plot"])
def test_the_options_of_tables_stand_in_a_section_of_their_own(name):
    options, found = run(name, "--help").output.split("\nOptions:\n")[1].split("\nTables:\n")
    flags = (
        "--delimiter",
        "--decimal",
        "--thousands",
        "--encoding",
        "--sheet",
        "--variable",
        "--dayfirst",
        "--time-unit",
        "--columns",
    )
    assert all(flag in found and flag not in options for flag in flags)


def test_the_choices_are_the_library_s():
    @tables.table_options
    def command(table: TableOptions) -> None:
        pass

    params = {param.name: param.type for param in click.command(command).params}
    assert set(params) < {each.name for each in dataclasses.fields(TableOptions)}
    for name, choices in (("decimal", DECIMALS), ("thousands", THOUSANDS), ("time_unit", TIME_UNITS)):
        assert list(params[name].choices) == list(choices)
