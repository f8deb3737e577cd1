"""``physode reproduce``."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import json

import numpy as np
import pytest
from click.testing import CliRunner

from physode.cli.main import cli
from physode.datasets.images import write_images
from physode.experiments import EXPERIMENTS, ON_IMAGES, find_experiment
from physode.sweeps import schedulers

_IMAGES = {
    "cifar": {"images": 30, "width": 1, "batch": 27, "long_epochs": 1, "epochs": 1, "compared_epochs": 1}
    | {"compared": 1, "repeats": 2, "left_out": ("resnet50", "resnet101")},
    "galaxy": {"images": 30, "width": 2, "batch": 15, "epochs": 1, "splits": 2},
}
SMALL = {
    "table1": {"cases": ((2, 1e-3, 1.0),), "span": 1.0, "width": 4, "batch": 2},
    "theorem32": {"methods": ("euler", "midpoint"), "steps": (4, 8)},
    "fig4": {"spans": (5.0,), "points": 51},
    "fig5": {"size": 12, "span": 2.0, "spans": (1.0, 2.0)},
    "fig6": {"spans": (1.0, 2.0), "peers": False},
    "table4": {"models": ("aca",), "shares": (0.5,), "repeats": (1,), "sequences": 6, "epochs": 1, "units": (4,)},
    "table5": {"models": ("ode-aca",), "example": (), "repeats": 2, "kernels": False, "epochs": 1, "points": 10}
    | {"t_end": 0.02, "train_until": 0.01},
    "recovery": {"systems": 1, "compared": 1, "noises": (0.0,), "t_end": 0.1, "points": 5, "epochs": 1}
    | {"preset_points": 10, "preset_end": 0.02, "preset_until": 0.01},
    **{name: _IMAGES[study] for name, study in ON_IMAGES.items() if name != "galaxy-params"},
}
SINGLE = {"table1", "theorem32", "fig4", "fig5", "fig6", "table2", "table3", "table6", "table7", "galaxy-params"} | {
    f"galaxy-table{number}" for number in (1, 2, 3)
}
"""Those of one figure, which has no folder."""


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    for name, values in SMALL.items():
        replaced(monkeypatch, name, Config=functools.partial(find_experiment(name).Config, **values))


def replaced(monkeypatch, name, **changes):
    """Put another declaration of an experiment in its place."""
    module = importlib.import_module(f"physode.experiments.{ON_IMAGES.get(name, name)}")
    monkeypatch.setitem(module.STUDIES, name, dataclasses.replace(module.STUDIES[name], **changes))


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(cli, ["reproduce", *arguments])


def test_one_figure_is_shown_beside_the_paper_and_written(run, tmp_path):
    result = run("fig6")
    assert result.exit_code == 0
    assert "the paper" in result.stdout
    assert "ACA's error is below the adjoint method's" in result.stdout
    assert sorted(path.name for path in (tmp_path / "reproduce").iterdir()) == ["fig6.json", "fig6.md", "fig6.png"]


@pytest.mark.slow
def test_all_makes_every_figure(run, tmp_path):
    result = run("all", "--out", "figures", "--json")
    assert result.exit_code == 0
    assert [each["name"] for each in json.loads(result.stdout)] == list(EXPERIMENTS)
    files = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert files == sorted(
        [f"{name}.{kind}" for name in EXPERIMENTS for kind in ("json", "md")]
        + [f"{name}.png" for name in SINGLE]
        + [name for name in EXPERIMENTS if name not in SINGLE]
        + ["cifar-on-simulated-galaxies", "galaxy-on-simulated-galaxies"]
    )


def test_json_holds_the_rows_the_findings_and_the_files(run, tmp_path):
    (found,) = json.loads(run("fig4", "--json", "--seed", "7").stdout)
    assert found["config"]["seed"] == 7
    assert found["rows"][0]["T"] == 5.0
    assert {"paper", "ours", "agrees"} == set(found["findings"][0])
    assert (tmp_path / found["files"]["figure"]).exists()


@pytest.mark.slow
def test_the_seed_reaches_the_experiment(run):
    (one,), (other,) = (json.loads(run("fig5", "--json", "--force", "--seed", seed).stdout) for seed in "01")
    assert one["rows"] != other["rows"]


def test_what_exists_is_refused_before_any_work_and_replaced_with_force(run, tmp_path, monkeypatch):
    (tmp_path / "reproduce").mkdir()
    (tmp_path / "reproduce" / "fig6.png").write_text("mine")
    with monkeypatch.context() as patch:
        replaced(patch, "fig4", run=lambda *_, **__: pytest.fail("worked before the check"))
        refused = run("fig4", "fig6")
    assert refused.exit_code == 1
    assert refused.stderr.startswith("Error: reproduce/fig6.png exist already")
    assert run("fig6", "--force").exit_code == 0
    assert (tmp_path / "reproduce" / "fig6.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "arguments",
    [(), ("fig8",), ("fig4", "--seed", "-1"), ("table5", "--jobs", "0"), ("fig4", "--data", "images.h5")],
)
def test_wrong_usage_exits_with_2(run, arguments):
    assert run(*arguments).exit_code == 2


def test_a_folder_that_cannot_be_made_is_one_line_before_any_work(run, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    replaced(monkeypatch, "fig6", run=lambda *_, **__: pytest.fail("worked before the check"))
    result = run("fig6", "--out", "file/inside")
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_study_is_kept_cell_by_cell_and_the_same_command_goes_on(run, tmp_path, monkeypatch):
    folder = tmp_path / "reproduce" / "table5"
    first = run("table5", "--json")
    assert first.exit_code == 0, first.output
    figures = ("errors", "overview", "ode-aca", "ode-aca-seed-1")
    files = {"table5.json", "table5.md"} | {f"table5/{name}.png" for name in figures}
    assert set(json.loads(first.stdout)[0]["files"].values()) == {f"reproduce/{name}" for name in files}
    assert {path.name for path in (folder / "cells").iterdir()} == {"ode-aca-seed-0.json", "ode-aca-seed-1.json"}
    (folder / "cells" / "ode-aca-seed-1.json").unlink()
    performed = []
    whole = schedulers.perform
    monkeypatch.setattr(schedulers, "perform", lambda *call: performed.append(call) or whole(*call))
    again = run("table5", "--json")
    assert again.exit_code == 0, again.output
    assert len(performed) == 1
    values = [json.loads(result.stdout)[0]["rows"][-1]["MSE, mean of coordinates"] for result in (first, again)]
    assert values[0] == values[1]
    assert run("table5", "--force").exit_code == 0
    assert len(performed) == 3


@pytest.mark.slow
def test_a_study_does_not_take_another_configuration_s_place_unasked(run):
    assert run("table5").exit_code == 0
    refused = run("table5", "--seed", "1")
    assert refused.exit_code == 1
    assert refused.stderr.startswith("Error: reproduce/table5.md, reproduce/table5.json exist already")
    assert run("table5", "--seed", "1", "--out", "other").exit_code == 0


@pytest.mark.slow
def test_a_failed_cell_is_shown_and_tried_again(run, monkeypatch):
    with monkeypatch.context() as patch:
        failing = lambda *call: json.dumps({"failure": "SolveError: too stiff", "seconds": 0.0})  # noqa: E731
        patch.setattr(schedulers, "perform", failing)
        failed = run("table5")
    assert failed.exit_code == 1, failed.output
    assert "seed 0: SolveError: too stiff" in failed.stdout
    assert failed.stderr == (
        "Error: 2 of 2 cells of table5 failed (ode-aca seed 0: SolveError: too stiff); the same command tries them "
        "again\n"
    )
    repaired = run("table5")
    assert repaired.exit_code == 0, repaired.output
    assert "too stiff" not in repaired.stdout


@pytest.mark.slow
def test_some_failed_cells_have_an_exit_code_of_their_own(run, monkeypatch):
    whole = schedulers.perform

    def failing(function, arguments, version):
        if json.loads(arguments)["settings"]["seed"] == 1:
            return json.dumps({"failure": "SolveError: too stiff", "seconds": 0.0})
        return whole(function, arguments, version)

    with monkeypatch.context() as patch:
        patch.setattr(schedulers, "perform", failing)
        failed = run("table5", "--json")
    assert failed.exit_code == 3, failed.output
    assert json.loads(failed.stdout)[0]["name"] == "table5"
    assert failed.stderr.startswith("Error: 1 of 2 cells of table5 failed (ode-aca seed 1: SolveError: too stiff)")
    assert run("table5").exit_code == 0


@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if find_experiment(name).cells is not None])
def test_a_study_whose_every_cell_failed_ends_with_1(run, monkeypatch, name):
    failing = lambda *call: json.dumps({"failure": "OSError: no memory", "seconds": 0.0})  # noqa: E731
    monkeypatch.setattr(schedulers, "perform", failing)
    failed = run(name)
    assert failed.exit_code == 1, failed.output
    assert failed.stderr.startswith("Error: ")
    assert f"cells of {name} failed" in failed.stderr
    assert failed.stderr.count("\n") == 1


def test_quick_versions_have_names_of_their_own(run, tmp_path, monkeypatch):
    plain = functools.partial(find_experiment("table5").Config, shown=5)
    plain.quick = lambda seed: plain(seed=seed, preset="quick")
    replaced(monkeypatch, "table5", Config=plain)
    result = run("table5", "fig6", "--quick")
    assert result.exit_code == 0, result.output
    assert "quick: fewer epochs" in result.stdout
    names = {path.name for path in (tmp_path / "reproduce").iterdir()}
    assert names == {"table5-quick", "table5-quick.md", "table5-quick.json", "fig6.md", "fig6.json", "fig6.png"}


@pytest.mark.parametrize("option", [("--jobs", "2"), ("--scheduler", "tcp://127.0.0.1:1")])
def test_jobs_and_schedulers_need_cells(run, option):
    result = run("fig4", "fig6", *option)
    assert result.exit_code == 2
    assert f"{option[0]} needs a study of cells; there is none in fig4, fig6" in result.stderr


def test_jobs_and_a_scheduler_do_not_go_together(run):
    result = run("table5", "--jobs", "2", "--scheduler", "tcp://127.0.0.1:1")
    assert result.exit_code == 2
    assert "--jobs and --scheduler do not go together" in result.stderr


@pytest.mark.slow
def test_a_scheduler_that_does_not_answer_is_one_line(run, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(schedulers, "_CONNECT", 0.3)
    result = run("table5", "--scheduler", "tcp://127.0.0.1:1")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: `scheduler` 'tcp://127.0.0.1:1' does not answer")
    assert result.stderr.count("\n") == 1


@pytest.mark.slow
def test_tables_of_one_study_share_their_trainings(run, tmp_path, monkeypatch):
    performed = []
    whole = schedulers.perform
    monkeypatch.setattr(schedulers, "perform", lambda *call: performed.append(call) or whole(*call))
    both = run("galaxy-table1", "galaxy-fig2", "--json")
    assert both.exit_code == 0, both.output
    assert len(performed) == 2
    kept = tmp_path / "reproduce" / "galaxy-on-simulated-galaxies"
    assert {path.name for path in (kept / "cells").iterdir()} == {f"resnet-split-{seed}.json" for seed in (0, 1)}
    assert not any((kept / "runs").iterdir())
    assert run("galaxy-table3").exit_code == 0
    assert len(performed) == 4
    assert run("galaxy-table1", "galaxy-fig2", "--force").exit_code == 0
    assert len(performed) == 6


def test_images_are_those_of_data_and_go_into_what_is_kept_by_what_they_are(run, tmp_path, images_of):
    write_images(tmp_path / "mine.h5", images_of(30, size=32, classes=2))
    found = run("galaxy-table1", "--data", "mine.h5", "--json")
    assert found.exit_code == 0, found.output
    (table,) = json.loads(found.stdout)
    assert table["title"].endswith(": bars")
    assert [row["true class"] for row in table["rows"]] == ["class 0", "class 1"]
    (folder,) = (path.name for path in (tmp_path / "reproduce").iterdir() if path.is_dir())
    assert folder == f"galaxy-on-bars-{table['config']['digest'][:8]}"
    (tmp_path / "mine.h5").rename(tmp_path / "moved.h5")
    again = run("galaxy-table1", "--data", "moved.h5", "--json")
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout)[0]["rows"] == table["rows"]
    refused = run("galaxy-table1")
    assert refused.exit_code == 1
    assert refused.stderr.startswith("Error: reproduce/galaxy-table1.png, reproduce/galaxy-table1.md")


@pytest.mark.slow
def test_cifar_10_is_taken_where_its_archive_lies_and_stand_in_images_are_named(run, tmp_path, images_of):
    (stand_in,) = json.loads(run("table7", "--json").stdout)
    assert "simulated galaxies as stand-in images, not CIFAR" in stand_in["title"]
    write_images(tmp_path / "cifar10.h5", images_of(30, size=32, classes=2))
    (real,) = json.loads(run("table7", "--json", "--force").stdout)
    assert real["title"].endswith("(ACA paper, Table 7): bars")
    assert real["config"]["digest"]


def write_cifar100(folder, rng):
    """Write CIFAR-100's binary version with two training images and a test image of each class."""
    folder.mkdir()
    for name, count in (("train.bin", 200), ("test.bin", 100)):
        fine = np.arange(count) % 100
        pixels = rng.integers(0, 256, (count, 3 * 32 * 32))
        (folder / name).write_bytes(np.column_stack([fine // 5, fine, pixels]).astype(np.uint8).tobytes())
    (folder / "fine_label_names.txt").write_text("\n".join(f"thing {label}" for label in range(100)))


@pytest.mark.slow
def test_cifar_100_goes_from_its_binary_version_to_evaluations_and_tables(run, tmp_path, rng):
    write_cifar100(tmp_path / "cifar-100-binary", rng)
    few = ("--model", "resnet18", "--form", "published", "--width", "1", "--epochs", "1", "--no-tensorboard")
    trained = CliRunner().invoke(cli, ["train", "cifar100", "--data", "cifar-100-binary", *few, "--threads", "1"])
    assert trained.exit_code == 0, trained.output
    evaluated = CliRunner().invoke(cli, ["evaluate", "runs/cifar100-resnet18", "--no-figures", "--json"])
    assert evaluated.exit_code == 0, evaluated.output
    found = json.loads(evaluated.stdout)
    assert (found["samples"], found["classes"][99]) == (100, "thing 99")
    assert np.array(found["confusion"]).shape == (100, 100)
    (table,) = json.loads(run("table6", "--data", "cifar-100-binary", "--json").stdout)
    assert table["title"].endswith("(ACA paper, Table 6): cifar100")
    assert len(table["config"]["classes"]) == 100
    assert [finding["paper"] for finding in table["findings"]] == ["every training ends"]  # of CIFAR-10 are the others
    assert {row["test images"] for row in table["rows"]} <= set(range(1, 31))


def test_images_that_cannot_be_read_are_one_line_before_any_work(run, tmp_path):
    (tmp_path / "empty.h5").write_bytes(b"")
    for name in ("missing.h5", "empty.h5"):
        result = run("table7", "--data", name)
        assert result.exit_code == 1
        assert result.stderr.startswith("Error: ")
        assert result.stderr.count("\n") == 1
    assert not (tmp_path / "reproduce").exists()
