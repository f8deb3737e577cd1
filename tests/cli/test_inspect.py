"""``physode inspect``."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from physode.cli.main import cli
from physode.datasets import Trajectories, write_trajectories


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "data.h5"
    trajectories = Trajectories(
        t=np.linspace(0.0, 2.0, 5),
        y=np.ones((3, 5, 2)),
        y_clean=np.zeros((3, 5, 2)),
        params={"masses": np.ones((3, 3)), "mu": np.full(3, 0.25)},
        columns=("x", "v"),
        units=("AU", "AU/yr"),
        attrs={"system": "toy", "time_unit": "yr", "rhs": {"masses": [1, 2]}, "seed": 5},
    )
    write_trajectories(path, trajectories)
    return path


def run(*arguments: object):
    return CliRunner().invoke(cli, ["inspect", *map(str, arguments)])


def test_the_tables_tell_shapes_units_ranges_constants_and_origin(path):
    result = run(path)
    assert result.exit_code == 0
    lines = [line.split() for line in result.output.splitlines()]
    for expected in (
        ["system", "toy"],
        ["trajectories", "3"],
        ["times", "5,", "the", "same", "for", "all"],
        ["span", "0", "to", "2", "yr"],
        ["noise", "(rms)", "1"],
        ["x", "AU", "1", "1", "0"],
        ["v", "AU/yr", "1", "1", "0"],
        ["masses", "3", "1", "1"],
        ["mu", "number", "0.25", "0.25"],
        ["rhs", "masses", "1,", "2"],
        ["seed", "5"],
    ):
        assert expected in lines


def test_json_is_the_library_s_summary(path):
    from physode.datasets import summarise

    found = json.loads(run(path, "--json").output)
    assert found == summarise(path)


def test_tables_of_text_are_described_with_their_notes_and_deviations(tmp_path):
    path = tmp_path / "pelts.csv"
    path.write_text("year,hare,lynx,sigma\n1900,30,4,0.5\n1901,,6,1.5\n")
    result = run(path)
    assert result.exit_code == 0
    assert "1  column hare is missing at 1 of 2 times, first at 1901; treated as missing" in result.output
    lines = [line.split() for line in result.output.splitlines()]
    for expected in (
        ["format", "CSV"],
        ["sigma", "0.5", "to", "1.5"],
        ["hare", "30", "30", "1"],
        ["source", "pelts.csv"],
    ):
        assert expected in lines


def test_several_files_are_tables_of_Horizons(tmp_path):
    (tmp_path / "a.csv").write_text("t,x\n0,1\n1,2\n")
    result = run(tmp_path / "a.csv", tmp_path / "a.csv")
    assert result.exit_code == 1
    assert "is no table of Horizons" in result.stderr
    assert run().exit_code == 2


@pytest.mark.parametrize("content", [None, b"", b"no hdf5", b"\x89HDF\r\n\x1a\n truncated"])
def test_files_that_cannot_be_read_are_one_line(tmp_path, content):
    path = tmp_path / "data.h5"
    if content is not None:
        path.write_bytes(content)
    result = run(path)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"Error: {path} ")
    assert result.stderr.count("\n") == 1


def test_series_are_described_with_points_channels_and_notes(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("series,time [h],channel,value [V]\na,0,p,1\na,2,p,3\na,2,q,5\nb,1,q,4\n")
    result = run(path)
    assert result.exit_code == 0
    lines = [line.split() for line in result.output.splitlines()]
    for expected in (
        ["format", "CSV"],
        ["series", "2"],
        ["points", "1", "to", "2,", "median", "1.5"],
        ["times", "0", "to", "2", "h"],
        ["spans", "0", "to", "2", "h"],
        ["p", "V", "0.666667", "1", "3"],
        ["q", "V", "0.666667", "4", "5"],
        ["source", "data.csv"],
    ):
        assert expected in lines
    assert "1  series with one point only: 1 of 2, 'b' the first" in result.output


def test_series_as_json_are_the_library_s_summary(tmp_path):
    from physode.datasets.series import summarise_series

    (tmp_path / "1.txt").write_text("Time,Parameter,Value\n00:00,Age,50\n01:00,HR,70\n02:00,HR,75\n")
    assert json.loads(run(tmp_path, "--json").output) == summarise_series(tmp_path)


def test_a_folder_of_something_else_is_one_line(tmp_path):
    result = run(tmp_path)
    assert result.exit_code == 1
    assert f"{tmp_path} is a folder without records of series" in result.stderr
