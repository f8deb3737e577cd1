"""``physode train timeseries``, and what evaluates and draws its runs."""

from __future__ import annotations

import json
import os
import pickle
import re

import numpy as np
import pytest
from click.testing import CliRunner

from physode.cli.commands import train_series
from physode.cli.main import cli
from physode.datasets.series import IrregularSeries, write_series
from physode.models import SERIES_MODELS
from physode.plotting import SERIES_FIGURES
from physode.series import SeriesConfig
from physode.series.config import MODELS

LATENT = ("--latent", "3", "--units", "8", "--encoder-units", "8", "--hidden", "6", "--method", "rk4", "--step", "0.2")
FEW = ("--epochs", "2", "--batch", "6", "--no-tensorboard")
GRU = ("--model", "gru", "--hidden", "6", *FEW)


def rows(count=10, points=6, *, seed=0):
    """Values of a long table: two channels, at times of their own."""
    rng = np.random.default_rng(seed)
    return [
        (f"s{index}", time, channel, round(float(np.sin(time + index)), 4))
        for index in range(count)
        for channel in ("x", "v")
        for time in np.sort(rng.uniform(0, 5, points)).round(4)
    ]


def write_rows(path, found):
    path.write_text("series,time,channel,value\n" + "".join(",".join(map(str, row)) + "\n" for row in found))


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Call physode in a folder with visits.csv in it."""
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "visits.csv", rows())
    return lambda *arguments: CliRunner().invoke(cli, list(map(str, arguments)))


@pytest.fixture
def trained(run):
    result = run("train", "timeseries", "visits.csv", *LATENT, *FEW)
    assert result.exit_code == 0, result.output
    return run


def test_the_tables_for_help_are_those_of_the_library():
    assert set(MODELS) == set(SERIES_MODELS)


def test_every_setting_has_an_option_and_help_names_its_default():
    options = {option.name: option for option in train_series.command.params}
    config = SeriesConfig()
    assert set(vars(config)) <= set(options)
    for name, value in vars(config).items():
        if value is not None and name != "device":
            shown = f"{value:g}" if isinstance(value, float) else value
            assert f"[default: {shown}]" in options[name].help


# Training.


def test_a_run_is_left_behind_and_what_was_done_to_the_data_is_said(run, tmp_path):
    result = run("train", "timeseries", "visits.csv", *LATENT, *FEW, "--observed", "0.2")
    assert result.exit_code == 0, result.output
    for word in ("interpolation from 20 % of the points, 2 test series", "by range", "log-likelihood", "next"):
        assert word in result.stdout
    assert re.search(r"Note: times are divided by [\d.]+, the longest span of the training series", result.stderr)
    folder = tmp_path / "runs" / "visits-latent-ode"
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*.*")}
    assert files == {
        "config.toml",
        "made.json",
        "metrics.jsonl",
        "log.txt",
        "checkpoints/last.pt",
        "checkpoints/best.pt",
    }


def test_a_run_goes_on_with_its_own_settings(run, tmp_path):
    whole = ("train", "timeseries", "visits.csv", *LATENT, *FEW, "--json")
    first = json.loads(run(*whole).stdout)
    history = (tmp_path / "runs/visits-latent-ode/metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in history] == [1, 2]
    more = run(
        "train", "timeseries", "--resume", "runs/visits-latent-ode", "--epochs", "3", "--json", "--no-tensorboard"
    )
    assert more.exit_code == 0, more.output
    told = json.loads(more.stdout)
    assert (told["epoch"], told["parameters"], told["run"]) == (3, first["parameters"], "runs/visits-latent-ode")
    assert told["test"]["mse"] == pytest.approx(told["test_mse"], rel=1e-6)


def test_hdf5_of_a_simulator_is_trained_on(run):
    simulated = run("simulate", "vanderpol", "--n", "8", "--points", "6", "--t-end", "4", "--times", "random")
    assert simulated.exit_code == 0, simulated.output
    result = run("train", "timeseries", "vanderpol.h5", *GRU, "--task", "extrapolation", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["run"] == "runs/vanderpol-gru"
    assert "Note: left out, as series have no place for it:" in result.stderr


def test_folders_of_records_are_trained_on(run, tmp_path, rng):
    (tmp_path / "set-a").mkdir()
    for number in range(8):
        lines = ["Time,Parameter,Value", f"00:00,RecordID,{132539 + number}", "00:00,Age,54"]
        lines += [f"{hour:02d}:07,HR,{rng.integers(60, 90)}" for hour in range(5)]
        (tmp_path / "set-a" / f"{132539 + number}.txt").write_text("\n".join(lines) + "\n")
    result = run("train", "timeseries", "set-a", *GRU, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["run"] == "runs/set-a-gru"
    assert " h, the longest span of the training series" in result.stderr


def test_series_that_are_left_out_are_said(run, tmp_path):
    write_rows(tmp_path / "one.csv", [*rows(), ("lone", 1.0, "x", 0.5)])
    result = run("train", "timeseries", "one.csv", *GRU, "--min-points", "2")
    assert result.exit_code == 0, result.output
    assert "Note: series with one point only: 1 of 11, 'lone' the first" in result.stderr
    assert "Note: 1 series of fewer than 2 points are left out" in result.stderr


def test_spans_of_very_different_length_are_normalised_and_said(run, tmp_path):
    long = [("slow", 1e5 * time, channel, value) for _, time, channel, value in rows(1)]
    write_rows(tmp_path / "scales.csv", [*rows(), *long])
    result = run("train", "timeseries", "scales.csv", *GRU)
    assert result.exit_code == 0, result.output
    assert re.search(
        r"Note: spans of time differ by a factor [\d.e+]+, .*'slow'\): times are normalised", result.stderr
    )


def one_line(result, code, message):
    assert result.exit_code == code, result.output
    assert result.stderr.strip().splitlines()[-1].startswith("Error: ")
    assert re.search(message, result.stderr), result.stderr


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([("lone", 1.0, "x", 0.5)], r"series 'lone' has a single point: .* \(--min-points 2 on the command line\)"),
        ([("s0", 9.0, "ghost", "")], "channel 'ghost' has no value in any series; leave it out"),
        ([("s0", 9.0, "x", "inf")], "row 122, column value: 'inf' is infinite; empty the cell"),
        ([("s0", 0.0, "x", 1.0)], r"row 122: series s0, channel x, time 0 stands after time .*; sort the rows by time"),
        ([("s0", 9.0, "x", 1), ("s0", 9.0, "x", 2)], "time 9 stands in row 122 already; keep one, or take their mean"),
    ],
    ids=["one point", "empty channel", "infinite", "unsorted", "duplicate"],
)
def test_series_that_cannot_be_get_one_line_and_no_folder(run, tmp_path, more, message):
    write_rows(tmp_path / "bad.csv", [*rows(), *more])
    result = run("train", "timeseries", "bad.csv", *GRU)
    one_line(result, 1, message)
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), 2, "name the series: physode train timeseries DATA"),
        (("nowhere.csv",), 1, "nowhere.csv does not exist"),
        (("visits.csv", "--model", "transformer"), 2, "'transformer' is not one of 'latent-ode', 'ode-rnn', 'rnn'"),
        (("visits.csv", "--model", "rnn", "--method", "rk4"), 1, "the model rnn has no latent path for `method`"),
        (("visits.csv", "--model", "gru", "--latent", "3"), 1, "the model gru has no `latent`"),
        (("visits.csv", "--model", "gru", "--encoder-steps", "3"), 1, "has no flow between observations"),
        (("visits.csv", "--units", "wide"), 2, "'wide' is not whole numbers with commas between, such as 100,100"),
        (("visits.csv", "--observed", "0"), 2, "0.0 is not in the range 0<x<=1"),
        (("visits.csv", "--step", "2"), 1, "`step` must be above 0 and at most 1"),
        (("visits.csv", "--name", "a/b"), 2, "is not the name of a folder"),
        (("--resume", "runs/none"), 1, "runs/none is not a folder; name the folder of a run, such as runs/hopper"),
    ],
)
def test_mistakes_get_one_line(run, tmp_path, words, code, message):
    one_line(run("train", "timeseries", *words), code, message)
    assert not (tmp_path / "runs").exists()


def test_the_kind_of_data_comes_first(run):
    one_line(run("train", "--epochs", "2", "timeseries"), 2, "physode train timeseries --epochs")


def test_a_run_is_not_replaced_unasked(trained):
    words = ("train", "timeseries", "visits.csv", *LATENT, *FEW)
    one_line(trained(*words), 1, "runs/visits-latent-ode exists already")
    assert trained(*words, "--force").exit_code == 0


def test_resuming_takes_no_other_settings_data_or_kind_of_run(trained, tmp_path):
    resume = ("train", "timeseries", "--resume", "runs/visits-latent-ode")
    one_line(trained(*resume, "--lr", "1"), 2, "--resume and --lr do not go together")
    one_line(trained(*resume, "--epochs", "1"), 1, "has 2 epochs already, `epochs` is 1")
    one_line(
        trained("train", "--resume", "runs/visits-latent-ode"),
        1,
        "is a run of `physode train timeseries`, this needs one of `physode train`",
    )
    write_rows(tmp_path / "visits.csv", rows(seed=1))
    one_line(trained(*resume, "--epochs", "3"), 1, "not the series that runs/visits-latent-ode was begun with")


class Hostile:
    def __reduce__(self):
        return os.mkdir, ("executed",)


def test_a_malicious_checkpoint_is_one_line_and_not_executed(trained, tmp_path):
    run = "runs/visits-latent-ode"
    (tmp_path / run / "checkpoints" / "last.pt").write_bytes(pickle.dumps({"version": 1, "model": Hostile()}))
    for words in (("evaluate", run), ("plot", run), ("train", "timeseries", "--resume", run)):
        result = trained(*words)
        one_line(result, 1, "was not loaded|is damaged")
        assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "executed").exists()


# Evaluation.


def test_a_run_is_evaluated_into_tables_files_and_figures(trained, tmp_path):
    result = trained("evaluate", "runs/visits-latent-ode", "--draws", "3")
    assert result.exit_code == 0, result.output
    for word in ("interpolation", "extrapolation", "points not told", "log-likelihood", "channel", "rk4, step 0.2"):
        assert word in result.stdout
    folder = tmp_path / "runs" / "visits-latent-ode"
    assert {path.stem for path in (folder / "figures" / "test").iterdir()} == set(SERIES_FIGURES)
    kept = json.loads((folder / "evaluations" / "test.json").read_text())
    last = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
    assert kept["tasks"]["interpolation"]["mse"] == pytest.approx(last["test_mse"], rel=1e-6)
    one_line(trained("evaluate", "runs/visits-latent-ode"), 1, "test.json exists already")


def test_other_shares_solvers_and_series_need_no_training(trained, tmp_path):
    words = ("evaluate", "runs/visits-latent-ode", "--no-figures", "--draws", "2", "--json")
    told = json.loads(trained(*words, "--observed", "0.2", "--method", "dopri5", "--rtol", "1e-5").stdout)
    assert (told["observed"], told["solver"]) == (0.2, "dopri5, rtol 1e-05, atol 0.0001")
    write_rows(tmp_path / "more.csv", rows(5, seed=3))
    one_line(
        trained(*words, "--data", "more.csv"),
        1,
        r"these are not the series .* \(physode evaluate --all\)",
    )
    assert json.loads(trained(*words, "--data", "more.csv", "--all").stdout)["series"] == 5
    names = {path.name for path in (tmp_path / "runs/visits-latent-ode/evaluations").iterdir()}
    assert "test-observed-0.2-dopri5-rtol-1e-05.h5" in names
    assert "more-all.json" in names


def test_several_runs_stand_beside_each_other(trained):
    assert trained("train", "timeseries", "visits.csv", *GRU).exit_code == 0
    runs = ("runs/visits-latent-ode", "runs/visits-gru")
    result = trained("evaluate", *runs, "--no-figures")
    assert result.exit_code == 0, result.output
    assert all(f" {name} " in result.stdout.rpartition("MSE by range")[2] for name in ("latent-ode", "gru"))
    told = json.loads(trained("evaluate", *runs, "--no-figures", "--force", "--json").stdout)
    assert [each["model"] for each in told["runs"]] == ["latent-ode", "gru"]


def test_options_that_do_not_fit_a_model_get_one_line(trained, tmp_path):
    assert trained("train", "timeseries", "visits.csv", *GRU).exit_code == 0
    one_line(trained("evaluate", "runs/visits-gru", "--method", "rk4"), 1, "the model gru has no latent path")
    one_line(trained("evaluate", "runs/visits-gru", "--ratings", "correct"), 2, "--ratings has no part in evaluating")
    one_line(trained("evaluate", "runs/visits-gru", "runs/none"), 2, "evaluate them apart")
    one_line(trained("evaluate", "runs/none", "--observed", "0.1"), 2, "--observed has no part in evaluating classi")
    one_line(trained("profile", "runs/visits-gru", "x"), 1, "this needs one of `physode fit`")


def test_series_of_other_channels_are_refused(trained, tmp_path):
    series = IrregularSeries.of_arrays(np.arange(4.0), np.ones((3, 4, 1)) * np.arange(4.0)[:, None])
    write_series(tmp_path / "other.h5", series)
    one_line(trained("evaluate", "runs/visits-latent-ode", "--data", "other.h5", "--all"), 1, "knows x, v")


# Figures.


def test_figures_are_drawn_by_name(trained, tmp_path):
    result = trained("plot", "runs/visits-latent-ode", "--only", "latent", "--only", "samples")
    assert result.exit_code == 0, result.output
    paths = [f"runs/visits-latent-ode/figures/{name}.png" for name in ("latent", "samples")]
    assert result.stdout.splitlines() == paths
    assert all((tmp_path / path).stat().st_size > 5_000 for path in paths)
    one_line(trained("plot", "runs/visits-latent-ode", "--only", "latent"), 1, "exists already")
    told = json.loads(trained("plot", "runs/visits-latent-ode", "--force", "--json").stdout)
    assert [path.rsplit("/", 1)[1] for path in told["figures"]] == [f"{name}.png" for name in SERIES_FIGURES]


def test_figures_that_do_not_suit_a_run_get_one_line(run):
    assert run("train", "timeseries", "visits.csv", *GRU).exit_code == 0
    gru = ("plot", "runs/visits-gru")
    one_line(run(*gru, "--only", "samples"), 1, "does not have; it has interpolation, extrapolation, latent, learning")
    one_line(run(*gru, "--only", "orbits"), 1, "does not have; it has interpolation")
    one_line(run(*gru, "--trajectory", "1"), 2, "--trajectory has no part in the figures of a model of series")
    one_line(run(*gru, "--data", "a.csv", "--data", "b.csv"), 2, "a second --data has no part")
