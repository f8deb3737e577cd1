"""``physode model``: files made, checked and shown."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from physode.cli.main import cli
from physode.equations.model_file import read_model

DOCS = Path(__file__).parents[2] / "docs" / "model_files.md"
EXAMPLES = re.findall(r"```toml\n(version = 1.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
DATA = {  # for each example of the docs, a table that it fits to
    "swing": ("time [s],x [m]\n0,1\n1,0.5\n2,0\n3,0.2\n", 4),
    "dose": (
        "time [h],subject,dose [mg],concentration\n0.5,1,320,3\n2,1,320,6\n9,1,320,5\n0.5,2,300,2\n2,2,300,5\n",
        5,
    ),
    "epidemic": ("day [d],infected\n0,10\n10,200\n30,800\n", 3),
    "kinetics": ("time [min],experiment,absorption\n0,cold,0\n5,cold,1\n9,cold,2\n0,warm,0\n4,warm,1\n9,warm,2\n", 6),
}


def run(*arguments: object):
    return CliRunner().invoke(cli, ["model", *map(str, arguments)])


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "swing.csv"
    path.write_text("time [s],x [cm],body temp (°C),2nd,sin,x_sigma,free text [?!]\n0,1,2,3,4,0.1,5\n1,2,3,4,5,0.1,6\n")
    return path


@pytest.mark.parametrize(("kind", "text"), list(zip(DATA, EXAMPLES, strict=True)))
def test_the_examples_of_the_docs_fit_their_data(tmp_path, kind, text):
    content, unknowns = DATA[kind]
    (tmp_path / "model.toml").write_text(text)
    (tmp_path / "data.csv").write_text(content)
    result = run("check", tmp_path / "model.toml", tmp_path / "data.csv", "--json")
    assert result.exit_code == 0, result.stderr
    assert len(json.loads(result.output)["unknowns"]) == unknowns
    assert run("show", tmp_path / "model.toml").exit_code == 0


def test_a_new_model_fits_its_data_as_it_stands(table):
    result = run("new", table)
    assert result.exit_code == 0
    model = table.with_suffix(".toml")
    assert f"wrote {model}" in result.output
    declarations = read_model(model).declarations
    assert [state.name for state in declarations.states] == ["x", "body_temp", "x_2nd", "x_sin", "free_text"]
    assert [state.unit for state in declarations.states] == ["cm", "°C", None, None, None]
    assert declarations.time_unit == "s"
    result = run("check", model, table)
    assert result.exit_code == 0
    assert f"{model} fits together with its data." in result.output


FLASKS = """flask,time [h],OD,sugar [g/L],remark
A,0,0.02,1,
A,1,0.03,1,shaken
B,0,0.02,3,
B,1,0.05,3,
"""


@pytest.mark.parametrize("label", ["A", "1"])
def test_a_new_model_sees_what_labels_experiments_and_what_is_known_of_each(tmp_path, label):
    (tmp_path / "flasks.csv").write_text(FLASKS.replace("A", label).replace("B", "2" if label == "1" else "B"))
    result = run("new", tmp_path / "flasks.csv")
    assert result.exit_code == 0, result.stderr
    model = tmp_path / "flasks.toml"
    text = model.read_text()
    assert '# sugar = { column = "sugar", unit = "g/L" }\n' in text
    assert "column remark: 'shaken' is not a number" in text
    assert 'unit = "1/h"' in text
    declarations = read_model(model).declarations
    assert (declarations.experiment_column, declarations.time_unit) == ("flask", "h")
    assert [state.name for state in declarations.states] == ["OD"]
    checked = run("check", model, tmp_path / "flasks.csv", "--json")
    assert [each["values"] for each in json.loads(checked.output)["experiments"]] == [2, 2]


def test_columns_and_dialects_of_new_models_can_be_said(tmp_path):
    path = tmp_path / "kaffee.csv"
    path.write_text("Uhrzeit [hh:mm];Tasse;Temperatur\n09:02;a;1,234\n09:04;a;1,111\n", encoding="utf-8")
    refused = run("new", path, "--decimal", ",")
    assert "names no column of times; call one of them time, or say which it is, as time_column" in refused.stderr
    assert "--decimal" in run("new", path, "--time-column", "Uhrzeit").stderr
    options = ("--decimal", ",")
    result = run(
        "new", path, "--time-column", "Uhrzeit", "--experiment-column", "Tasse", "--time-unit", "min", *options
    )
    assert result.exit_code == 0, result.stderr
    assert "in minutes" in result.stderr
    declarations = read_model(tmp_path / "kaffee.toml").declarations
    assert (declarations.time_column, declarations.experiment_column) == ("Uhrzeit", "Tasse")
    assert declarations.time_unit == "min"
    assert run("check", tmp_path / "kaffee.toml", path).exit_code == 1
    checked = json.loads(run("check", tmp_path / "kaffee.toml", path, *options, "--json").stdout)
    assert (checked["experiments"][0]["from"], checked["experiments"][0]["to"]) == (542.0, 544.0)
    assert checked["experiments"][0]["its own"] == "Temperatur(0)"


def test_a_table_of_times_alone_makes_no_model(tmp_path):
    (tmp_path / "times.csv").write_text("time,remark\n0,a\n1,b\n")
    assert "has no column of values beside its times" in run("new", tmp_path / "times.csv").stderr


def test_a_new_model_does_not_replace_one(table, tmp_path):
    path = tmp_path / "other.toml"
    path.write_text("mine")
    assert run("new", table, "--output", path).exit_code == 1
    assert path.read_text() == "mine"
    assert run("new", table, "--output", path, "--force").exit_code == 0
    assert path.read_text().startswith("version = 1")


def test_a_new_model_of_a_long_table_has_its_observables(tmp_path):
    table = tmp_path / "long.csv"
    table.write_text("experiment,observable,time,value [mM],sigma\nA,glucose,0,1,0.1\nA,ATP,0,2,0.1\nB,ATP,1,2,0.1\n")
    assert run("new", table).exit_code == 0
    text = table.with_suffix(".toml").read_text()
    assert "glucose' = 0\nATP' = 0\n" in text.replace("ATP' = 0\nglucose' = 0\n", "glucose' = 0\nATP' = 0\n")
    assert "# [experiments.A]" in text
    assert run("check", table.with_suffix(".toml")).exit_code == 0


def test_check_shows_what_is_declared_and_what_is_estimated(tmp_path):
    (tmp_path / "model.toml").write_text(EXAMPLES[3])
    (tmp_path / "data.csv").write_text(DATA["kinetics"][0])
    lines = [line.split() for line in run("check", tmp_path / "model.toml").output.splitlines()]
    assert ["offset", "0", "free,", "one", "an", "experiment", "-", "-"] in lines
    lines = [line.split() for line in run("check", tmp_path / "model.toml", tmp_path / "data.csv").output.splitlines()]
    assert ["k1", "0.5", "yes", "log", "0.001", "to", "10", "-"] in lines
    assert ["offset[warm]", "0", "yes", "linear", "-", "-"] in lines
    assert ["cold", "0", "9", "3", "0", "offset", "=", "offset[cold]"] in lines


def test_show_prints_equations_in_the_letters_of_mathematics(tmp_path):
    path = tmp_path / "model.toml"
    path.write_text(
        'version = 1\nequations = """\nx\'\' = -omega^2*x - 2*c*sqrt(x)\n"""\n[constants]\nomega = 2.0\nc = 1.0\n'
        "[states]\nx = 'omega'\n[observables]\ny = 'x <= 1 and x^0.5 != 2'\n"
    )
    lines = run("show", path).output.splitlines()
    assert lines[:4] == ["model", "  d²x/dt² = -ω²·x − 2·c·√(x)", "  x(0) = ω", "  y ~ x ≤ 1 and x^0.5 ≠ 2"]  # noqa: RUF001
    shown = json.loads(run("show", path, "--json").output)
    assert shown["constants"][0] == {
        "name": "omega", "unit": "", "value": 2.0, "": "free", "bounds": None, "prior": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "{model}"], "names q, which nothing declares"),
        (["show", "{model}"], "names q, which nothing declares"),
        (["check", "nothing.toml"], "nothing.toml does not exist"),
        (["new", "nothing.csv"], "nothing.csv does not exist"),
    ],
)
def test_what_does_not_fit_is_one_line(tmp_path, arguments, message):
    model = tmp_path / "model.toml"
    model.write_text('version = 1\nequations = "x\' = q"')
    result = run(*(each.format(model=model) for each in arguments))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: ")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
