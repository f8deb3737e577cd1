"""Runs of every kind as reports show them."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from click.testing import CliRunner

from physode.cli.main import cli
from physode.datasets import write_trajectories
from physode.datasets.images import Images, write_images
from physode.datasets.series import IrregularSeries, write_series
from physode.errors import ConfigError
from physode.images.config import TrainConfig
from physode.images.run import create_train_run
from physode.reports.blocks import Chart, Gallery, Matrix
from physode.reports.views import view_of
from physode.series.config import SeriesConfig
from physode.series.run import create_series_run
from physode.simulators import simulate_van_der_pol
from physode.training.evaluation_files import evaluation_paths, writing_evaluation

EVIL = "</script><script>alert(1)"


def run(*arguments: object):
    return CliRunner().invoke(cli, list(map(str, arguments)))


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A fit of Van der Pol's oscillator whose second column has a name that is a script."""
    folder = tmp_path_factory.mktemp("fit")
    data = simulate_van_der_pol(preset="aca", t_end=6.0, points=40, noise=0.01)
    write_trajectories(folder / "vdp.h5", dataclasses.replace(data, columns=("y1", EVIL)))
    done = run("fit", folder / "vdp.h5", "--system", "van_der_pol", "--method", "rk4", "--train-until", 4,
               "--sigma", 0.01, "--out", folder / "runs", "--name", "vdp")  # fmt: skip
    assert done.exit_code == 0, done.output
    return folder / "runs" / "vdp"


def blocks(view, name):
    return next(tab.blocks for tab in view.tabs if tab.name == name)


def test_a_fit_has_its_verdict_numbers_and_figures(fitted):
    view = view_of(fitted)
    report = json.loads((fitted / "report.json").read_text())
    assert view.verdict.status == report["status"] == "converged"
    assert [tab.name for tab in view.tabs] == [
        "Overview", "Series", "Phase plane", "Residuals", "Correlations", "Convergence", "Settings and origin",
    ]  # fmt: skip
    (constants, *_) = blocks(view, "Overview")
    assert [row[0] for row in constants.rows] == ["mu", "threshold"]
    mu = report["constants"][0]
    assert abs(float(constants.rows[0][1]) - mu["fitted"]) < 0.06 * mu["standard_error"]
    series = blocks(view, "Series")
    assert [chart.title for chart in series] == ["y1", EVIL]
    assert series[0].layout["shapes"][0]["x1"] == pytest.approx(4.0, abs=0.2)
    assert len(series[0].traces[0]["x"]) == 40
    (matrix,) = blocks(view, "Correlations")
    assert isinstance(matrix, Matrix)
    assert matrix.cells[0][0].text == "1.00"


def test_the_command_that_made_a_run_is_there_to_copy(fitted):
    made = json.loads((fitted / "made.json").read_text())
    command = blocks(view_of(fitted), "Settings and origin")[0]
    assert command.code
    assert command.lines == (made["command"],)
    assert {"physode", "torch", "python"} <= made["versions"].keys()


def test_a_fit_without_its_data_is_shown_by_what_it_kept(fitted, tmp_path):
    data = fitted.parents[1] / "vdp.h5"
    moved = tmp_path / "elsewhere.h5"
    data.rename(moved)
    try:
        view = view_of(fitted)
        assert "are gone" in blocks(view, "Series")[0].lines[0]
        assert blocks(view, "Overview")[0].title == "Constants"
        assert isinstance(blocks(view_of(fitted, data=[moved]), "Series")[0], Chart)
    finally:
        moved.rename(data)


