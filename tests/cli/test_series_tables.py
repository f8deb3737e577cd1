"""Tables of series with columns of other names, from `inspect` to `predict`; and files of the wrong kind."""

from __future__ import annotations

import csv
import json

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from physode.cli.main import cli
from physode.datasets import Trajectories, write_trajectories
from physode.datasets.images import Images, write_images
from physode.datasets.series import IrregularSeries, write_series
from physode.series import open_series_run

COLUMNS = ("--columns", "series=subject,time=minutes,channel=analyte,value=conc")
GRU = ("--model", "gru", "--hidden", "4", "--epochs", "1", "--batch", "6", "--no-tensorboard")


def write_long(path, names=("subject", "minutes", "analyte", "conc"), *, seed=0, order=("p", "q")):
    rng = np.random.default_rng(seed)
    with path.open("w") as file:
        file.write(";".join([*names, "age", "note"]) + "\n")
        for subject in range(8):
            for analyte in order:
                for minute in np.sort(rng.choice(50, 5, replace=False)):
                    value = f"{np.sin(minute / 9 + subject):.3f}".replace(".", ",")
                    file.write(f"s{subject};{minute};{analyte};{value};{40 + subject};{'x' * 200}\n")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Call physode in a folder with lab.csv in it."""
    monkeypatch.chdir(tmp_path)
    write_long(tmp_path / "lab.csv")
    return lambda *arguments: CliRunner().invoke(cli, list(map(str, arguments)))


def test_inspect_asks_then_shows_and_names_the_command_to_go_on_with(run):
    result = run("inspect", "lab.csv")
    assert (result.exit_code, result.stdout) == (1, "")
    asked = f"lab.csv may hold series, whose columns have names of their own: say what they are, {' '.join(COLUMNS)}"
    assert asked in result.stderr
    result = run("inspect", "lab.csv", *COLUMNS, "--static", "age")
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.output.splitlines()]
    assert ["series", "8"] in lines
    assert ["age", "0", "40", "47", "-"] in lines
    assert result.output.splitlines()[-2:][0] == (
        f"next  physode train timeseries lab.csv {' '.join(COLUMNS)} --static age"
    )
    assert "columns left out: note; --static keeps" in " ".join(result.output.split())
    told = json.loads(run("inspect", "lab.csv", *COLUMNS, "--json").stdout)
    assert [each["name"] for each in told["channels"]] == ["p", "q"]


def test_a_run_keeps_what_the_columns_are_and_reads_other_tables_so(run, tmp_path):
    result = run("train", "timeseries", "lab.csv", *COLUMNS, "--static", "age", *GRU)
    assert result.exit_code == 0, result.output
    assert "Note: read as semicolons, decimal commas" in result.stderr
    assert "Note: columns left out: note" in result.stderr
    assert "Note: age does not change: it is no channel, but `statics`; no model takes these" in result.stderr
    kept = open_series_run("runs/lab-gru")
    assert kept.reading.columns == {
        "series": ("subject",),
        "time": ("minutes",),
        "channel": ("analyte",),
        "value": ("conc",),
    }
    assert (kept.reading.static, kept.time_unit) == (("age",), "min")
    for words in (
        ("train", "timeseries", "--resume", "runs/lab-gru", "--epochs", "2", "--no-tensorboard"),
        ("evaluate", "runs/lab-gru", "--no-figures", "--draws", "2"),
        ("plot", "runs/lab-gru", "--only", "learning"),
    ):
        result = run(*words)
        assert result.exit_code == 0, result.output
    write_long(tmp_path / "new.csv", seed=1, order=("q", "p"))
    result = run("predict", "runs/lab-gru", "new.csv", "--at", "50,60", "--json")
    assert json.loads(result.stdout)["rows"] == 8 * 2 * 2
    with (tmp_path / "predictions.csv").open() as file:
        assert [row["channel"] for row in csv.DictReader(file)][:2] == ["p", "q"]


def test_other_names_are_said_anew(run, tmp_path):
    assert run("train", "timeseries", "lab.csv", *COLUMNS, "--static", "age", *GRU).exit_code == 0
    write_long(tmp_path / "other.csv", ("id", "minutes", "what", "x"), seed=2, order=("p", "r"))
    result = run("predict", "runs/lab-gru", "other.csv", "--at", "50")
    assert "it has no column subject, as --columns series= says; the columns are id, minutes" in result.stderr
    other = ("--columns", "series=id,time=minutes", "--columns", "channel=what", "--columns", "value=x")
    result = run("predict", "runs/lab-gru", "other.csv", "--at", "50", *other)
    assert result.exit_code == 0, result.output
    assert "Note: channels left out, as the model does not know them: r" in result.stderr
    assert "Note: channels not in the data, and told from the others: q" in result.stderr
    result = run("evaluate", "runs/lab-gru", "--data", "other.csv", "--all", *other)
    assert "the series have the channels p, r, runs/lab-gru knows p, q" in result.stderr
    write_long(tmp_path / "same.csv", ("id", "minutes", "what", "x"), seed=3, order=("q", "p"))
    result = run("evaluate", "runs/lab-gru", "--data", "same.csv", "--all", *other, "--no-figures", "--draws", "2")
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("inspect", "lab.csv", "--columns", "subject"), 2, "'subject' is not ROLE=NAME, such as time=minutes"),
        (("inspect", "lab.csv", "--columns", "who=subject"), 2, "`columns` knows no 'who'"),
        (("train", "timeseries", "lab.csv", "--columns", "time=minutes"), 1, f"such as {' '.join(COLUMNS)}"),
        (("train", "timeseries", "--resume", "runs/x", *COLUMNS), 2, "--resume and --columns do not go together"),
        (("fit", "lab.csv"), 1, f"say what they are, {' '.join(COLUMNS)}"),
        (("fit", "lab.csv", *COLUMNS), 1, "--columns channel= has a part in tables of series only"),
        (("train", "timeseries", "one.csv"), 1, "--columns series=NAME says which column tells them apart"),
    ],
)
def test_what_cannot_be_is_one_line(run, tmp_path, words, code, message):
    (tmp_path / "one.csv").write_text("t,x\n0,1\n1,2\n")
    result = run(*words)
    assert result.exit_code == code, result.output
    assert message in result.stderr.strip().splitlines()[-1]


@pytest.fixture
def kinds(run, tmp_path):
    """Files of all kinds beside lab.csv; images are counted by their names, and need hold nothing."""
    t = np.arange(4.0)
    y = np.ones((3, 4, 1)) * t[:, None]
    write_series(tmp_path / "s.h5", IrregularSeries.of_arrays(t, y))
    write_trajectories(tmp_path / "t.h5", Trajectories(t=t, y=y, columns=("x",), units=("",)))
    pixels = np.zeros((4, 3, 8, 8), np.uint8)
    write_images(tmp_path / "i.h5", Images(pixels, np.array([0, 1, 0, 1]), ("a", "b"), np.zeros(4, np.bool_)))
    for name in ("galaxies/a/1.png", "galaxies/a/2.png", "galaxies/b/1.jpg", "new/1.png", "new/more/2.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"\x89PNG")
    (tmp_path / "new" / "notes.txt").write_text("seeing 0.8")
    with h5py.File(tmp_path / "o.h5", "w") as file:
        file["flux"] = np.arange(3)
    (tmp_path / "wide.csv").write_text("series,time,x\na,0,1\na,1,2\nb,0,3\nb,2,4\n")
    return run


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("galaxies", "physode train galaxies"),
        ("new/1.png", "physode predict RUN new/1.png"),
        ("i.h5", "physode train i.h5"),
        ("s.h5", "physode train timeseries s.h5"),
        ("wide.csv", "physode train timeseries wide.csv"),
        ("t.h5", "physode fit t.h5, physode train timeseries t.h5"),
    ],
)
def test_inspect_says_what_to_go_on_with(kinds, name, command):
    result = kinds("inspect", name)
    assert result.exit_code == 0, result.output
    assert ["next", *command.split()] == result.stdout.split("\n")[-3].split()


def test_images_are_counted_by_class_or_said_to_have_none(kinds):
    lines = [line.split() for line in kinds("inspect", "galaxies").output.splitlines()]
    assert ["format", "folder", "of", "images"] in lines
    assert ["0", "a", "2", "0"] in lines
    told = json.loads(kinds("inspect", "galaxies", "--json").stdout)
    assert (told["images"], [each["training"] for each in told["classes"]]) == (3, [2, 1])
    alone = kinds("inspect", "new/more").output
    assert "not known: the images lie in no folder of a class" in alone
    assert "physode predict RUN new/more" in alone
    assert "in which options of tables have no part" in kinds("inspect", "galaxies", "--decimal", ",").stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("inspect o.h5", "is HDF5, not one of trajectories, series or images of physode; it holds flux; docs/data.md"),
        ("train lab.csv", "lab.csv is a table; fit an equation to it with: physode fit lab.csv, or train a model of "
         "series with: physode train timeseries lab.csv"),
        ("train wide.csv", "wide.csv holds series; train a model of them with: physode train timeseries wide.csv"),
        ("train s.h5", "s.h5 holds series; train a model of them with: physode train timeseries s.h5"),
        ("train t.h5", "t.h5 holds trajectories; fit an equation to them with: physode fit t.h5, or"),
        ("train timeseries galaxies", "holds images; train a classifier of them with: physode train galaxies"),
        ("train timeseries i.h5", "holds images; train a classifier of them with: physode train i.h5"),
        ("fit galaxies", "holds images; train a classifier of them with: physode train galaxies"),
        ("fit s.h5", "s.h5 holds series; train a model of them with: physode train timeseries s.h5"),
    ],
)  # fmt: skip
def test_a_file_of_the_wrong_kind_leads_to_the_right_command(kinds, words, message):
    result = kinds(*words.split())
    assert result.exit_code == 1, result.output
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
