"""``physode simulate galaxies``."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from physode.cli.main import cli
from physode.datasets.images import read_images
from physode.simulators.galaxies import PARAMETERS, simulate_galaxies, simulate_galaxies_with_parameters


@pytest.fixture(autouse=True)
def _working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(*arguments: object):
    return CliRunner().invoke(cli, ["simulate", "galaxies", *map(str, arguments)])


def test_file_has_its_default_name_and_holds_the_simulated_images():
    result = run("--count", 40, "--seed", 2)
    assert result.exit_code == 0, result.output
    assert [path.name for path in Path().iterdir()] == ["galaxies.h5"]
    assert read_images("galaxies.h5").digest() == simulate_galaxies(40, seed=2).digest()


def test_parameters_stand_beside_the_images_with_their_units():
    run("--count", 12, "--size", 8)
    _, parameters = simulate_galaxies_with_parameters(12, size=8)
    with h5py.File("galaxies.h5") as file:
        assert set(file["params"]) == set(PARAMETERS)
        for name, values in parameters.items():
            np.testing.assert_array_equal(file[f"params/{name}"], values)
        assert file["params/pitch"].attrs["units"] == b"deg"
        assert file["params/pitch"].attrs["description"] == b"angle between an arm and a circle"


def test_options_reach_the_simulator():
    arguments = ["--size", 16, "--noise", 0.1, "--balanced", "--test-fraction", 0.5]
    assert run("--count", 20, *arguments, "-o", "some.h5").exit_code == 0
    same = simulate_galaxies(20, size=16, noise=0.1, balanced=True, test_fraction=0.5)
    assert read_images("some.h5").digest() == same.digest()


def test_table_counts_training_and_test_galaxies_of_each_class():
    result = run("--count", 100, "--size", 8, "--test-fraction", 0.2)
    rows = [line.split() for line in result.output.splitlines() if "-" in line or "round" in line or "spiral" in line]
    images = simulate_galaxies(100, size=8, test_fraction=0.2)
    expected = ["4", "spiral", str(images.training().counts()[4]), str(images.testing().counts()[4])]
    assert expected in rows


def test_json_summary_is_complete():
    summary = json.loads(run("--count", 50, "--size", 8, "--json").output)
    assert (summary["path"], summary["galaxies"], summary["size"]) == ("galaxies.h5", 50, 8)
    assert (summary["seed"], summary["noise"]) == (0, 0.03)
    assert summary["classes"][0]["name"] == "completely round"
    assert sum(each["training"] + each["test"] for each in summary["classes"]) == 50


def test_a_sheet_of_images_is_drawn_on_request():
    assert run("--count", 20, "--size", 8, "--figure", "sheet.png").exit_code == 0
    assert Path("sheet.png").read_bytes().startswith(b"\x89PNG")


def test_existing_file_is_refused_before_the_work_and_left_alone(monkeypatch):
    Path("galaxies.h5").write_text("precious")
    monkeypatch.setattr(
        "physode.simulators.galaxies.simulate_galaxies_with_parameters", lambda *_, **__: pytest.fail("simulated")
    )
    result = run("--count", 5)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: galaxies.h5 exists already")
    assert Path("galaxies.h5").read_text() == "precious"


def test_force_replaces_an_existing_file():
    Path("galaxies.h5").write_text("old")
    assert run("--count", 10, "--size", 8, "--force").exit_code == 0
    assert len(read_images("galaxies.h5")) == 10


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--count", "0"], 2, "'--count': 0 is not in the range"),
        (["--size", "7"], 2, "'--size': 7 is not in the range"),
        (["--noise", "-1"], 2, "'--noise': -1.0 is not in the range"),
        (["--noise", "nan"], 1, "`noise` must be from 0 to 1, full scale, got nan"),
        (["--test-fraction", "1"], 2, "'--test-fraction': 1.0 is not in the range"),
        (["--out", "no/such/folder.h5"], 1, "the folder no/such does not exist"),
    ],
)
def test_bad_input_gets_one_line_and_writes_nothing(arguments, code, message):
    result = run(*arguments)
    assert result.exit_code == code
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert [path.name for path in Path().iterdir()] == []


def test_it_explains_itself_with_examples():
    result = run("--help")
    assert result.exit_code == 0
    assert "physode simulate galaxies" in result.output.partition("Examples:")[2]
