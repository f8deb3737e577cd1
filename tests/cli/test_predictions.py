"""``physode predict`` of fits and models of series: at times and from states that nobody has observed."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.integrate import solve_ivp

from physode.cli.main import cli

MODEL = """version = 1
equations = "x' = -k*x"

[constants]
k = { guess = 1.0, bounds = [0.05, 10] }

[states]
x = { start = 2.0 }
"""


def run(*words):
    return CliRunner().invoke(cli, list(map(str, words)))


def rows_of(path="predictions.csv"):
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_fit_is_solved_at_other_times_and_from_another_state():
    assert run("simulate", "vanderpol", "--points", 60, "--t-end", 3, "--out", "v.h5").exit_code == 0
    assert run("fit", "v.h5", "--epochs", 5, "--name", "v").exit_code == 0
    result = run("predict", "runs/v", "--at", "0:6:4", "--start", "y1=1", "--start", "y2=0", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["rows"] == 4
    rows = rows_of()
    assert [float(row["t"]) for row in rows] == [0.0, 2.0, 4.0, 6.0]
    assert (float(rows[0]["y1"]), float(rows[0]["y2"])) == (1.0, 0.0)

    constants = json.loads(Path("runs/v/report.json").read_text())["constants"]
    mu, threshold = ({each["name"]: each["fitted"] for each in constants}[name] for name in ("mu", "threshold"))

    def van_der_pol(t, y):
        return [y[1], mu * (threshold - y[0] ** 2) * y[1] - y[0]]

    right = solve_ivp(van_der_pol, (0, 6), [1, 0], rtol=1e-10, atol=1e-12).y[:, -1]
    np.testing.assert_allclose([float(rows[-1]["y1"]), float(rows[-1]["y2"])], right, rtol=1e-4)
    for words, message in {
        ("--at", "-1,2"): "before the initial state",
        ("--at", "2,1"): "do not rise",
        ("--start", "q=1"): "knows no 'q'",
        ("--start", "y1"): "NAME=NUMBER",
        ("--raw",): "has no part",
    }.items():
        refused = run("predict", "runs/v", "--force", *words)
        assert refused.exit_code in (1, 2)
        assert message in refused.stderr


def test_an_equation_of_ones_own_is_continued_with_its_band(rng):
    t = np.linspace(0.2, 3, 15)
    values = 2 * np.exp(-0.7 * (t - t[0])) + 0.01 * rng.standard_normal(15)
    Path("decay.csv").write_text("time,x\n" + "".join(f"{a},{b}\n" for a, b in zip(t, values, strict=True)))
    Path("decay.toml").write_text(MODEL)
    fitted = run("fit", "decay.csv", "--model", "decay.toml", "--starts", 1, "--name", "decay", "--json")
    assert fitted.exit_code == 0, fitted.output
    k = {each["name"]: each["value"] for each in json.loads(fitted.stdout)["constants"]}["k"]
    assert run("predict", "runs/decay", "--at", "1,4,6").exit_code == 0
    for row in (row for row in rows_of() if row["kind"] == "state"):
        assert float(row["mean"]) == pytest.approx(2 * math.exp(-k * (float(row["t"]) - 0.2)), rel=1e-6)
        assert float(row["low"]) < float(row["mean"]) < float(row["high"])


@pytest.mark.slow
def test_series_are_continued_or_told_at_given_times(rng):
    lines = [
        f"s{index},{time:.4f},{channel},{math.sin(time + index):.4f}\n"
        for index in range(8)
        for channel in ("x", "v")
        for time in np.sort(rng.uniform(0, 5, 6))
    ]
    Path("visits.csv").write_text("series,time,channel,value\n" + "".join(lines))
    small = ("--model", "gru", "--hidden", 6, "--epochs", 1, "--batch", 6, "--no-tensorboard", "--name", "visits")
    assert run("train", "timeseries", "visits.csv", *small).exit_code == 0
    result = run("predict", "runs/visits", "visits.csv", "--at", "6:9:3")
    assert result.exit_code == 0, result.output
    rows = rows_of()
    assert len(rows) == 8 * 3 * 2
    assert {row["series"] for row in rows} == {f"s{index}" for index in range(8)}
    for row in rows:
        mean, std, low, high = (float(row[name]) for name in ("mean", "std", "low", "high"))
        assert high - mean == pytest.approx(1.95996 * std, rel=1e-4)
        assert mean - low == pytest.approx(1.95996 * std, rel=1e-4)
    assert run("predict", "runs/visits", "visits.csv", "--out", "on.csv").exit_code == 0
    assert len(rows_of("on.csv")) == 8 * 50 * 2
    assert "name the data" in run("predict", "runs/visits", "--force").stderr
    Path("other.csv").write_text("series,time,channel,value\ns,0,z,1\ns,1,z,2\n")
    assert "has the channels z" in run("predict", "runs/visits", "other.csv", "--force").stderr
