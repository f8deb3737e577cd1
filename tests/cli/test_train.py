"""``physode train`` and ``physode evaluate``."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from physode.cli.commands import train_images
from physode.cli.main import cli
from physode.datasets.images import write_images
from physode.images import RECIPES, open_train_run
from physode.images.config import FORMS, MODELS
from physode.models import CLASSIFIERS, residual

SMALL = ("--model", "galaxy-node", "--width", "8", "--batch", "24", "--epochs", "2", "--lr", "0.05", "--no-tensorboard")


@pytest.fixture
def run(tmp_path, monkeypatch, images_of):
    """Call physode in a folder with bars.h5 in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_images(tmp_path / "bars.h5", images_of())
    return lambda *arguments: CliRunner().invoke(cli, list(arguments))


@pytest.fixture
def trained(run):
    result = run("train", "bars.h5", *SMALL, "--size", "12")
    assert result.exit_code == 0, result.output
    return run


def test_the_tables_for_help_are_those_of_the_library():
    assert set(MODELS) == set(CLASSIFIERS)
    assert FORMS == residual.FORMS
    assert set(train_images.KINDS) == set(RECIPES)


# Training.


@pytest.mark.parametrize("words", [("bars.h5",), ("images", "bars.h5")])
def test_a_run_is_left_behind(run, tmp_path, words):
    result = run("train", *words, *SMALL, "--size", "12", "--name", "one", "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["epoch"], told["run"]) == (2, "runs/one")
    files = {path.relative_to(tmp_path / "runs" / "one").as_posix() for path in (tmp_path / "runs/one").rglob("*.*")}
    assert files == {
        "config.toml",
        "made.json",
        "metrics.jsonl",
        "log.txt",
        "checkpoints/last.pt",
        "checkpoints/best.pt",
    }


@pytest.mark.slow
def test_galaxies_of_any_classes_are_trained_on_and_read_again_as_they_were(run, tmp_path):
    result = run(
        "train",
        "galaxy",
        "bars.h5",
        *SMALL,
        "--centre",
        "0.75",
        "--start",
        "he",
        "--timed",
        "--norm",
        "batch",
        "--json",
    )
    assert result.exit_code == 0, result.output
    kept = open_train_run("runs/galaxy-node")
    assert (kept.centre, kept.config.rotate, kept.config.timed, kept.config.start) == (0.75, True, True, "he")
    told = run("evaluate", "runs/galaxy-node", "--json")
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout)["balanced_accuracy"] == pytest.approx(json.loads(result.stdout)["test_balanced"])


def test_the_run_is_named_after_data_and_model_and_not_replaced_unasked(trained, tmp_path):
    assert (tmp_path / "runs" / "bars-galaxy-node").is_dir()
    again = trained("train", "bars.h5", *SMALL, "--size", "12")
    assert again.exit_code == 1
    assert again.stderr.startswith("Error: runs/bars-galaxy-node exists already")
    assert trained("train", "bars.h5", *SMALL, "--size", "12", "--force").exit_code == 0


def test_a_run_goes_on_with_its_own_settings(trained, tmp_path):
    result = trained("train", "--resume", "runs/bars-galaxy-node", "--epochs", "3", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["epoch"] == 3
    refused = trained("train", "--resume", "runs/bars-galaxy-node", "--lr", "1")
    assert refused.exit_code == 2
    assert "--resume and --lr do not go together" in refused.stderr


def test_folders_of_images_are_trained_on(run, tmp_path, rng):
    for name, place in (("left", slice(0, 8)), ("right", slice(8, 16))):
        (tmp_path / "sides" / name).mkdir(parents=True)
        for index in range(12):
            pixels = rng.integers(0, 50, (16, 16, 3), dtype=np.uint8)
            pixels[:, place] += 150
            Image.fromarray(pixels).save(tmp_path / "sides" / name / f"{index}.png")
    result = run("train", "sides/", *SMALL, "--batch", "6", "--size", "16", "--no-flip", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["run"] == "runs/sides-galaxy-node"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (
            ("train", "galaxy"),
            1,
            "there is no galaxies.h5 or .*; make galaxies.h5 with: physode simulate",
        ),
        (("train", "cifar10"), 1, "there is no cifar10.h5 or cifar-10-binary.tar.gz"),
        (("train", "nowhere"), 1, "nowhere"),
        (("train", "--epochs", "3"), 2, "name the images: physode train FOLDER"),
        (("train", "bars.h5", "--dropout", "0.5", "--model", "node18"), 1, "the model node18 has no `dropout`"),
        (("train", "bars.h5", "--model", "alexnet"), 2, "'alexnet' is not one of"),
        (("train", "bars.h5", "--name", "a/b"), 2, "is not the name of a folder"),
        (("train", "bars.h5", "--milestones", "half"), 2, "is not numbers with commas between"),
        (("train", "bars.h5", "--method", "rk4", "--step", "2"), 1, "`step` must be above 0 and at most 1"),
        (("train", "--resume", "runs/none"), 1, "runs/none is not a folder"),
        (
            ("evaluate", "runs/none"),
            1,
            "runs/none is not a folder; name the folder of a run, such as",
        ),
        (("train", "cifar10", "--data", "bars.h5"), 1, "bars.h5 has 3 classes, cifar10 has 10; train on it with"),
        (("train", "galaxy", "bars.h5", "--data", "bars.h5"), 2, "name the images once, as DATA or with --data"),
        (("train", "galaxy", "bars.h5", "--conditional"), 1, "bars.h5 has no votes that could be `conditional`"),
        (("train", "galaxy", "bars.h5", "--centre", "2"), 2, "--centre"),
        (("train", "--epochs", "2", "galaxy"), 2, "the kind of data comes first: physode train galaxy --epochs"),
        (("train", "bars.h5", "--name", ".."), 2, "is not the name of a folder"),
    ],
)
def test_mistakes_get_one_line(run, words, code, message):
    result = run(*words)
    assert result.exit_code == code, result.output
    assert result.stderr.strip().splitlines()[-1].startswith("Error: ")
    import re

    assert re.search(message, result.stderr.replace("\n", " "))