def test_names_of_columns_are_escaped_in_the_page(fitted, tmp_path):
    out = tmp_path / "report.html"
    done = run("report", fitted, "--out", out, "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["bytes"] == out.stat().st_size
    assert told["runs"] == [{"run": str(fitted), "status": "converged", "verdict": "trusted"}]
    content = out.read_text()
    assert EVIL not in content
    assert "&lt;/script&gt;&lt;script&gt;alert(1)" in content
    assert run("report", fitted, "--out", out).exit_code == 1
    assert run("report", fitted, "--out", out, "--force").exit_code == 0


def test_a_fit_that_has_not_ended_says_how_to_go_on(fitted, tmp_path):
    import shutil

    part = tmp_path / "part"
    shutil.copytree(fitted, part)
    (part / "report.json").unlink()
    verdict = view_of(part).verdict
    assert (verdict.level, verdict.status) == ("untrusted", "not ended")
    assert "--resume" in verdict.sentence


def test_what_is_no_run_is_one_line(tmp_path):
    with pytest.raises(ConfigError, match="is not a folder"):
        view_of(tmp_path / "none")
    done = run("report", tmp_path)
    assert done.exit_code == 1
    assert "is not a run" in done.stderr


def test_an_equation_of_one_s_own_is_shown_from_its_tables(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    t = np.linspace(0.0, 4.0, 25)
    x = 2.0 * np.exp(-0.7 * t) + 0.02 * np.random.default_rng(0).normal(size=25)
    (tmp_path / "decay.csv").write_text("t,x\n" + "".join(f"{a:.4f},{b:.5f}\n" for a, b in zip(t, x, strict=True)))
    (tmp_path / "own.py").write_text("import torch\n\n\ndef decay(t, x, k=1.0):\n    return -k * x\n")
    done = run("fit", "decay.csv", "--rhs", "own.py:decay", "--starts", 3, "--until", 6)
    assert done.exit_code == 0, done.output
    (tmp_path / "runs" / "decay" / "profiles").mkdir()
    (tmp_path / "runs" / "decay" / "profiles" / "k.csv").write_text("k,delta\n0.6,2\n0.7,0\n0.8,2\n")
    view = view_of(tmp_path / "runs" / "decay")
    assert view.verdict.status == "converged"
    assert [tab.name for tab in view.tabs] == [
        "Overview", "Series", "States", "Residuals", "Correlations", "Starts", "Profiles", "Settings and origin",
    ]  # fmt: skip
    (chart,) = blocks(view, "Series")
    assert [word["text"] for word in chart.layout["annotations"]] == ["measured", "extrapolated"]
    assert chart.layout["shapes"][0]["x1"] == 4.0
    assert {trace["name"] for trace in chart.traces} == {"new measurements, 95 %", "mean, 95 %", "data", "fit"}
    report = json.loads((tmp_path / "runs" / "decay" / "report.json").read_text())
    assert set(report["doubts"]) <= set(report["notes"])
    assert view.verdict.doubts == tuple(report["doubts"])


def classifier(folder, *, right, names=()):
    """A run of three classes on 60 images, the last 30 for the test, of which a share is recognised."""
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    images = Images(
        rng.integers(0, 255, (60, 3, 8, 8), dtype=np.uint8),
        y.astype(np.int64),
        ("a", "<b>", "c"),
        np.arange(60) >= 30,
        names=names,
    )
    write_images(folder / "images.h5", images)
    made = create_train_run(
        folder / "run", TrainConfig(model="galaxy-node", epochs=2), dataset="images", size=None,
        data=folder / "images.h5", classes=images.classes, digest=images.digest(),
    )  # fmt: skip
    for epoch in (1, 2):
        made.append(
            {"epoch": epoch, "loss": 1.0 / epoch, "lr": 0.1, "rhs_forward": 4, "rhs_backward": 4, "accepted": 2,
             "rejected": 0, "seconds": 1.0, "test_seconds": 0.1, "accuracy": right, "test_loss": 1.0,
             "test_accuracy": right, "test_rhs": 4}
        )  # fmt: skip
    labels = images.y[30:]
    predicted = np.where(np.arange(30) < 30 * right, labels, (labels + 1) % 3)
    probabilities = np.full((30, 3), (1 - max(right, 0.4)) / 2)
    probabilities[np.arange(30), predicted] = max(right, 0.4)
    with writing_evaluation(evaluation_paths(made, "test"), {"parameters": 10, "solver": "euler"}) as file:
        file["probabilities"], file["labels"] = probabilities, labels
    return made


def test_a_classifier_s_confusion_leads_to_its_images(tmp_path):
    made = classifier(tmp_path, right=0.8)
    view = view_of(made.path)
    assert (view.verdict.status, view.verdict.level) == ("trained", "trusted")
    matrix, *galleries = blocks(view, "Confusion")
    assert [[cell.text for cell in row] for row in matrix.cells] == [["8", "2", ""], ["", "8", "2"], ["2", "", "8"]]
    assert all(isinstance(each, Gallery) for each in galleries)
    anchors = {gallery.anchor: gallery for gallery in galleries}
    assert {cell.link for row in matrix.cells for cell in row if cell.text} == set(anchors)
    mistaken = anchors[matrix.cells[1][2].link]
    assert mistaken.title == "<b> taken for c"
    assert [picture.name for picture in mistaken.pictures] == ["image 56", "image 59"]
    assert all(picture.source.startswith("data:image/png;base64,") for picture in mistaken.pictures)
    assert galleries[0].title == "a taken for <b>"  # mistakes come first
    (table,) = blocks(view, "Classes")
    assert table.rows[0][:2] == ("a", "10")


def test_images_that_have_names_are_called_by_them(tmp_path):
    made = classifier(tmp_path, right=0.8, names=tuple(f"sky/{i}.png" for i in range(60)))
    matrix, *galleries = blocks(view_of(made.path), "Confusion")
    mistaken = next(gallery for gallery in galleries if gallery.anchor == matrix.cells[1][2].link)
    assert [picture.name for picture in mistaken.pictures] == ["sky/55.png", "sky/58.png"]


def test_a_classifier_without_its_images_says_so_and_keeps_its_numbers(tmp_path):
    made = classifier(tmp_path, right=0.8)
    (tmp_path / "images.h5").unlink()
    matrix, told = blocks(view_of(made.path), "Confusion")
    assert "does not exist" in told.lines[0] or "no such" in told.lines[0].lower()
    assert not any(cell.link for row in matrix.cells for cell in row)


def test_a_classifier_no_better_than_guessing_is_not_trusted(tmp_path):
    verdict = view_of(classifier(tmp_path, right=0.4).path).verdict
    assert (verdict.level, verdict.status) == ("untrusted", "no better than guessing")
    assert "33.3 %" in verdict.sentence


def test_a_classifier_that_was_not_evaluated_says_how_to(tmp_path):
    made = classifier(tmp_path, right=0.8)
    evaluation_paths(made, "test")["json"].unlink()
    assert "physode evaluate" in view_of(made.path).verdict.sentence


def series_run(folder, *, mean):
    """A run on series of which nothing but its evaluation was kept: `mean` makes predictions of values."""
    t = np.linspace(0.0, 1.0, 12) * np.ones((10, 1))
    y = np.sin(6.0 * t + np.arange(10)[:, None])[..., None]
    series = IrregularSeries.of_arrays(t, y)
    write_series(folder / "series.h5", series)
    made = create_series_run(
        folder / "run", SeriesConfig(epochs=1), data=folder / "series.h5", channels=series.channels,
        units=series.units, time_unit="s", digest=series.digest(),
    )  # fmt: skip
    made.append(
        {"epoch": 1, "loss": -0.5, "lr": 0.01, "rhs_forward": 4, "rhs_backward": 4, "accepted": 2, "rejected": 0,
         "seconds": 1.0, "test_seconds": 0.1, "test_mse": 0.2, "test_mse_by_range": 0.1, "kl_weight": 1.0}
    )  # fmt: skip
    scores = {"mse": 0.2, "mse_by_range": 0.1, "series": 10, "values": 120, "rmse": {series.channels[0]: 0.1}}
    with writing_evaluation(evaluation_paths(made, "test"), {"tasks": {"interpolation": scores}}) as file:
        group = file.create_group("interpolation")
        group["y"], group["mean"] = y, mean(y)
    return made


@pytest.mark.parametrize(
    ("mean", "level", "status"),
    [
        (lambda y: 0.9 * y, "trusted", "trained"),
        (lambda y: 0.2 * y, "doubtful", "trained"),
        (lambda y: -y, "untrusted", "explains nothing"),
    ],
    ids=["good", "poor", "wrong"],
)
def test_a_model_of_series_is_judged_by_its_test_series(tmp_path, mean, level, status):
    view = view_of(series_run(tmp_path, mean=mean).path)
    assert (view.verdict.level, view.verdict.status) == (level, status)
    assert [tab.name for tab in view.tabs] == ["Errors", "Training", "Settings and origin"]
    assert blocks(view, "Errors")[1].rows[0][-1] == "0.1"