def test_a_run_keeps_its_form_and_runs_of_a_time_with_one_form_only_have_the_default(run, tmp_path):
    few = ("--width", "1", "--epochs", "1", "--batch", "36", "--no-tensorboard", "--size", "12")
    for form in FORMS:
        words = ("train", "bars.h5", "--model", "resnet18", *few, "--form", form, "--name", form)
        assert run(*words).exit_code == 0
        assert f'form = "{form}"' in (tmp_path / "runs" / form / "config.toml").read_text()
    settings = tmp_path / "runs" / "identity" / "config.toml"
    settings.write_text(settings.read_text().replace('form = "identity"\n', ""))  # as it was before there were forms
    for form in FORMS:
        found = run("evaluate", f"runs/{form}", "--no-figures", "--json")
        assert found.exit_code == 0, found.output
        history = json.loads((tmp_path / "runs" / form / "metrics.jsonl").read_text())
        assert json.loads(found.stdout)["log_loss"] == pytest.approx(history["test_loss"], rel=1e-5)
    other = tmp_path / "runs" / "published" / "config.toml"
    other.write_text(other.read_text().replace("published", "identity"))
    refused = run("evaluate", "runs/published", "--no-figures", "--force")
    assert refused.exit_code == 1
    assert "has the weights of another model than the run's settings say" in refused.stderr.replace("\n", " ")


def test_images_too_small_for_the_network_are_named_before_a_folder_is_made(run, tmp_path, images_of):
    small = images_of(size=6)
    small = dataclasses.replace(small, x=np.ascontiguousarray(small.x[..., :4, :4]))
    write_images(tmp_path / "small.h5", small)
    result = run("train", "small.h5", *SMALL)
    assert result.exit_code == 1
    assert "images of 4x4 pixels are too small for galaxy-node; enlarge them with --size" in result.stderr
    assert not (tmp_path / "runs").exists()


def test_images_that_cannot_be_read_are_named(run, tmp_path, rng):
    for name in ("left", "right"):
        folder = tmp_path / "sides" / name
        folder.mkdir(parents=True)
        for index in range(12):
            Image.fromarray(rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(folder / f"{index}.png")
    (tmp_path / "sides" / "left" / "empty.jpg").write_bytes(b"")
    result = run("train", "sides", *SMALL, "--batch", "6")
    assert result.exit_code == 0, result.output
    assert result.stderr.startswith("Warning: 1 files left out: ")
    assert "left/empty.jpg" in result.stderr
    assert "left/empty.jpg" in (tmp_path / "runs" / "sides-galaxy-node" / "log.txt").read_text()


def test_oblong_images_are_trained_and_tested_as_they_are(run, tmp_path, images_of):
    oblong = images_of()
    oblong = dataclasses.replace(oblong, x=np.ascontiguousarray(np.repeat(oblong.x, 2, axis=2)))
    write_images(tmp_path / "oblong.h5", oblong)
    assert run("train", "oblong.h5", *SMALL).exit_code == 0
    result = run("evaluate", "runs/oblong-galaxy-node", "--no-figures")
    assert result.exit_code == 0, result.output
    assert run("train", "--resume", "runs/oblong-galaxy-node", "--epochs", "3").exit_code == 0


def test_fewer_epochs_than_are_over_change_nothing(trained, tmp_path):
    before = (tmp_path / "runs" / "bars-galaxy-node" / "config.toml").read_text()
    refused = trained("train", "--resume", "runs/bars-galaxy-node", "--epochs", "1")
    assert refused.exit_code == 1
    assert "has 2 epochs already, `epochs` is 1" in refused.stderr
    assert (tmp_path / "runs" / "bars-galaxy-node" / "config.toml").read_text() == before


# Evaluation.


def test_a_run_is_evaluated_into_tables_files_and_figures(trained, tmp_path):
    result = trained("evaluate", "runs/bars-galaxy-node")
    assert result.exit_code == 0, result.output
    for word in ("precision", "completeness", "AUC", "confusion", "95 % interval", "parameters", "rhs evaluations"):
        assert word in result.stdout
    folder = tmp_path / "runs" / "bars-galaxy-node"
    names = {path.name for path in (folder / "figures" / "test").iterdir()}
    drawn = ("confusion", "roc", "precision_recall", "calibration", "mistakes", "learning")
    assert names == {f"{name}.png" for name in drawn}
    kept = json.loads((folder / "evaluations" / "test.json").read_text())
    history = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert kept["accuracy"] == history[-1]["test_accuracy"]
    assert kept["log_loss"] == pytest.approx(history[-1]["test_loss"], rel=1e-6)
    assert kept["samples"] == 24
    assert trained("evaluate", "runs/bars-galaxy-node").exit_code == 1  # not replaced unasked


def test_another_solver_needs_no_training(trained):
    arguments = ("evaluate", "runs/bars-galaxy-node", "--no-figures", "--json")
    fixed = json.loads(trained(*arguments, "--method", "rk4", "--step", "0.2").stdout)
    assert (fixed["solver"], fixed["rhs_evaluations"], fixed["steps"]) == ("rk4, step 0.2", 20.0, 5.0)
    fine = json.loads(trained(*arguments, "--method", "dopri5", "--rtol", "1e-4", "--atol", "1e-4").stdout)
    assert fine["solver"] == "dopri5, 0.0001"
    looser = json.loads(trained(*arguments, "--rtol", "0.1", "--atol", "0.1").stdout)
    assert looser["solver"] == "heun_euler, 0.1"
    refused = trained(*arguments, "--method", "rk4", "--rtol", "0.1")
    assert refused.exit_code == 1
    assert "`rtol` and `atol` have no part in fixed steps" in refused.stderr


@pytest.mark.slow
def test_several_runs_are_averaged_and_compared(trained, tmp_path):
    for seed in ("1", "2"):
        assert trained("train", "bars.h5", *SMALL, "--size", "12", "--seed", seed, "--name", seed).exit_code == 0
    result = trained("evaluate", "runs/1", "runs/2", "--out", "both")
    assert result.exit_code == 0, result.output
    assert "ICC1k" in result.stdout
    found = json.loads((tmp_path / "both" / "evaluation.json").read_text())
    accuracies = [each["accuracy"] for each in found["runs"]]
    assert found["models"]["galaxy-node"]["accuracy"]["mean"] == pytest.approx(np.mean(accuracies))
    assert found["reliability"]["galaxy-node"]["whole"]["targets"] == 24
    assert (tmp_path / "both" / "accuracies.png").exists()


def test_other_images_are_tested_on_whole_if_asked(trained, tmp_path, images_of):
    write_images(tmp_path / "more.h5", images_of(seed=5))
    refused = trained("evaluate", "runs/bars-galaxy-node", "--data", "more.h5")
    assert refused.exit_code == 1
    assert "these are not the images that runs/bars-galaxy-node was trained on" in refused.stderr
    result = trained("evaluate", "runs/bars-galaxy-node", "--data", "more.h5", "--all", "--no-figures", "--json")
    assert json.loads(result.stdout)["samples"] == 96
    assert (tmp_path / "runs" / "bars-galaxy-node" / "evaluations" / "more-all.json").exists()


def test_other_classes_are_refused(trained, tmp_path, images_of):
    write_images(tmp_path / "more.h5", images_of(classes=4))
    refused = trained("evaluate", "runs/bars-galaxy-node", "--data", "more.h5", "--all")
    assert refused.exit_code == 1
    assert "are of the classes class 0, class 1, class 2, class 3" in refused.stderr


class Hostile:
    def __reduce__(self):
        return os.mkdir, ("executed",)


def test_a_malicious_checkpoint_is_one_line_and_not_executed(trained, tmp_path):
    last = tmp_path / "runs" / "bars-galaxy-node" / "checkpoints" / "last.pt"
    for hostile in (pickle.dumps, lambda it: torch.save(it, last) or last.read_bytes()):
        last.write_bytes(hostile({"version": 1, "model": Hostile()}))
        for words in (("evaluate", "runs/bars-galaxy-node"), ("train", "--resume", "runs/bars-galaxy-node")):
            result = trained(*words)
            assert result.exit_code == 1
            assert result.stderr.count("\n") == 1
            assert "was not loaded" in result.stderr or "is damaged" in result.stderr
    assert not (tmp_path / "executed").exists()
